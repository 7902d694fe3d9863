"""Smooth random functions of a place: up to rounding the same on every device."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

CELLS = 64
"""After so many cells the values repeat."""


def noise(points: Tensor, scale: float, seed: int) -> Tensor:
    """Return values from -1 to 1 at `points` (... x D, D up to 3), features of about `scale`."""
    dims = points.shape[-1]
    scaled = points / scale
    cell = scaled.floor()
    inside = scaled - cell
    place = cell.remainder(CELLS) + inside * inside * (3 - 2 * inside)
    if dims == 1:
        place = torch.cat([place, torch.zeros_like(place)], -1)
    lattice = _lattice(seed, max(2, dims)).to(points)
    grid = (place * (2 / CELLS) - 1).flatten(0, -2)
    grid = grid.view(1, 1, -1, 2) if dims < 3 else grid.view(1, 1, 1, -1, 3)
    values = F.grid_sample(lattice, grid, align_corners=True)
    return values.view(points.shape[:-1])


@lru_cache(maxsize=256)
def _lattice(seed: int, dims: int) -> Tensor:
    """Return 1 x 1 x (CELLS + 1)^dims random values whose last ones repeat the first."""
    rng = torch.Generator().manual_seed(seed)
    values = torch.rand((CELLS,) * dims, generator=rng) * 2 - 1
    for axis in range(dims):
        values = torch.cat([values, values.narrow(axis, 0, 1)], axis)
    return values[None, None]


def fractal(points: Tensor, scale: float, seed: int, octaves: int = 3) -> Tensor:
    """Return noise of several scales, each half as large and half as strong as the one before."""
    parts = [noise(points, scale / 2**i, seed + 31 * i) / 2**i for i in range(octaves)]
    return torch.stack(parts).sum(0) / 1.5


def smooth(low: float, high: float, values: Tensor) -> Tensor:
    """Return 0 below `low`, 1 above `high`, a smooth step between (`low` may be the larger)."""
    share = ((values - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)
