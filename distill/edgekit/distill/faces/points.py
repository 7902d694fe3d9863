"""Landmarks of a face: names, mirror images, the five points, and the square that is cut out.

The dense scheme has 68 points in the usual order (jaw, brows, nose, eyes, mouth), "right" being the
person's right, which is on the left of an upright picture. Coordinates are (x, y) in pixels with
the centre of the first pixel at (0.5, 0.5), x to the right, y down.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Points: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
"""Landmarks of one face, points x 2, in pixels of the picture they belong to."""

NUM_DENSE = 68
JAW, RIGHT_BROW, LEFT_BROW = slice(0, 17), slice(17, 22), slice(22, 27)
NOSE, RIGHT_EYE, LEFT_EYE, MOUTH = slice(27, 36), slice(36, 42), slice(42, 48), slice(48, 68)
FIVE = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
"""Order of the five points: as they stand in a picture, from left to right and from above."""

MIRRORED = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
)
"""Which dense point takes the place of each in a mirrored picture."""
MIRRORED_FIVE = (1, 0, 2, 4, 3)

EYES_APART = 0.25
"""Distance of the eyes of a frontal face in an aligned crop, as a share of its side."""


def five_of(dense: Points) -> Points:
    """Return the five points (`FIVE`) of 68 landmarks: centres of the eyes, nose, mouth corners.

    >>> five_of(np.zeros((68, 2), np.float32)).shape
    (5, 2)
    """
    eyes = [dense[RIGHT_EYE].mean(0), dense[LEFT_EYE].mean(0)]
    return np.stack([*eyes, dense[30], dense[48], dense[54]]).astype(np.float32)


def crop_square(five: Points) -> Points:
    """Return three corners (upper left, upper right, lower left) of the square to cut out.

    It is turned with the face; its side is four distances of the eyes, or 3.6 times the way from
    eyes to mouth for a face seen from the side.

    Source: the alignment of FFHQ (Karras et al. 2019, arXiv:1812.04948, section A).
    """
    right_eye, left_eye = five[0], five[1]
    eyes, mouth = (right_eye + left_eye) / 2, (five[3] + five[4]) / 2
    across, down = left_eye - right_eye, mouth - eyes
    axis = across + np.array([down[1], -down[0]], np.float32)
    length = max(float(np.hypot(*axis)), 1e-6)
    half = max(2.0 * float(np.hypot(*across)), 1.8 * float(np.hypot(*down)))
    x = axis / length * half
    y = np.array([-x[1], x[0]], np.float32)
    center = eyes + 0.1 * down
    return np.stack([center - x - y, center + x - y, center - x + y]).astype(np.float32)


def crop_transform(five: Points, size_px: int) -> Points:
    """Return the 2 x 3 matrix that takes pixels of the photo to pixels of the aligned crop."""
    corner, right, below = crop_square(five).astype(np.float64)
    axes = np.stack([right - corner, below - corner], 1) / size_px
    inverse = np.linalg.inv(axes)
    return np.concatenate([inverse, -(inverse @ corner)[:, None]], 1).astype(np.float32)


def moved(points: Points, matrix: Points) -> Points:
    """Apply a 2 x 3 matrix to points."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def eye_distance(five: Points) -> float:
    """Return the distance of the eyes in pixels."""
    return float(np.hypot(*(five[1] - five[0])))


def disorder(five: Points) -> str | None:
    """Say what cannot be in five points of an upright face, None if nothing is wrong.

    >>> disorder(np.array([[9, 5], [1, 5], [5, 6], [2, 9], [8, 9]], np.float32))
    'the eyes are swapped'
    """
    if not np.isfinite(five).all():
        return "a coordinate is not a number"
    if eye_distance(five) < 1:
        return "both eyes are at the same place"
    across = five[1] - five[0]
    down = (five[3] + five[4]) / 2 - (five[0] + five[1]) / 2
    if across[0] * down[1] - across[1] * down[0] <= 0:  # a mirror image, however it is turned
        return "the eyes are swapped" if down[1] > 0 else "the mouth is above the eyes"
    if (five[4] - five[3]) @ across <= 0:
        return "the corners of the mouth are swapped"
    return None
