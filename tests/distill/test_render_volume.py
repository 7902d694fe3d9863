"""Volume rendering: a sphere whose picture is known, gradients, and what losses see."""

import math

import pytest
import torch
from tests.distill.operators import HOST, Asked
from torch import Tensor

from edgekit.distill.render.views import Cameras, ring
from edgekit.distill.render.volume import (
    VolumeViews,
    density_of,
    eikonal_loss,
    slopes_at,
    sparsity_loss,
    volume_views,
)

RED = (0.9, 0.2, 0.1)


def ball(radius: Tensor, centre: Tensor, color: Tensor):
    """A field of one sphere a picture, or the same one in all of them."""

    def field(points: Tensor) -> tuple[Tensor, Tensor]:
        away = points - centre
        return (away.square().sum(-1) + 1e-12).sqrt() - radius, color.expand_as(points)

    return field


def cameras(count: int = 1, dtype: torch.dtype = torch.float64):
    turned = ring(count)
    return Cameras(*(each.to(dtype) for each in turned._values()))


def sphere(radius: float, *, size_px: int = 33, **settings) -> VolumeViews:
    field = ball(torch.tensor(radius), torch.zeros(3), torch.tensor(RED))
    black = torch.zeros(1, 3)
    return volume_views(field, cameras(1, torch.float32), size_px, black, **settings)


@pytest.mark.parametrize("radius", [0.2, 0.4, 0.7])
def test_a_sphere_is_as_large_as_its_surface_although_its_shell_is_soft(radius):
    views = sphere(radius, size_px=65)
    grown = sphere(radius, size_px=65, outline=0.0)

    apparent = math.tan(math.asin(radius / 2.8)) / math.tan(math.radians(20))
    share = math.pi * apparent**2 / 4
    assert (views.opacity > 0.5).float().mean() == pytest.approx(share, rel=0.08)
    assert (grown.opacity > 0.5).float().mean() > 1.15 * share


def test_depth_is_that_of_the_surface_and_empty_pixels_are_clear():
    views = sphere(0.6, beta=0.001, coarse=160, fine=96)

    assert views.depth[0, 16, 16] == pytest.approx(2.2, abs=0.01)
    assert views.opacity[0, 16, 16] > 0.999
    assert views.opacity[0, 0, 0] == 0


def test_normals_point_at_the_camera_and_light_comes_from_the_upper_left():
    views = sphere(0.6)
    axis = cameras(1, torch.float32).axes[0, :, 2]

    middle = views.normals[0, 16, 16]
    bright = views.picture.sum(-1)[0]

    assert torch.allclose(middle, axis, atol=0.02)
    assert bright[12, 12] > bright[20, 20] * 1.1
    assert torch.allclose(
        views.picture[0, 16, 16] / views.picture[0, 16, 16, 0],
        torch.tensor(RED) / RED[0],
        atol=1e-4,
    )


def test_density_is_half_at_the_surface_and_none_outside():
    density = density_of(torch.tensor([-1.0, 0.0, 1.0]), 0.01)

    assert torch.allclose(density, torch.tensor([100.0, 50.0, 0.0]))


def test_fine_samples_find_a_thin_plate_that_even_ones_miss():
    def plate(points: Tensor) -> tuple[Tensor, Tensor]:
        return (points @ axis).abs() - 0.02, torch.ones_like(points)

    camera = cameras(1, torch.float32)
    axis = camera.axes[0, :, 2]
    black = torch.zeros(1, 3)

    def hidden(coarse: int, fine: int) -> float:
        views = volume_views(plate, camera, 5, black, coarse=coarse, fine=fine, beta=0.01)
        return float(views.opacity[0, 2, 2])

    exact = hidden(2000, 0)
    assert abs(hidden(24, 24) - exact) < 0.3 * abs(hidden(48, 0) - exact)


def test_the_same_seed_gives_the_same_picture_and_none_gives_no_noise():
    def drawn(seed: int | None) -> Tensor:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return sphere(0.5, generator=generator).picture

    assert torch.equal(drawn(None), drawn(None))
    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
    assert (drawn(3) - drawn(None)).abs().mean() < 0.01


def test_a_step_waits_for_nothing_and_copies_nothing_from_the_host():
    """What a CUDA graph cannot hold: sizes that depend on values, and tensors made of numbers."""
    radius, beta = torch.tensor(0.5, requires_grad=True), torch.tensor(0.03)
    field = ball(radius, torch.zeros(3), torch.tensor(RED))
    camera, black = cameras(1, torch.float32), torch.zeros(1, 3)

    with Asked() as asked:
        views = volume_views(field, camera, 8, black, beta=beta)
        loss = views.picture.mean() + eikonal_loss(views.slopes) + sparsity_loss(views.opacity)
        loss.backward()

    assert "searchsorted" in asked.names
    assert not asked.names & HOST


def probe_of(views: VolumeViews, seed: int) -> Tensor:
    """A random sum of everything that is rendered."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros((), dtype=torch.float64)
    for values in (views.picture, views.opacity, views.depth, views.slopes):
        total = total + (values * torch.rand(values.shape, generator=generator).double()).sum()
    return total


@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_those_of_differences(seed):
    """Without fine samples, whose places follow the field and have no gradient."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(7, generator=generator).double() * 0.3 + 0.2
    probe_black = torch.rand(2, 3, generator=generator).double()

    def total(values: Tensor) -> Tensor:
        field = ball(values[0] + 0.2, values[1:4] - 0.35, values[4:])
        return probe_of(volume_views(field, cameras(2), 9, probe_black, fine=0, beta=0.05), seed)

    values = start.clone().requires_grad_(True)
    total(values).backward()
    steps = torch.eye(7, dtype=torch.float64) * 1e-6
    numeric = torch.stack([(total(start + s) - total(start - s)) / 2e-6 for s in steps])

    assert numeric.abs().min() > 0.01
    assert torch.allclose(values.grad, numeric, rtol=1e-5, atol=1e-5)


def test_gradients_with_fine_samples_are_nearly_those_of_differences():
    start = torch.tensor([0.5, 0.1, -0.1, 0.05, 0.7, 0.4, 0.2], dtype=torch.float64)

    def total(values: Tensor) -> Tensor:
        field = ball(values[0], values[1:4], values[4:])
        views = volume_views(field, cameras(1), 12, torch.zeros(1, 3).double(), coarse=64, fine=64)
        return views.picture.sum()

    values = start.clone().requires_grad_(True)
    total(values).backward()
    steps = torch.eye(7, dtype=torch.float64) * 1e-3
    numeric = torch.stack([(total(start + s) - total(start - s)) / 2e-3 for s in steps])

    assert torch.nn.functional.cosine_similarity(values.grad, numeric, dim=0) > 0.999


def test_slopes_of_a_distance_field_have_length_one_and_losses_say_so():
    points = torch.rand(2, 200, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    field = ball(torch.tensor(0.5), torch.zeros(3), torch.zeros(3))

    slopes = slopes_at(lambda p: field(p)[0], points)

    away = points.norm(dim=-1) > 0.2
    assert torch.allclose(slopes.norm(dim=-1)[away], torch.ones(()), atol=0.05)
    assert eikonal_loss(slopes[away]) < 1e-3
    assert eikonal_loss(slopes * 3) > 1


def test_an_empty_picture_costs_least_and_a_field_without_slope_gives_finite_gradients():
    level = torch.zeros((), requires_grad=True)

    def flat(points: Tensor) -> tuple[Tensor, Tensor]:
        return level.expand(points.shape[:2]) + 5, torch.ones_like(points)

    views = volume_views(flat, cameras(1, torch.float32), 8, torch.ones(1, 3))
    (sparsity_loss(views.opacity) + eikonal_loss(views.slopes) + views.normals.sum()).backward()

    assert torch.equal(views.picture.detach(), torch.ones(1, 8, 8, 3))
    assert sparsity_loss(views.opacity) < sparsity_loss(sphere(0.5).opacity)
    assert level.grad is not None
    assert torch.isfinite(level.grad)
