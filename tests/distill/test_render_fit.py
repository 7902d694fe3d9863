"""What the renderers are for: a thing is found from its pictures alone, by either stage."""

import pytest
import torch
from torch import Tensor

from edgekit.distill.render.marching import cut_of, meshes_of
from edgekit.distill.render.mesh_views import mesh_views
from edgekit.distill.render.views import Cameras, random_backgrounds, random_cameras
from edgekit.distill.render.volume import BETA, volume_views

CELLS = 16
SIZE_PX = 20
WANTED = torch.tensor([0.62, 0.12, -0.1, 0.15, 0.8, 0.3, 0.1])
"""Radius, centre and colour of a ball."""
START = torch.tensor([0.4, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5])


def distance(ball: Tensor, points: Tensor) -> Tensor:
    return ((points - ball[1:4]).square().sum(-1) + 1e-9).sqrt() - ball[0]


def through_space(ball: Tensor, cameras: Cameras, grounds: Tensor, beta: float) -> Tensor:
    def field(points: Tensor) -> tuple[Tensor, Tensor]:
        return distance(ball, points), ball[4:].expand_as(points)

    views = volume_views(field, cameras, SIZE_PX, grounds, coarse=24, fine=16, beta=beta)
    return views.picture


def as_mesh(ball: Tensor, cameras: Cameras, grounds: Tensor, beta: float = 0) -> Tensor:
    axis = torch.linspace(-1, 1, CELLS + 1)
    points = torch.cartesian_prod(axis, axis, axis)
    cut = cut_of(distance(ball, points)[None], CELLS)
    meshes = meshes_of(cut, distance(ball, points[cut.corners.numbers]))
    which = torch.zeros(len(cameras), dtype=torch.int64)

    def paint(places: Tensor) -> Tensor:
        return ball[4:].expand_as(places)

    return mesh_views(meshes, cameras, SIZE_PX, grounds, paint=paint, which=which).picture


@pytest.mark.parametrize(
    ("look", "tolerance"), [(through_space, 0.03), (as_mesh, 0.015)], ids=["volume", "mesh"]
)
def test_a_ball_is_found_from_pictures_of_its_mesh(look, tolerance):
    generator = torch.Generator().manual_seed(0)
    ball = START.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([ball], lr=0.03)
    steps = 45

    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - 0.95 * step / steps)
        cameras = random_cameras(3, generator)
        grounds = random_backgrounds(3, generator)
        found = look(ball, cameras, grounds, beta=BETA * 0.2 ** (step / steps))
        optimizer.zero_grad()
        (found - as_mesh(WANTED, cameras, grounds)).abs().mean().backward()
        optimizer.step()

    assert (ball[:4] - WANTED[:4]).abs().max() < tolerance
    assert (ball[4:] - WANTED[4:]).abs().max() < 2 * tolerance
