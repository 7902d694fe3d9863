"""Which pixels each triangle covers, in numpy: for textures and for pictures of a mesh."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgekit.core.tensors import Batch, Table

MOST_PAIRS = 1 << 21
"""Pairs of a triangle and a pixel that are looked at together: some 100 MB."""
EDGE = 1e-5
"""How far outside, in shares of a triangle's height, a pixel's centre may lie."""


def covered(corners: Batch, width: int, height: int) -> tuple[Table, Table, Batch]:
    """Return the pairs of a triangle and a pixel whose centre it covers, and where it lies there.

    `corners` is T x 3 x 2 in pixels, x to the right and y down, centres at halves. The answer is
    P triangles, P pixels (row * width + column), P x 3 weights of the corners. Triangles of either
    direction count; those without area do not.
    """
    found = [_pairs(part, first, width, height) for first, part in _parts(corners, width, height)]
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.float32)
    triangles, pixels, weights = (np.concatenate(each) for each in zip(*found, strict=True))
    return triangles, pixels, weights


def _boxes(corners: Batch, width: int, height: int) -> tuple[Table, Table]:
    """Return the first pixel of each triangle's box and its size, T x 2 each, cut at the border."""
    limit = np.array([width, height])
    low = np.clip(np.ceil(corners.min(axis=1) - 0.5), 0, limit).astype(np.int64)
    high = np.clip(np.floor(corners.max(axis=1) - 0.5) + 1, 0, limit).astype(np.int64)
    return low, np.maximum(high - low, 0)


def _parts(corners: Batch, width: int, height: int) -> Iterator[tuple[int, Batch]]:
    ends = np.cumsum(_boxes(corners, width, height)[1].prod(axis=1))
    first = 0
    while first < len(corners):
        done = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, done + MOST_PAIRS, side="right")), first + 1)
        yield first, corners[first:last]
        first = last


def _pairs(corners: Batch, first: int, width: int, height: int) -> tuple[Table, Table, Batch]:
    low, size = _boxes(corners, width, height)
    counts = size.prod(axis=1)
    triangles = np.repeat(np.arange(len(corners)), counts)
    place = np.arange(len(triangles)) - np.repeat(np.cumsum(counts) - counts, counts)
    row, column = np.divmod(place, size[triangles, 0])
    x, y = column + low[triangles, 0], row + low[triangles, 1]
    a, b, c = corners.transpose(1, 0, 2)
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    doubled = ux * vy - uy * vx
    scale = np.divide(1, doubled, where=doubled != 0, out=np.full_like(doubled, np.nan))
    rates = (vy * scale, -vx * scale, -uy * scale, ux * scale)
    across_b, down_b, across_c, down_c = (rate.astype(np.float32)[triangles] for rate in rates)
    dx = (x + 0.5 - a[triangles, 0]).astype(np.float32)
    dy = (y + 0.5 - a[triangles, 1]).astype(np.float32)
    second, third = dx * across_b + dy * down_b, dx * across_c + dy * down_c
    first_too = second + third <= 1 + EDGE
    inside = np.flatnonzero((second >= -EDGE) & (third >= -EDGE) & first_too)
    second, third = second[inside], third[inside]
    return (
        triangles[inside] + first,
        y[inside] * width + x[inside],
        np.stack([1 - second - third, second, third], axis=1),
    )
