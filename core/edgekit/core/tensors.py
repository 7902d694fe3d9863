"""Names for the arrays that cross a seam. Range, layout and colour space belong to the alias."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32, Int64, UInt8

Photo: TypeAlias = UInt8[np.ndarray, "height width 3"]
"""One sRGB photo, 0 is black and 255 is white, upright, no alpha."""

Photos: TypeAlias = UInt8[np.ndarray, "photos height width 3"]
"""Photos of one size, like `Photo`."""

Pixels: TypeAlias = Float32[np.ndarray, "..."]
"""Pixel values of a model in [-1, 1] (or as the port says), in any layout."""

Batch: TypeAlias = np.ndarray[Any, Any]
"""What a port takes or gives: shape, dtype and layout stand in the port."""

Table: TypeAlias = Int64[np.ndarray, "..."]
"""Small numbers that code looks up, shape in the docstring of each."""

Lattice: TypeAlias = Float32[np.ndarray, "x y z"]
"""A value at every point of a lattice over the world [-1, 1]^3, x first."""

Axis: TypeAlias = Float32[np.ndarray, "..."]
"""Positions along one axis of the world, a list."""

Vertices: TypeAlias = Float32[np.ndarray, "vertices 3"]
"""Positions (x right, y up, z towards the viewer) or sRGB colours 0 ... 1, one a vertex."""

Triangles: TypeAlias = Int64[np.ndarray, "triangles 3"]
"""Numbers of vertices, counter-clockwise seen from outside."""
