"""The choices for a Core ML package."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.export.optimize.space_apple import AppleSpace
from edgekit.export.program import Feed
from edgekit.export.rows import Workplace

WHOLE = ("weights", "palette-6", "palette-4")


def space(place: Workplace, feeds: Sequence[Feed]) -> AppleSpace:
    """Return the choices for the Core ML package of a student."""
    return AppleSpace(place, feeds, WHOLE, place.options.ios)
