"""Surfaces of fields: closed, where they should be, in the budget, clear when there is none."""

import numpy as np
import pytest
from tests.meshes import BALL, RING, TUBE, ball, cube, donut, points_of

from edgekit.core.errors import EdgekitError, QualityFailed
from edgekit.runtime.mesh.decimate import decimated
from edgekit.runtime.mesh.extract import extracted
from edgekit.runtime.mesh.planes import at_points, on_lattice
from edgekit.runtime.mesh.surface import (
    Mesh,
    face_normals,
    facts_of,
    num_open_edges,
    vertex_normals,
    without_crumbs,
)

CELLS = 32
POINTS = points_of(CELLS)


def genus(mesh: Mesh) -> int:
    """Holes through a closed surface of one piece, by Euler's formula."""
    return 1 - (len(mesh.vertices) - len(mesh.triangles) // 2) // 2


def test_a_donut_is_closed_has_one_hole_and_its_volume():
    mesh = extracted(donut(POINTS))

    facts = facts_of(mesh)
    assert facts.watertight
    assert facts.pieces == 1
    assert genus(mesh) == 1
    assert facts.volume == pytest.approx(2 * np.pi**2 * RING * TUBE**2, rel=0.02)
    assert np.abs(donut(mesh.vertices)).max() < 0.01


def test_triangles_look_outward_and_normals_too():
    mesh = extracted(ball(POINTS))
    middles = mesh.vertices[mesh.triangles].mean(axis=1)

    assert (np.einsum("tx,tx->t", face_normals(mesh), middles) > 0).all()
    outward = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    assert np.einsum("vx,vx->v", vertex_normals(mesh), outward).min() > 0.98


@pytest.mark.parametrize("seed", range(5))
def test_any_field_gives_a_closed_surface_however_its_lattice_is_deformed(seed):
    random = np.random.default_rng(seed)
    field = random.normal(size=(10, 10, 10)).astype(np.float32)
    field[random.random(field.shape) < 0.2] = 0  # exactly at points of the lattice
    deformation = random.uniform(-1, 1, (10, 10, 10, 3)).astype(np.float32)

    mesh = extracted(field, deformation, deform=0.9)

    assert num_open_edges(mesh.triangles) == 0
    assert facts_of(mesh).open_edges == 0  # also when vertices at the same place are one


def test_a_field_that_is_inside_everywhere_is_cut_at_the_border():
    mesh = extracted(np.full((9, 9, 9), -1, np.float32))

    assert facts_of(mesh).watertight
    assert facts_of(mesh).volume == pytest.approx(8, rel=0.1)
    assert np.abs(mesh.vertices).max() <= 1


def test_the_deformation_moves_the_surface():
    shift = np.zeros((*POINTS.shape[:3], 3), np.float32)
    shift[..., 1] = 1
    still, moved = extracted(ball(POINTS)), extracted(ball(POINTS), shift, deform=0.5)

    assert np.array_equal(still.triangles, moved.triangles)
    assert np.allclose(moved.vertices - still.vertices, (0, 0.5 / CELLS, 0), atol=1e-6)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (np.ones((9, 9, 9), np.float32), "no surface"),
        (np.full((9, 9, 9), np.nan, np.float32), "no numbers"),
    ],
)
def test_a_field_without_a_surface_is_an_error_that_says_so(field, said):
    with pytest.raises(QualityFailed, match=said) as caught:
        extracted(field)

    assert caught.value.exit_code == 6


def test_specks_and_bubbles_go_and_the_rest_stays():
    speck = ball(POINTS - np.float32(0.8), 0.08)
    bubble = -ball(POINTS, 0.2)
    mesh = extracted(np.minimum(np.maximum(ball(POINTS), bubble), speck))

    kept = without_crumbs(mesh)

    assert facts_of(mesh).pieces == 3
    assert facts_of(kept).pieces == 1
    assert facts_of(kept).volume == pytest.approx(4 / 3 * np.pi * BALL**3, rel=0.02)


def test_a_surface_that_is_turned_inside_out_has_no_inside():
    mesh = extracted(ball(POINTS))

    with pytest.raises(QualityFailed, match="no surface with an inside"):
        without_crumbs(Mesh(mesh.vertices, mesh.triangles[:, ::-1]))


@pytest.mark.parametrize("budget", [3000, 500, 60])
@pytest.mark.parametrize(("field", "holes"), [(ball, 0), (donut, 1)])
def test_a_budget_is_kept_and_the_surface_stays_closed_and_of_one_kind(field, holes, budget):
    mesh = extracted(field(POINTS))

    small = decimated(mesh, budget)

    facts = facts_of(small)
    assert facts.triangles <= budget
    assert facts.watertight
    assert genus(small) == holes


@pytest.mark.parametrize("field", [ball, donut, cube])
def test_an_eighth_of_the_triangles_is_still_where_the_surface_is(field):
    mesh = extracted(field(POINTS))

    small = decimated(mesh, len(mesh.triangles) // 8)

    places = np.concatenate([small.vertices, small.vertices[small.triangles].mean(axis=1)])
    assert np.abs(field(places)).mean() < 0.1 * 2 / CELLS  # a tenth of a cell
    assert facts_of(small).volume == pytest.approx(facts_of(mesh).volume, rel=0.01)


def test_flat_sides_need_few_triangles_and_edges_stay_sharp():
    mesh = extracted(cube(POINTS))

    small = decimated(mesh, 200)

    assert np.abs(cube(small.vertices[small.triangles].mean(axis=1))).max() < 0.02
    assert (np.abs(small.vertices).max(axis=1) > 0.45).all()


def test_the_same_seed_gives_the_same_triangles():
    mesh = extracted(donut(POINTS))

    assert np.array_equal(decimated(mesh, 300).vertices, decimated(mesh, 300).vertices)


@pytest.mark.parametrize("budget", [0, -5, 3])
def test_a_budget_that_no_closed_surface_has_is_refused(budget):
    with pytest.raises(EdgekitError, match=f"budget of {budget} triangles") as caught:
        decimated(extracted(ball(POINTS)), budget)

    assert caught.value.exit_code == 2


def test_a_budget_below_what_a_hole_needs_is_told_and_not_forced():
    with pytest.raises(QualityFailed, match="not 6") as caught:
        decimated(extracted(donut(POINTS)), 6)

    assert "at least" in caught.value.hint


def test_planes_say_the_same_on_a_lattice_and_at_its_points():
    planes = np.random.default_rng(0).normal(size=(3, 5, 7, 7)).astype(np.float32)
    parts = [f[: end - start] for start, end, f in on_lattice(planes, 9, 256)]

    there = at_points(planes, points_of(9).reshape(-1, 3))

    assert np.allclose(np.concatenate(parts), there, atol=1e-5)


def test_planes_of_ramps_give_the_coordinates():
    ramp = np.linspace(-1, 1, 6, dtype=np.float32)
    planes = np.zeros((3, 3, 6, 6), np.float32)
    planes[0, 0] = ramp[:, None]  # x along the first axis of xy
    planes[2, 1] = ramp[:, None]  # y along the first axis of yz
    planes[1, 2] = ramp  # z along the second axis of xz
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)

    assert np.allclose(at_points(planes, points), points, atol=1e-6)
