"""What each MIL operation means, in PyTorch: every operation that edgekit's students lead to."""

from __future__ import annotations

from edgekit.export.mil.arithmetic import ELEMENTS
from edgekit.export.mil.arrays import ARRAYS
from edgekit.export.mil.compressed import COMPRESSED
from edgekit.export.mil.images import IMAGES
from edgekit.export.mil.layers import LAYERS
from edgekit.export.mil.values import Meaning

MEANING: dict[str, Meaning] = {**ELEMENTS, **LAYERS, **IMAGES, **ARRAYS, **COMPRESSED}
"""Operation -> its meaning. Left out on purpose: recurrent layers, control flow, lists, states and
random numbers, which no student has; a package with one is refused by the operation's name."""
