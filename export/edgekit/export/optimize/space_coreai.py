"""The choices for a Core AI asset."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.export.optimize.space_apple import AppleSpace
from edgekit.export.program import Feed
from edgekit.export.rows import Workplace

WHOLE = ("palette-half", "linear-half", "palette-6", "palette-4")
IOS = 27
"""Every asset needs it, and all kinds of weights are older."""


def space(place: Workplace, feeds: Sequence[Feed]) -> AppleSpace:
    """Return the choices for the Core AI asset of a student."""
    return AppleSpace(place, feeds, WHOLE, IOS)
