"""The rasterizer: what is seen, what stands between corners, and gradients against differences."""

import math

import pytest
import torch
from torch import Tensor

from edgekit.distill.render.camera import projected, rotation
from edgekit.distill.render.rasterize import (
    NOTHING,
    antialias,
    interpolate,
    neighbors_of,
    rasterize,
    vertex_normals,
)

SIZE = (20, 24)
TRIANGLE = torch.tensor([[0, 1, 2]])
QUAD = torch.tensor([[0, 1, 2], [0, 2, 3]])


def flat(corners: list[list[float]], depth: float = 0.0) -> Tensor:
    """Vertices with w = 1 whose x and y are those of the picture, from -1 to 1."""
    xy = torch.tensor([corners], dtype=torch.float64)
    return torch.cat([xy, torch.full_like(xy[..., :1], depth), torch.ones_like(xy[..., :1])], -1)


def box(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A box turned at random, seen in perspective, and its twelve triangles."""
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    quads = torch.tensor(
        [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    )
    triangles = torch.cat([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    yaw, pitch, roll = torch.rand(3, 1, generator=generator, dtype=torch.float64) * 2
    turned = corners[None] @ rotation(yaw, pitch, roll).transpose(1, 2)
    four = torch.full((1,), 4.0, dtype=torch.float64)
    return projected(turned, four, four * 15), triangles


def shaded(vertices: Tensor, colors: Tensor, triangles: Tensor, *, smooth: bool = True) -> Tensor:
    raster = rasterize(vertices, triangles, SIZE)
    picture = interpolate(colors, raster, triangles)
    if not smooth:
        return picture
    return antialias(picture, raster, vertices, triangles, neighbors_of(triangles))


def test_a_pixel_sees_the_triangle_that_covers_its_centre():
    vertices = flat([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])

    raster = rasterize(vertices, QUAD, (8, 8))

    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[2:6, 2:6] = True
    assert torch.equal(raster.covered[0], expected)
    assert raster.triangle[0, 5, 5] == 0  # the first triangle is the lower right one
    assert raster.triangle[0, 2, 2] == 1
    assert raster.triangle[0, 0, 0] == NOTHING


def test_the_nearer_triangle_hides_the_farther_one_in_any_order():
    near = flat([[-1, -1], [1, -1], [0, 1]], depth=-0.5)
    far = flat([[-1, -1], [1, -1], [0, 1]], depth=0.5)
    triangles = torch.tensor([[0, 1, 2], [3, 4, 5]])

    first = rasterize(torch.cat([near, far], 1), triangles, SIZE)
    second = rasterize(torch.cat([far, near], 1), triangles, SIZE)

    assert set(first.triangle.unique().tolist()) == {NOTHING, 0}
    assert set(second.triangle.unique().tolist()) == {NOTHING, 1}
    assert torch.allclose(first.depth[first.covered], torch.tensor(-0.5, dtype=torch.float64))


def test_clockwise_triangles_are_left_out_only_if_asked():
    vertices = flat([[-1, -1], [0, 1], [1, -1]])

    shown = rasterize(vertices, TRIANGLE, SIZE)
    culled = rasterize(vertices, TRIANGLE, SIZE, cull_back=True)

    assert shown.covered.any()
    assert not culled.covered.any()


def test_a_triangle_behind_the_camera_is_not_seen():
    vertices = projected(
        torch.tensor([[[-1.0, -1, 9], [1, -1, 9], [0, 1, 9]]]),
        torch.tensor([4.0]),
        torch.tensor([60.0]),
    )

    assert not rasterize(vertices, TRIANGLE, SIZE).covered.any()


def test_attributes_follow_perspective():
    """A floor that runs away: the attribute is its depth, which the ray of each pixel gives."""
    positions = torch.tensor(
        [[[-9.0, -1, 2], [9, -1, 2], [9, -1, -30], [-9, -1, -30]]], dtype=torch.float64
    )
    field = torch.tensor([60.0], dtype=torch.float64)
    vertices = projected(positions, torch.tensor([4.0], dtype=torch.float64), field)

    raster = rasterize(vertices, QUAD, SIZE)
    seen = interpolate(positions[0, :, 2:], raster, QUAD)[..., 0]

    rows = 1 - (torch.arange(SIZE[0], dtype=torch.float64) + 0.5) * 2 / SIZE[0]
    ahead = 1 / (-rows * math.tan(math.radians(30)))
    expected = (4 - ahead)[None, :, None].expand_as(seen)
    assert raster.covered.any()
    assert torch.allclose(seen[raster.covered], expected[raster.covered])
    assert torch.allclose(raster.weights.sum(3)[raster.covered], torch.ones(1).double())


def test_tiny_triangles_leave_neither_holes_nor_specks():
    steps = torch.linspace(-0.8, 0.8, 120)
    x, y = torch.meshgrid(steps, steps, indexing="xy")
    grid = torch.stack([x, y, torch.zeros_like(x), torch.ones_like(x)], -1).view(1, -1, 4)
    corner = torch.arange(119)[:, None] * 120 + torch.arange(119)
    quads = torch.stack([corner, corner + 1, corner + 121, corner + 120], -1).view(-1, 4)
    triangles = torch.cat([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])

    raster = rasterize(grid, triangles, (50, 50))

    expected = torch.zeros(50, 50, dtype=torch.bool)
    expected[5:45, 5:45] = True
    assert torch.equal(raster.covered[0], expected)


@pytest.mark.parametrize("seed", range(3))
def test_gradients_of_attributes_and_vertices_are_those_of_differences(seed):
    generator = torch.Generator().manual_seed(seed)
    vertices, triangles = box(generator)
    colors = torch.rand(8, 3, generator=generator, dtype=torch.float64)
    probe = torch.rand(1, *SIZE, 3, generator=generator, dtype=torch.float64)
    vertices.requires_grad_(True)
    colors.requires_grad_(True)

    (shaded(vertices, colors, triangles) * probe).sum().backward()

    def differences(which: Tensor, other: Tensor, *, first: bool) -> Tensor:
        found = torch.zeros_like(which)
        for place in range(which.numel()):
            sides = []
            for step in (1e-6, -1e-6):
                moved = which.detach().clone()
                moved.view(-1)[place] += step
                both = (moved, other.detach()) if first else (other.detach(), moved)
                sides.append((shaded(*both, triangles) * probe).sum())
            found.view(-1)[place] = (sides[0] - sides[1]) / 2e-6
        return found

    assert torch.allclose(colors.grad, differences(colors, vertices, first=False), atol=1e-6)
    numeric = differences(vertices, colors, first=True)
    assert numeric[..., [0, 1, 3]].abs().max() > 1
    assert torch.allclose(vertices.grad, numeric, atol=1e-4, rtol=1e-4)


def test_smooth_edges_show_the_share_that_is_covered():
    """Against 16 x 16 hard pixels in place of each."""
    color = torch.ones(3, 1, dtype=torch.float64)
    vertices = flat([[-0.7, -0.8], [0.6, -0.77], [-0.4, 0.9]])
    fine = rasterize(vertices, TRIANGLE, (SIZE[0] * 16, SIZE[1] * 16)).covered.double()
    share = torch.nn.functional.avg_pool2d(fine, 16)

    hard = (shaded(vertices, color, TRIANGLE, smooth=False)[..., 0] - share).abs().sum()
    smooth = (shaded(vertices, color, TRIANGLE)[..., 0] - share).abs().sum()

    assert hard > 5
    assert smooth < 0.3 * hard


def test_edges_inside_a_surface_are_not_blended():
    vertices = flat([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    colors = torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    assert torch.equal(shaded(vertices, colors, QUAD), shaded(vertices, colors, QUAD, smooth=False))


def test_a_shape_is_found_by_its_outline_alone():
    """What the mesh generator needs: a silhouette pulls vertices to where they belong."""
    wanted = flat([[-0.6, -0.7], [0.7, -0.5], [0.1, 0.8]]).float()
    color = torch.ones(3, 1)
    target = shaded(wanted, color, TRIANGLE)
    corners = torch.tensor([[[-0.3, -0.3], [0.4, -0.4], [0.0, 0.3]]], requires_grad=True)
    optimizer = torch.optim.Adam([corners], lr=0.03)
    rest = wanted[..., 2:]

    for _ in range(120):
        optimizer.zero_grad()
        loss = (shaded(torch.cat([corners, rest], -1), color, TRIANGLE) - target).square().mean()
        loss.backward()
        optimizer.step()

    assert (corners - wanted[..., :2]).abs().max() < 0.02


def test_normals_of_a_sphere_point_outwards():
    turn = torch.linspace(0, 2 * math.pi, 25)[:-1]
    height = torch.linspace(0.15, math.pi - 0.15, 13)
    a, b = torch.meshgrid(height, turn, indexing="ij")
    sphere = torch.stack([a.sin() * b.cos(), a.sin() * b.sin(), a.cos()], -1).view(1, -1, 3)
    row, column = torch.meshgrid(torch.arange(12), torch.arange(24), indexing="ij")
    right = (column + 1) % 24
    quads = torch.stack(
        [row * 24 + column, (row + 1) * 24 + column, (row + 1) * 24 + right, row * 24 + right], -1
    ).view(-1, 4)
    triangles = torch.cat([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])

    normals = vertex_normals(sphere, triangles).view(13, 24, 3)[1:-1]

    assert ((normals * sphere.view(13, 24, 3)[1:-1]).sum(-1) > 0.99).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_sees_what_the_processor_sees():
    vertices, triangles = box(torch.Generator().manual_seed(0))
    colors = torch.rand(8, 3, dtype=torch.float64)

    here = shaded(vertices, colors, triangles)
    there = shaded(vertices.cuda(), colors.cuda(), triangles.cuda())

    assert torch.allclose(here, there.cpu(), atol=1e-9)
