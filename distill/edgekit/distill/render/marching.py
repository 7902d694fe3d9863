"""Fields on lattices to triangles in torch, with gradients: marching tetrahedra.

The tables and the order of vertices and triangles are those of `core.tetrahedra`, so the meshes are
those that the runtime makes of the same numbers. Which edges are crossed has no gradient; where a
vertex lies on its edge has one, for the field and the deformation at both ends.

Meshes of a batch have different sizes. They are kept one behind the other, and what is asked of a
network is asked at the same number of points for each, the rest filled up (`Picks`): only about one
point of a lattice in eight ends a crossed edge, and gradients are needed there alone.

    cut = cut_of(sdf, cells)                              # no gradient: any field of the lattice
    field = network(lattice[cut.corners.numbers])         # with gradients, B x K points
    meshes = meshes_of(cut, field.sdf, field.deformation, deform=0.6)

Shape key:
    B meshes   N points of a lattice, (cells + 1)^3   K points that are asked for
    V vertices of all meshes   T triangles of all meshes
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from edgekit.core.tetrahedra import (
    BORDER,
    CASES,
    CORNERS,
    EDGE_DIRECTION,
    EDGE_LOWER,
    NEAREST,
    TETRAHEDRA,
)

DIRECTIONS = 7
"""Edges that start at a point of the lattice."""
ROUND = 256
"""Numbers of points that a network is asked for are multiples of this: fewer different shapes."""


@dataclass(frozen=True, slots=True)
class Picks:
    """Some of the points of every row of a batch, the same number for all, the rest filled up."""

    numbers: Tensor
    """B x K, int64, which point of its row; 0 where filled up."""
    flat: Tensor
    """Places of the picked points, row by row, in B * K: what is not filled up."""

    def of(self, values: Tensor) -> Tensor:
        """Return B x K x ... of `values` B x N x ...; of what all rows share, index `numbers`."""
        rows = torch.arange(len(values), device=values.device)[:, None]
        return values[rows, self.numbers]

    def joined(self, values: Tensor) -> Tensor:
        """Return what `values` B x K x ... hold for the picked points, row behind row."""
        return values.flatten(0, 1).index_select(0, self.flat)


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the surfaces of B fields cross the edges of their lattices."""

    cells: int
    corners: Picks
    """Points of the lattices that end a crossed edge."""
    ends: Tensor
    """V x 2, the lower and the upper end of each vertex' edge among the joined `corners`."""
    triangles: Tensor
    """T x 3, int64, numbers of vertices, counter-clockwise seen from outside."""
    num_vertices: Tensor
    """B, of each mesh."""
    num_triangles: Tensor
    """B, of each mesh; 0 for a field without a surface."""


@dataclass(frozen=True, slots=True)
class Meshes:
    """B meshes, one behind the other."""

    vertices: Tensor
    """V x 3."""
    triangles: Tensor
    """T x 3, int64, numbers of vertices of all meshes."""
    num_vertices: Tensor
    """B, of each mesh."""
    num_triangles: Tensor
    """B, of each mesh."""

    @property
    def rows(self) -> Tensor:
        """V, the mesh to which each vertex belongs."""
        return repeated(self.num_vertices, len(self.vertices))


def cut_of(sdf: Tensor, cells: int) -> Cut:
    """Find the edges that the surfaces of fields `sdf` (B x N, negative inside) cross.

    Raises ValueError if the fields do not belong to a lattice of `cells` cells a side.
    """
    side = cells + 1
    if sdf.ndim != 2 or sdf.shape[1] != side**3:
        raise ValueError(f"{cells} cells need B x {side**3} values, got {tuple(sdf.shape)}")
    with torch.no_grad():
        return _cut(sdf.detach(), cells)


def meshes_of(
    cut: Cut, sdf: Tensor, deformation: Tensor | None = None, *, deform: float = 1.0
) -> Meshes:
    """Place the vertices of `cut` by `sdf` (B x K) and `deformation` (B x K x 3) at its corners.

    A deformation of 1 moves a point by `deform` half cells. The signs of `sdf` decide nothing any
    more: where they differ from those that were cut, a vertex stays near the end of its edge.
    """
    joined = cut.corners.joined
    border = joined(_on_border(cut.corners.numbers, cut.cells))
    values = joined(sdf)
    values = torch.where(border, values.clamp(min=BORDER), values)
    axis = torch.linspace(-1, 1, cut.cells + 1, device=sdf.device, dtype=values.dtype)
    places = joined(
        torch.stack([axis[part] for part in _indices(cut.corners.numbers, cut.cells)], -1)
    )
    if deformation is not None:
        places = places + joined(deformation) * (deform / cut.cells)
    low, high = cut.ends.unbind(1)
    # Not by brackets: on a GPU their gradient sorts all numbers first.
    first, second = values.index_select(0, low), values.index_select(0, high)
    between = first - second
    safe = torch.where(between == 0, torch.ones_like(between), between)
    share = (first / safe).clamp(NEAREST, 1 - NEAREST)[:, None]
    start, end = places.index_select(0, low), places.index_select(0, high)
    vertices = start + share * (end - start)
    return Meshes(vertices, cut.triangles, cut.num_vertices, cut.num_triangles)


def marched(
    sdf: Tensor, cells: int, deformation: Tensor | None = None, *, deform: float = 1.0
) -> Meshes:
    """Return the meshes of fields `sdf` (B x N) that are known at every point of the lattice."""
    cut = cut_of(sdf, cells)
    moved = None if deformation is None else cut.corners.of(deformation)
    return meshes_of(cut, cut.corners.of(sdf), moved, deform=deform)


def picks_of(chosen: Tensor) -> Picks:
    """Return the points where `chosen` (B x N, bool) is true."""
    counts = chosen.sum(1)
    room = max(1, -(-int(counts.max()) // ROUND)) * ROUND
    row, number = chosen.nonzero().unbind(1)
    place = (chosen.cumsum(1) - 1)[row, number]
    flat = row * room + place
    numbers = torch.zeros(len(chosen) * room, dtype=torch.int64, device=chosen.device)
    numbers[flat] = number
    return Picks(numbers.view(len(chosen), room), flat)


def repeated(counts: Tensor, total: int) -> Tensor:
    """Return 0, 1, ... each as often as `counts` says; `total` is the sum, known to the caller."""
    numbers = torch.arange(len(counts), device=counts.device)
    return torch.repeat_interleave(numbers, counts, output_size=total)


def _cut(sdf: Tensor, cells: int) -> Cut:
    side, batch = cells + 1, len(sdf)
    inside = sdf.view(batch, side, side, side) < 0
    shut = torch.zeros_like(inside)
    shut[:, 1:-1, 1:-1, 1:-1] = inside[:, 1:-1, 1:-1, 1:-1]
    crossed = torch.zeros(*shut.shape, DIRECTIONS, dtype=torch.bool, device=sdf.device)
    for direction in range(1, DIRECTIONS + 1):
        x, y, z = (int(step) for step in CORNERS[direction])
        here = shut[:, : side - x, : side - y, : side - z]
        crossed[:, : side - x, : side - y, : side - z, direction - 1] = here != shut[:, x:, y:, z:]
    steps, counts, starts, edges = _tables(cells, str(sdf.device))
    flags = crossed.flatten()
    number_of = flags.cumsum(0) - 1
    edge = flags.nonzero()[:, 0]
    low = edge // DIRECTIONS
    high = low + steps[edge % DIRECTIONS + 1]
    ends_edge = torch.zeros(batch * side**3, dtype=torch.bool, device=sdf.device)
    ends_edge[low] = True
    ends_edge[high] = True
    corner_of = ends_edge.cumsum(0) - 1
    cases = sum(
        shut[:, x : cells + x, y : cells + y, z : cells + z].to(torch.uint8) << bit
        for bit, (x, y, z) in enumerate(CORNERS.tolist())
    )
    assert isinstance(cases, Tensor)
    row, i, j, k = ((cases != 0) & (cases != 255)).nonzero().unbind(1)
    case = cases[row, i, j, k].long()
    point = ((row * side + i) * side + j) * side + k
    first = torch.repeat_interleave(counts[case])
    ended = counts[case].cumsum(0)
    inner = torch.arange(len(first), device=sdf.device) - (ended - counts[case])[first]
    which = edges[starts[case][first] + inner]
    triangles = number_of[(point[first, None] + which[..., 0]) * DIRECTIONS + which[..., 1]]
    return Cut(
        cells,
        picks_of(ends_edge.view(batch, -1)),
        torch.stack([corner_of[low], corner_of[high]], 1),
        triangles,
        crossed.view(batch, -1).sum(1),
        torch.zeros(batch, dtype=torch.int64, device=sdf.device).index_add(0, row, counts[case]),
    )


@lru_cache(maxsize=8)
def _tables(cells: int, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return steps to the corners of a cell, and its triangles in 256 cases of corners inside.

    Triangles are a count a case, where they begin, and for each corner of each of them the step to
    the lower end of its edge and its direction, from 0.
    """
    side = cells + 1
    steps = (CORNERS[:, 0] * side + CORNERS[:, 1]) * side + CORNERS[:, 2]
    counts, edges = [], []
    for inside in range(256):
        found = 0
        for number, corners in enumerate(TETRAHEDRA):
            case = sum(1 << place for place, corner in enumerate(corners) if inside >> corner & 1)
            for triangle in CASES[case][CASES[case][:, 0] >= 0]:
                lower = steps[EDGE_LOWER[number][triangle]]
                edges.append(np.stack([lower, EDGE_DIRECTION[number][triangle] - 1], 1))
                found += 1
        counts.append(found)
    starts = np.cumsum([0, *counts[:-1]])
    tables = (steps, np.array(counts), starts, np.array(edges))
    at_steps, at_counts, at_starts, at_edges = (
        torch.from_numpy(np.ascontiguousarray(table)).to(device) for table in tables
    )
    return at_steps, at_counts, at_starts, at_edges


def _indices(numbers: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    side = cells + 1
    return numbers // side**2, numbers // side % side, numbers % side


def _on_border(numbers: Tensor, cells: int) -> Tensor:
    parts = torch.stack(_indices(numbers, cells))
    return ((parts == 0) | (parts == cells)).any(0)
