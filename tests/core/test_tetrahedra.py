"""The tables of marching tetrahedra, checked by geometry and not against another table."""

import itertools

import numpy as np
import pytest

from edgekit.core.tetrahedra import (
    CASES,
    CORNERS,
    EDGE_DIRECTION,
    EDGE_LOWER,
    EDGES,
    TETRAHEDRA,
    closed,
)


def test_six_tetrahedra_of_positive_volume_fill_the_cell():
    corners = CORNERS[TETRAHEDRA].astype(float)
    volumes = np.linalg.det(corners[:, 1:] - corners[:, :1]) / 6

    assert np.allclose(volumes, 1 / 6)


def test_neighbouring_cells_agree_on_the_diagonal_of_their_shared_face():
    edges = {frozenset(TETRAHEDRA[t][e].tolist()) for t, e in itertools.product(range(6), EDGES)}
    for axis in range(3):
        bit = 1 << axis
        low = {edge for edge in edges if not any(corner & bit for corner in edge)}
        high = {frozenset(c ^ bit for c in edge) for edge in edges if all(c & bit for c in edge)}

        assert low == high


def test_an_edge_is_its_lower_corner_and_a_direction():
    ends = np.sort(TETRAHEDRA[:, EDGES], axis=2)

    assert np.array_equal(EDGE_LOWER + EDGE_DIRECTION, ends[..., 1])
    assert np.array_equal(EDGE_LOWER & EDGE_DIRECTION, np.zeros((6, 6), int))


@pytest.mark.parametrize("case", range(1, 15))
def test_a_case_cuts_the_crossed_edges_and_looks_outward(case):
    inside = np.array([case >> place & 1 for place in range(4)], bool)
    corners = CORNERS[TETRAHEDRA[0]].astype(float)
    triangles = CASES[case][CASES[case][:, 0] >= 0]
    middles = corners[EDGES].mean(axis=1)[triangles]
    normals = np.cross(middles[:, 1] - middles[:, 0], middles[:, 2] - middles[:, 0])
    outward = corners[~inside].mean(axis=0) - corners[inside].mean(axis=0)

    assert set(triangles.ravel()) == set(np.flatnonzero(inside[EDGES[:, 0]] ^ inside[EDGES[:, 1]]))
    assert (normals @ outward > 0).all()


def test_the_border_is_outside_and_the_rest_stays():
    field = np.full((5, 5, 5), -1, np.float32)

    shut = closed(field)

    assert (shut[1:-1, 1:-1, 1:-1] == -1).all()
    assert (shut > 0).sum() == 5**3 - 3**3
    assert (field == -1).all()
