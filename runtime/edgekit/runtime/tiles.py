"""A photo of any size through a model of one size: overlapping tiles, blended without a seam.

Along each axis a tile's weight is 0 in an outer margin (there the model saw a border that the photo
does not have), rises as a raised cosine, and is 1 in the middle. The weights of all tiles are
divided by their sum beforehand, so that no accumulator of weights is needed, and rows of tiles are
added into one band that moves down the photo: a 50-megapixel photo costs the photo, the result and
a band of one tile's height.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgekit.core.images import to_bytes
from edgekit.core.progress import Report, silent
from edgekit.core.tensors import Batch, Photo, Pixels

EditTile = Callable[[Photo], Pixels]
"""Edits one tile of the model's size; gives float32 (h, w, 3), 0 is black and 255 is white."""

OVERLAP = 0.25
"""Share of a tile's side that it has in common with its neighbour."""
MARGIN = 0.0625
"""Share of a tile's side, at an inner border, that is thrown away."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Where tiles lie along one axis of the (padded) photo, and what their pixels weigh."""

    starts: tuple[int, ...]
    weights: Pixels
    """One row of `side` weights a tile; at each pixel of the axis they sum to 1 over the tiles."""


def axis(length: int, side: int, *, overlap: float = OVERLAP, margin: float = MARGIN) -> Axis:
    """Cover `length` pixels with the fewest evenly spread tiles of `side` pixels.

    `overlap` and `margin` are shares of `side`; the overlap holds two margins and one ramp.
    Raises ValueError unless length >= side >= 1 and 0 <= 2 * margin < overlap < 1.

    >>> axis(100, 64).starts
    (0, 36)
    >>> axis(64, 64).weights.min()
    np.float32(1.0)
    """
    if not length >= side >= 1 or not 0 <= 2 * margin < overlap < 1:
        raise ValueError(
            f"expected length >= side >= 1 and 0 <= 2 * margin < overlap < 1, "
            f"got {length}, {side}, {margin}, {overlap}"
        )
    step = side - math.ceil(side * overlap)
    count = 1 + math.ceil((length - side) / max(step, 1))
    starts = tuple(round(i * (length - side) / max(count - 1, 1)) for i in range(count))
    total = np.zeros(length, np.float64)
    raw = []
    for index, start in enumerate(starts):
        weight = _window(
            side,
            cut=int(side * margin),
            before=starts[index - 1] + side - start if index else 0,
            after=start + side - starts[index + 1] if index + 1 < count else 0,
        )
        raw.append(weight)
        total[start : start + side] += weight
    weights = np.stack(
        [weight / total[s : s + side] for weight, s in zip(raw, starts, strict=True)]
    )
    return Axis(starts, weights.astype(np.float32))


def _window(side: int, *, cut: int, before: int, after: int) -> Batch:
    """Return a tile's weights when it shares `before` and `after` pixels with its neighbours."""
    weight = np.ones(side, np.float64)
    for shared, view in ((before, weight), (after, weight[::-1])):
        if shared:
            ramp = max(shared - 2 * cut, 1)
            at = (np.arange(shared) - cut + 0.5) / ramp
            # Wide overlaps can reach across the tile's middle: never weigh more than before.
            rising = 0.5 - 0.5 * np.cos(np.pi * np.clip(at, 0.0, 1.0))
            view[:shared] = np.minimum(view[:shared], rising)
    return weight


def edit_tiled(
    photo: Photo,
    edit_tile: EditTile,
    *,
    tile: tuple[int, int],
    overlap: float = OVERLAP,
    margin: float = MARGIN,
    report: Report = silent,
) -> Photo:
    """Edit a photo of any size with a model that takes tiles of `tile` (height, width) pixels.

    A photo smaller than a tile is continued by reflection and cut back afterwards. If the edit of
    a pixel depends on nothing further away than ``margin * side`` pixels, the result is exactly
    what the model would give on the whole photo.
    """
    height, width = photo.shape[:2]
    below, right = max(tile[0] - height, 0), max(tile[1] - width, 0)
    if below or right:
        photo = np.pad(photo, ((0, below), (0, right), (0, 0)), mode="reflect")
    rows = axis(photo.shape[0], tile[0], overlap=overlap, margin=margin)
    columns = axis(photo.shape[1], tile[1], overlap=overlap, margin=margin)
    result = np.empty_like(photo)
    band = np.zeros((tile[0], photo.shape[1], 3), np.float32)
    total, done = len(rows.starts) * len(columns.starts), 0
    for index, top in enumerate(rows.starts):
        for left, weight_x in zip(columns.starts, columns.weights, strict=True):
            edited = edit_tile(photo[top : top + tile[0], left : left + tile[1]])
            weight = rows.weights[index][:, None, None] * weight_x[None, :, None]
            band[:, left : left + tile[1]] += edited * weight
            done += 1
            report("tiles", done, total)
        following = rows.starts[index + 1] if index + 1 < len(rows.starts) else top + tile[0]
        ready = following - top  # rows that no later tile touches
        result[top:following] = to_bytes(band[:ready], low=0.0, high=255.0)
        band[: tile[0] - ready] = band[ready:].copy()
        band[tile[0] - ready :] = 0.0
    return result[:height, :width]
