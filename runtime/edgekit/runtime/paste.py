"""A restored face put back into its photo: upright again, in the photo's colours, with soft edges.

A photo may be finer than the network's picture. What it shows beyond that is a face's own detail
where the network changes little, and noise where it changes much (`detail_kept`).

The arithmetic is spelled out, because the page and the apps repeat it (tests/golden). Pixels have
their centre at half a step: the first one's is (0.5, 0.5).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from edgekit.core.tensors import Batch, Photo

Matrix: TypeAlias = np.ndarray[Any, Any]
"""2 x 3, from pixels of the photo to pixels of the crop."""

FEATHER = 0.15
"""Width of the soft edge, as a share of the crop's side."""
CELLS = 4
"""The crop's light is compared on so many cells a side: coarser than any feature of a face."""
KEPT = (4.0, 8.0)
"""Change of a face, in levels, up to which all of the photo's finer detail stays, and from which on
none does. On 300 portraits of training, twice as fine as the network's pictures, this took back the
loss on mildly damaged ones and cost the others 0.02 dB (benchmarks/faces/paste.py)."""
ROWS = 256
"""Rows of the photo that are worked on at a time."""


def pasted(
    photo: Photo, crop: Photo, restored: Photo, matrix: Matrix, *, kept: float | None = None
) -> Photo:
    """Return a copy of `photo` in which `restored` takes the place of `crop`.

    `crop` is what `matrix` cut out of the photo and `restored` what became of it, both squares of
    one size. Light and colour stay the photo's; pixels outside the crop stay as they are, to the
    last bit. What of the crop lies outside the photo is dropped. `kept` is the share of what is
    finer than the crop that stays; None: as much as `detail_kept` says.
    """
    size = crop.shape[0]
    if crop.shape != (size, size, 3) or restored.shape != crop.shape:
        raise ValueError(f"needs two squares of one size, got {crop.shape} and {restored.shape}")
    matrix = np.asarray(matrix, np.float64)
    face = in_light_of(restored, crop)
    kept = detail_kept(face, crop) if kept is None else kept
    face = face - kept * crop
    left, top, right, bottom = _box(photo, matrix, size)
    out = photo.copy()
    for start in range(top, bottom, ROWS):
        rows = slice(start, min(start + ROWS, bottom))
        part = out[rows, left:right]
        shown, weight = _sampled(face, matrix, rows, slice(left, right))
        mixed = part + weight * (shown - (1 - kept) * part)
        part[:] = np.where(weight > 0, np.clip(np.floor(mixed + 0.5), 0, 255), part)
    return out


def detail_kept(face: Batch, crop: Photo) -> float:
    """Return how much of what is finer than the crop stays, from 0 to 1.

    `face` is the restored crop in the light of `crop`; their edges, which are faded out, are not
    looked at.
    """
    edge = crop.shape[0] // 8
    inner = slice(edge, crop.shape[0] - edge)
    change = math.sqrt(float(np.square(face[inner, inner] - crop[inner, inner]).mean()))
    low, high = KEPT
    return min(max((high - change) / (high - low), 0.0), 1.0)


def in_light_of(restored: Photo, crop: Photo) -> Batch:
    """Return `restored` as floats with the light and colour of `crop`, which varies slowly."""
    size = crop.shape[0]
    change = crop.astype(np.float64) - restored
    edges = [round(i * size / CELLS) for i in range(CELLS + 1)]
    spans = [slice(low, max(high, low + 1)) for low, high in pairwise(edges)]
    means = np.array([[change[y, x].mean((0, 1)) for x in spans] for y in spans])
    places = np.clip((np.arange(size) + 0.5) * CELLS / size - 0.5, 0, CELLS - 1)
    low = np.minimum(places.astype(int), CELLS - 2)
    part = (places - low)[:, None]
    along = means[:, low] * (1 - part) + means[:, low + 1] * part
    light: Batch = along[low] * (1 - part[..., None]) + along[low + 1] * part[..., None]
    lit: Batch = restored + light
    return lit


def scale_of(matrix: Matrix) -> float:
    """Return how many pixels of the crop a pixel of the photo is wide; below 1 it is enlarged."""
    return math.hypot(float(matrix[0][0]), float(matrix[1][0]))


def _box(photo: Photo, matrix: Matrix, size: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of what the crop covers of the photo."""
    turn = np.linalg.inv(matrix[:, :2])
    ends = np.array([[0, 0], [size, 0], [0, size], [size, size]]) - matrix[:, 2]
    there = ends @ turn.T
    height, width = photo.shape[:2]
    left, top = (max(math.floor(value), 0) for value in there.min(0))
    right, bottom = (math.ceil(value) for value in there.max(0))
    return left, top, max(min(right, width), left), max(min(bottom, height), top)


def _sampled(face: Batch, matrix: Matrix, rows: slice, columns: slice) -> tuple[Batch, Batch]:
    """Return what the photo's pixels see of the face (h, w, 3), and how much it counts (h, w, 1).

    Where the crop is finer than the photo a pixel is the mean of several places in it.
    """
    size = face.shape[0]
    steps = max(1, math.ceil(scale_of(matrix)))
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    total, weights = np.zeros((*shape, 3)), np.zeros((*shape, 1))
    for i in range(steps * steps):
        dy, dx = ((n + 0.5) / steps for n in divmod(i, steps))
        x, y = np.meshgrid(
            np.arange(columns.start, columns.stop) + dx, np.arange(rows.start, rows.stop) + dy
        )
        u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
        v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
        weight = (_edge(u / size) * _edge(v / size))[..., None]
        total += weight * _bilinear(face, u, v)
        weights += weight
    seen = total / np.where(weights > 0, weights, 1)
    return seen, weights / steps**2


def _edge(share: Batch) -> Batch:
    """Return 0 at the crop's edge and outside, 1 further inside than `FEATHER`, smooth between."""
    inside = np.clip(np.minimum(share, 1 - share) / FEATHER, 0, 1)
    smooth: Batch = inside * inside * (3 - 2 * inside)
    return smooth


def _bilinear(face: Batch, u: Batch, v: Batch) -> Batch:
    last = face.shape[0] - 1
    u, v = (np.clip(values - 0.5, 0, last) for values in (u, v))
    x, y = (np.minimum(values.astype(int), last - 1) for values in (u, v))
    a, b = (u - x)[..., None], (v - y)[..., None]
    above = face[y, x] * (1 - a) + face[y, x + 1] * a
    below = face[y + 1, x] * (1 - a) + face[y + 1, x + 1] * a
    mixed: Batch = above * (1 - b) + below * b
    return mixed
