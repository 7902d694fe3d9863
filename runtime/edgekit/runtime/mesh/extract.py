"""A field on a lattice to triangles: marching tetrahedra by the tables of `core.tetrahedra`."""

from __future__ import annotations

import numpy as np

from edgekit.core.errors import QualityFailed
from edgekit.core.tensors import Batch, Lattice, Table
from edgekit.core.tetrahedra import (
    CASES,
    CORNERS,
    EDGE_DIRECTION,
    EDGE_LOWER,
    NEAREST,
    TETRAHEDRA,
    closed,
    coordinates,
)
from edgekit.runtime.mesh.surface import Mesh


def _of_cells() -> tuple[Table, Table, Table]:
    """Return, for the 256 ways in which a cell's corners can be inside, its triangles' edges.

    First the number of triangles a case, then where they begin, then for each corner of each
    triangle (the edge's lower corner in the cell, its direction 1 ... 7).
    """
    counts: list[int] = []
    edges: list[Table] = []
    for inside in range(256):
        before = len(edges)
        for number, corners in enumerate(TETRAHEDRA):
            case = sum(1 << place for place, corner in enumerate(corners) if inside >> corner & 1)
            for triangle in CASES[case]:
                if triangle[0] >= 0:
                    lower = EDGE_LOWER[number][triangle]
                    edges.append(np.stack([lower, EDGE_DIRECTION[number][triangle]], axis=1))
        counts.append(len(edges) - before)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.array(counts), starts, np.array(edges)


_COUNTS, _STARTS, _EDGES = _of_cells()


def extracted(field: Lattice, deformation: Batch | None = None, *, deform: float = 1.0) -> Mesh:
    """Return the surface where `field` crosses 0, closed and welded, seen from outside.

    `field` is n x n x n signed distances, negative inside; `deformation` n x n x n x 3 from -1 to 1
    moves each point by at most `deform` half cells along each axis.

    Raises QualityFailed if there is no surface, or a value is no number.
    """
    n = field.shape[0]
    if field.shape != (n, n, n) or n < 3:
        raise ValueError(f"a lattice has three equal sides of at least 3, got {field.shape}")
    if not np.isfinite(field).all() or not (deformation is None or np.isfinite(deformation).all()):
        raise QualityFailed(
            "the field holds values that are no numbers",
            hint="its training went wrong: train again, or use another file of the bundle",
        )
    values = closed(field)
    steps = (CORNERS[:, 0] * n + CORNERS[:, 1]) * n + CORNERS[:, 2]
    cells, cases = _active(values, n)
    if len(cells) == 0:
        raise QualityFailed(
            "there is no surface: the field is positive everywhere",
            hint="use a prompt of the words that the generator was trained on, or train it longer",
        )
    counts = _COUNTS[cases]
    ends = np.cumsum(counts)
    rows = np.arange(ends[-1]) + np.repeat(_STARTS[cases] - ends + counts, counts)
    lower_step, direction = steps[_EDGES[rows, :, 0]], _EDGES[rows, :, 1]
    numbers = 7 * (np.repeat(cells, counts)[:, None] + lower_step) + direction - 1
    edges, triangles = np.unique(numbers, return_inverse=True)
    low = edges // 7
    high = low + steps[edges % 7 + 1]
    flat = values.reshape(-1)
    share = np.clip(flat[low] / (flat[low] - flat[high]), NEAREST, 1 - NEAREST)[:, None]
    start, end = (_places(point, n, deformation, deform) for point in (low, high))
    vertices = (start + share * (end - start)).astype(np.float32)
    return Mesh(vertices, triangles.reshape(-1, 3))


def _active(values: Lattice, n: int) -> tuple[Table, Table]:
    """Return the lowest points of the cells that the surface crosses, and their cases."""
    inside = values < 0
    cases = np.zeros((n - 1, n - 1, n - 1), np.uint8)
    for corner, (x, y, z) in enumerate(CORNERS):
        part = inside[x : n - 1 + x, y : n - 1 + y, z : n - 1 + z]
        cases |= part.view(np.uint8) << np.uint8(corner)
    found = np.nonzero((cases != 0) & (cases != 255))
    return (found[0] * n + found[1]) * n + found[2], cases[found].astype(np.int64)


def _places(points: Table, n: int, deformation: Batch | None, deform: float) -> Batch:
    axis = coordinates(n - 1)
    places: Batch = axis[np.stack(np.unravel_index(points, (n, n, n)), axis=1)]
    if deformation is None:
        return places
    half_cell = np.float32(deform / (n - 1))
    moved: Batch = places + half_cell * deformation.reshape(-1, 3)[points]
    return moved
