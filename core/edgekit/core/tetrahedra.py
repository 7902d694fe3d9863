"""Marching tetrahedra: the tables by which every part cuts the same triangles from a field.

The world [-1, 1]^3 is a lattice of `cells` cells a side: (cells + 1)^3 points, array [i, j, k] at
x_i, y_j, z_k, C order, so that point (i, j, k) has the number (i * (cells + 1) + j) * (cells + 1)
+ k. A field is negative inside; a point is inside if its value is below 0 and it does not lie on
the border of the lattice (`closed`), which is why every mesh is closed.

Each cell is cut into six tetrahedra around its main diagonal. Corner n of a cell lies one step
along x if bit 0 of n is set, along y for bit 1, along z for bit 2. The edges of these tetrahedra
run from a corner to one with more bits, and cells agree on the diagonals of their shared faces:
an edge of the lattice is its lower point and a `direction` 1 ... 7 (the bits that it adds), and
its number is 7 * point + direction - 1. So vertices are shared without comparing positions.

Vertices come in the order of their edges' numbers; triangles by cell, tetrahedron, and place in
`CASES`. A vertex lies at ``lower + t * (upper - lower)`` with t = a / (a - b) of the field's
values a at the lower and b at the upper end, kept within `NEAREST` ... 1 - `NEAREST`, after both
ends were moved by the deformation.

Source: Doi and Koide 1991 (tetrahedra), Kuhn 1960 (the cut of the cube); as the mesh of a
generator, Shen et al. 2021 (DMTet, arXiv:2111.04276), whose deformed vertices are kept here.
"""

from __future__ import annotations

import numpy as np

from edgekit.core.tensors import Axis, Lattice, Table

CORNERS: Table = np.array([(n & 1, n >> 1 & 1, n >> 2 & 1) for n in range(8)], np.int64)
"""Steps along x, y, z from a cell's lowest point to its corner n."""

TETRAHEDRA: Table = np.array(
    [(0, 1, 3, 7), (0, 5, 1, 7), (0, 3, 2, 7), (0, 2, 6, 7), (0, 4, 5, 7), (0, 6, 4, 7)], np.int64
)
"""Corners of each tetrahedron, all of positive volume in a right-handed world."""

EDGES: Table = np.array([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], np.int64)
"""The edges of a tetrahedron, as places 0 ... 3 in its row of `TETRAHEDRA`."""

_NONE = (-1, -1, -1)
CASES: Table = np.array(
    [
        (_NONE, _NONE),
        ((0, 1, 2), _NONE),
        ((0, 4, 3), _NONE),
        ((1, 2, 4), (1, 4, 3)),
        ((1, 3, 5), _NONE),
        ((0, 5, 2), (0, 3, 5)),
        ((0, 5, 1), (0, 4, 5)),
        ((2, 4, 5), _NONE),
        ((2, 5, 4), _NONE),
        ((0, 1, 5), (0, 5, 4)),
        ((0, 2, 5), (0, 5, 3)),
        ((1, 5, 3), _NONE),
        ((1, 4, 2), (1, 3, 4)),
        ((0, 3, 4), _NONE),
        ((0, 2, 1), _NONE),
        (_NONE, _NONE),
    ],
    np.int64,
)
"""Triangles of a tetrahedron, each as three of its `EDGES`, counter-clockwise seen from outside.

The row is the sum of 1 << place over the places that are inside; -1 stands for no triangle.
"""

EDGE_LOWER: Table = TETRAHEDRA[:, EDGES].min(axis=2)
"""For each tetrahedron and edge: the corner of the cell at which the edge starts."""

EDGE_DIRECTION: Table = TETRAHEDRA[:, EDGES].max(axis=2) ^ EDGE_LOWER
"""For each tetrahedron and edge: its direction 1 ... 7, the bits of the step along x, y and z."""

BORDER = 1e-3
"""The least value of the field on the border of the lattice, whatever a model says there."""

NEAREST = 1e-3
"""The least share of an edge between a vertex and both ends: where a field is 0 at a point of the
lattice, the vertices around it would coincide, and what shares places is no longer closed."""


def closed(field: Lattice) -> Lattice:
    """Return a copy whose border is outside, so that nothing is cut open by the lattice.

    >>> closed(np.full((3, 3, 3), -1, np.float32))[:, 1, 1].tolist()
    [0.0010000000474974513, -1.0, 0.0010000000474974513]
    """
    shut = np.maximum(field, np.float32(BORDER))
    shut[1:-1, 1:-1, 1:-1] = field[1:-1, 1:-1, 1:-1]
    return shut


def coordinates(cells: int) -> Axis:
    """Return the positions of a lattice's points along each axis, from -1 to 1.

    >>> coordinates(4).tolist()
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    return np.linspace(-1, 1, cells + 1, dtype=np.float32)
