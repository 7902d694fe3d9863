"""How an edit's strength, a number in [0, 1], acts: first it covers the photo, then it grows."""

from torch import Tensor

from edgekit.distill.teachers.operators.basics import mix

SLIGHT = 0.4
PLAIN = 0.75
STRONG = 1.0
"""Strengths of "slightly", of no word at all, and of "strongly"."""


def covered(image: Tensor, edited: Tensor, strength: float) -> Tensor:
    """The edit laid over the photo: complete from `PLAIN` on, so that no ghost of it remains."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be in [0, 1], got {strength}")
    return mix(image, edited, min(1.0, strength / PLAIN)).clamp(0, 1)


def grown(strength: float, plain: float, strong: float) -> float:
    """A parameter that keeps its `plain` value up to `PLAIN` and reaches `strong` at 1."""
    return plain + (strong - plain) * max(0.0, (strength - PLAIN) / (STRONG - PLAIN))
