"""Marching tetrahedra in torch: the runtime's triangles, closed, and gradients of differences."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from edgekit.core.errors import QualityFailed
from edgekit.distill.render.marching import Meshes, cut_of, marched, meshes_of
from edgekit.runtime.mesh.extract import extracted

CELLS = 12


def lattice(cells: int = CELLS) -> Tensor:
    axis = torch.linspace(-1, 1, cells + 1)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).view(-1, 3)


def spheres(*radii: float, cells: int = CELLS) -> Tensor:
    return torch.stack([lattice(cells).norm(dim=1) - radius for radius in radii])


def noise(seed: int, batch: int = 2, cells: int = CELLS) -> tuple[Tensor, Tensor]:
    """Fields with every case and much on the border, and deformations."""
    generator = torch.Generator().manual_seed(seed)
    count = (cells + 1) ** 3
    sdf = torch.randn(batch, count, generator=generator) * 0.3
    sdf[:, torch.randint(count, (20,), generator=generator)] = 0
    return sdf, torch.rand(batch, count, 3, generator=generator) * 2 - 1


def one(meshes: Meshes, row: int) -> tuple[Tensor, Tensor]:
    starts = meshes.num_vertices.cumsum(0) - meshes.num_vertices
    vertices = meshes.vertices.split(meshes.num_vertices.tolist())[row]
    triangles = meshes.triangles.split(meshes.num_triangles.tolist())[row]
    return vertices, triangles - starts[row]


@pytest.mark.parametrize("seed", range(3))
def test_meshes_are_those_of_the_runtime(seed):
    sdf, deformation = noise(seed)

    meshes = marched(sdf, CELLS, deformation, deform=0.6)

    for row in range(2):
        shape = (CELLS + 1,) * 3
        expected = extracted(
            sdf[row].view(shape).numpy(), deformation[row].view(*shape, 3).numpy(), deform=0.6
        )
        vertices, triangles = one(meshes, row)
        assert np.array_equal(triangles.numpy(), expected.triangles)
        assert np.allclose(vertices.numpy(), expected.vertices, atol=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_meshes_are_closed_also_where_the_lattice_ends(seed):
    sdf, _ = noise(seed, batch=1)

    triangles = marched(sdf, CELLS).triangles

    edges = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    forth = {tuple(edge) for edge in edges.tolist()}
    assert len(forth) == len(edges)
    assert forth == {(b, a) for a, b in forth}


def test_a_sphere_has_its_volume_and_faces_outwards():
    meshes = marched(spheres(0.7, cells=32), 32)

    a, b, c = meshes.vertices[meshes.triangles].unbind(1)
    volume = (a * torch.linalg.cross(b, c)).sum() / 6

    assert volume == pytest.approx(4 / 3 * math.pi * 0.7**3, rel=0.01)


def test_a_batch_holds_meshes_of_different_sizes_and_one_that_is_empty():
    meshes = marched(spheres(0.4, -1.0, 0.8), CELLS)

    alone = [marched(spheres(radius), CELLS) for radius in (0.4, 0.8)]
    assert meshes.num_triangles[1] == 0
    assert meshes.num_vertices.sum() == len(meshes.vertices)
    assert meshes.rows.bincount(minlength=3).tolist() == meshes.num_vertices.tolist()
    for row, mesh in zip((0, 2), alone, strict=True):
        vertices, triangles = one(meshes, row)
        assert torch.equal(vertices, mesh.vertices)
        assert torch.equal(triangles, mesh.triangles)


def test_fields_without_a_surface_give_no_triangles():
    with pytest.raises(QualityFailed):
        extracted(np.ones((5, 5, 5), np.float32))

    meshes = marched(torch.ones(2, 125), 4)

    assert meshes.vertices.shape == (0, 3)
    assert meshes.triangles.shape == (0, 3)


def test_only_points_near_the_surface_are_asked_for():
    cells = 48
    sdf = spheres(0.3, 0.6, cells=cells)

    cut = cut_of(sdf, cells)

    assert cut.corners.numbers.shape[1] < 0.2 * sdf.shape[1]
    points = lattice(cells)[cut.corners.numbers]
    asked = points.norm(dim=-1) - torch.tensor([[0.3], [0.6]])
    assert asked.gather(1, (cut.corners.flat[:5] % points.shape[1])[None]).abs().max() < 0.1
    assert torch.equal(meshes_of(cut, asked).vertices, marched(sdf, cells).vertices)


@pytest.mark.parametrize("seed", range(2))
def test_gradients_are_those_of_differences(seed):
    sdf, deformation = (each.double() for each in noise(seed, batch=2, cells=4))
    sdf = torch.where(sdf.abs() < 0.01, 0.05, sdf)
    cut = cut_of(sdf, 4)
    sdf, deformation = cut.corners.of(sdf), cut.corners.of(deformation)
    probe = torch.rand(len(cut.ends), 3, generator=torch.Generator().manual_seed(seed)).double()

    def total(field: Tensor, moved: Tensor) -> Tensor:
        return (meshes_of(cut, field, moved, deform=0.6).vertices * probe).sum()

    assert torch.autograd.gradcheck(
        total,
        (sdf.requires_grad_(True), deformation.requires_grad_(True)),
        eps=1e-6,
        atol=1e-5,
        fast_mode=True,
    )


def test_a_lattice_of_another_size_is_refused():
    with pytest.raises(ValueError, match="12 cells need"):
        cut_of(torch.zeros(1, 100), 12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_makes_the_same_meshes():
    sdf, deformation = noise(0)

    here = marched(sdf, CELLS, deformation)
    there = marched(sdf.cuda(), CELLS, deformation.cuda())

    assert torch.equal(here.triangles, there.triangles.cpu())
    assert torch.allclose(here.vertices, there.vertices.cpu(), atol=1e-6)
