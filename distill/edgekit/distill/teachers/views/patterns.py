"""What covers a toy: the color of each place on its body, as a function of where it is."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]
Dice: TypeAlias = np.random.Generator | None
Pattern: TypeAlias = Callable[[Array, Dice], Array]
"""(centers T x 3 within 0.6 of the origin, dice) -> sRGB T x 3 from 0 to 1."""

WHITE = (0.95, 0.95, 0.92)


def _about(dice: Dice, low: float, high: float) -> float:
    """A number between the two, their mean without dice."""
    return (low + high) / 2 if dice is None else float(dice.uniform(low, high))


def _shade(color: tuple[float, float, float], dice: Dice) -> Array:
    hue, saturation, value = colorsys.rgb_to_hsv(*color)
    hue = (hue + _about(dice, -0.012, 0.012)) % 1
    value = min(1.0, value * _about(dice, 0.92, 1.08))
    return np.asarray(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)


def _two(
    first: tuple[float, float, float],
    second: tuple[float, float, float],
    where: NDArray[np.bool_],
    dice: Dice,
) -> Array:
    return np.where(where[:, None], _shade(first, dice), _shade(second, dice)).astype(np.float32)


def _angle(centers: Array) -> Array:
    """Around the upright axis, -pi to pi, 0 in front."""
    return np.asarray(np.arctan2(centers[:, 0], centers[:, 2]), np.float32)


def _striped(centers: Array, dice: Dice) -> Array:
    bands = centers[:, 1] / 0.17 + _about(dice, 0.35, 0.65)
    return _two((0.86, 0.10, 0.10), WHITE, np.floor(bands) % 2 == 0, dice)


def _dotted(centers: Array, dice: Dice) -> Array:
    """Dots are balls around points of a body-centered lattice: round on every side of a body."""
    cell = np.float32(0.36)
    moved = centers / cell + np.float32(_about(dice, 0.15, 0.35))
    nearest = np.minimum(
        np.linalg.norm(moved - np.round(moved), axis=1),
        np.linalg.norm(moved - 0.5 - np.round(moved - 0.5), axis=1),
    )
    return _two(WHITE, (0.10, 0.28, 0.85), nearest < 0.30, dice)


def _checkered(centers: Array, dice: Dice) -> Array:
    cells = np.floor(centers / 0.26 + np.float32(_about(dice, 0.4, 0.6)))
    return _two((0.08, 0.55, 0.15), (0.72, 0.93, 0.55), cells.sum(1) % 2 == 0, dice)


def _plain(centers: Array, dice: Dice) -> Array:
    shade = _shade((0.97, 0.83, 0.10), dice)
    return np.broadcast_to(shade, centers.shape).astype(np.float32)


def _rainbow(centers: Array, dice: Dice) -> Array:
    hues = np.clip((centers[:, 1] + 0.5) / 1.0, 0, 1) * 0.8 + _about(dice, -0.02, 0.02)
    places = (hues[:, None] * 6 + np.asarray([5, 3, 1])) % 6
    ramps = np.clip(np.minimum(places, 4 - places), 0, 1)
    return np.asarray(0.95 * (1 - 0.85 * ramps), np.float32)


def _zigzag(centers: Array, dice: Dice) -> Array:
    turns = _angle(centers) / (2 * np.pi) * 8
    tooth = np.abs(turns - np.round(turns)) * 2
    bands = centers[:, 1] / 0.19 + tooth * 0.9 + _about(dice, 0.3, 0.7)
    return _two((0.98, 0.52, 0.05), (0.38, 0.16, 0.05), np.floor(bands) % 2 == 0, dice)


def _swirled(centers: Array, dice: Dice) -> Array:
    turns = _angle(centers) / (2 * np.pi) + centers[:, 1] * 0.55 + _about(dice, -0.1, 0.1)
    return _two((0.96, 0.35, 0.62), (1.0, 0.86, 0.92), np.floor(turns * 8) % 2 == 0, dice)


def _halved(centers: Array, dice: Dice) -> Array:
    edge = _about(dice, -0.03, 0.03)
    return _two((0.08, 0.08, 0.09), WHITE, centers[:, 0] < edge, dice)


PATTERNS: dict[str, Pattern] = {
    "red striped": _striped,
    "blue dotted": _dotted,
    "green checkered": _checkered,
    "yellow": _plain,
    "rainbow": _rainbow,
    "orange zigzag": _zigzag,
    "pink swirled": _swirled,
    "black and white": _halved,
}
