"""What keeps a field a shape, whatever the guide says: slopes of one, something there, not all.

All terms look at a lattice of points on which a code is cheap to read.

Shape key: B prompts   G cells a side
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

INSIDE = 0.04
"""How deep the deepest point of a shape must at least be, in units of the world."""
MARGIN = 0.02
"""How far outside the border of the world must at least be."""


class Regularity(NamedTuple):
    """Scalars; 0 is best."""

    eikonal: Tensor
    """Mean square of how far the slope of the distance is from one."""
    empty: Tensor
    """How far the deepest point of each prompt's shape is from being inside, and how far the border
    is from being outside: a mesh that is neither empty nor cut off costs nothing."""
    bend: Tensor
    """Mean absolute change of the slope from cell to cell, near the surface."""


def regularity(sdf: Tensor, cells: int) -> Regularity:
    """Return the terms of distances at the corners of `cells` cells a side, B x (cells + 1)^3."""
    size = cells + 1
    sdf = sdf.reshape(-1, size, size, size)
    cell = 2 / cells
    inner = sdf[:, 1:-1, 1:-1, 1:-1]
    ahead = torch.stack([sdf[:, 2:, 1:-1, 1:-1], sdf[:, 1:-1, 2:, 1:-1], sdf[:, 1:-1, 1:-1, 2:]])
    behind = torch.stack(
        [sdf[:, :-2, 1:-1, 1:-1], sdf[:, 1:-1, :-2, 1:-1], sdf[:, 1:-1, 1:-1, :-2]]
    )
    slope = ((ahead - behind) / (2 * cell)).square().sum(0)
    eikonal = ((slope + 1e-6).sqrt() - 1).square().mean()
    near = torch.exp(-(inner.detach() / (2 * cell)).square())
    bends = (ahead + behind - 2 * inner).abs().mean(0) / cell
    bend = (bends * near).sum() / near.sum().clamp(min=1)
    deepest = inner.flatten(1).amin(1)
    border = sdf.flatten(1).masked_fill(_inner_mask(size, sdf.device), torch.inf).amin(1)
    empty = (deepest + INSIDE).clamp(min=0).mean() + (MARGIN - border).clamp(min=0).mean()
    return Regularity(eikonal, empty, bend)


def _inner_mask(size: int, device: torch.device) -> Tensor:
    # Not by writing into slices: a CUDA graph holds no numbers of Python.
    steps = torch.arange(size, device=device)
    inner = (steps > 0) & (steps < size - 1)
    return (inner[:, None, None] & inner[:, None] & inner).flatten()
