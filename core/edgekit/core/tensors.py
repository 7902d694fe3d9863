"""Names for the arrays that cross a seam. Range, layout and colour space belong to the alias."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8

Photo: TypeAlias = UInt8[np.ndarray, "height width 3"]
"""One sRGB photo, 0 is black and 255 is white, upright, no alpha."""

Photos: TypeAlias = UInt8[np.ndarray, "photos height width 3"]
"""Photos of one size, like `Photo`."""

Pixels: TypeAlias = Float32[np.ndarray, "..."]
"""Pixel values of a model in [-1, 1] (or as the port says), in any layout."""

Batch: TypeAlias = np.ndarray[Any, Any]
"""What a port takes or gives: shape, dtype and layout stand in the port."""
