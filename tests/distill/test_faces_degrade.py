"""Degradations: each stage does what it says, orders differ, gradients pass."""

from dataclasses import replace

import pytest
import torch
from tests import needs
from torch.nn import functional as F

from edgekit.core.errors import DependencyMissing, EdgekitError
from edgekit.distill.faces import degrade, packages
from edgekit.distill.faces.degrade import (
    SEVERITIES,
    blurred,
    damaged,
    drawn_damage,
    jpegged,
    resampled,
)

SIDE = 64


def portraits(count: int) -> torch.Tensor:
    """Smooth shapes with edges, in [0, 1]."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 9, 9, generator=rng)
    wide = F.interpolate(coarse, (SIDE, SIDE), mode="bicubic", align_corners=True)
    return ((wide * 6).round() / 6).clamp(0, 1)


def drawn(count: int, severity: str = "mixed", seed: int = 0):
    return drawn_damage(count, SIDE, severity, torch.Generator().manual_seed(seed))


def test_blur_is_the_gaussian_of_its_covariance():
    """A point becomes the bell whose axes and angle were asked for."""
    point = torch.zeros(1, 3, SIDE, SIDE)
    point[:, :, 32, 32] = 1
    sigma, angle = torch.tensor([[1.4, 0.9]]), torch.tensor([0.6])

    bell = blurred(point, sigma, angle)[0, 0]

    y, x = torch.meshgrid(torch.arange(SIDE) - 32.0, torch.arange(SIDE) - 32.0, indexing="ij")
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    expected = torch.exp(-((along / 1.4) ** 2 + (across / 0.9) ** 2) / 2) / (
        2 * torch.pi * 1.4 * 0.9
    )
    assert torch.allclose(bell, expected, atol=2e-3)
    assert abs(float(bell.sum()) - 1) < 1e-2


def test_a_flat_picture_passes_blur_and_resampling_unchanged():
    gray = torch.full((2, 3, SIDE, SIDE), 0.4)

    soft = blurred(gray, torch.full((2, 2), 1.5), torch.zeros(2))
    small = resampled(gray, torch.tensor([9, 33]))

    assert torch.allclose(soft, gray, atol=1e-4)
    assert torch.allclose(small, gray, atol=1e-4)


def test_resampling_is_that_of_an_image_library_for_each_picture():
    images = portraits(3)

    mine = resampled(images, torch.tensor([16, 40, SIDE]))

    for picture, kept, made in zip(images, (16, 40, SIDE), mine, strict=True):
        small = F.interpolate(picture[None], (kept, kept), mode="bicubic", antialias=True)
        expected = F.interpolate(small, (SIDE, SIDE), mode="bicubic").clamp(0, 1)[0]
        assert torch.allclose(made, expected, atol=1e-4)
    assert torch.allclose(mine[2], images[2], atol=1e-5)


@needs.KORNIA
def test_a_lower_quality_of_jpeg_leaves_less():
    images = portraits(3)[:1].expand(3, -1, -1, -1) + 0.0

    error = (jpegged(images, torch.tensor([10.0, 40.0, 95.0])) - images).square().mean((1, 2, 3))

    assert error[0] > 1.3 * error[1] > 1.5 * error[2] > 0


@needs.KORNIA
@pytest.mark.parametrize("side", [48, 50])
def test_jpeg_takes_sides_that_are_no_whole_blocks(side):
    images = torch.rand(2, 3, side, side)

    assert jpegged(images, torch.tensor([50.0, 50.0])).shape == images.shape


@needs.KORNIA
def test_a_severer_degradation_leaves_less_of_the_same_pictures():
    images = portraits(24)

    left = {
        name: float((damaged(images, drawn(24, name)) - images).square().mean())
        for name in SEVERITIES
    }

    assert left["mild"] < left["medium"] < left["severe"] < left["extreme"]


@needs.KORNIA
def test_the_same_damage_gives_the_same_pictures_and_each_its_own_order():
    damage = drawn(32)

    first, second = damaged(portraits(32), damage), damaged(portraits(32), damage)

    assert torch.equal(first, second)
    assert len({tuple(order) for order in damage.order.tolist()}) > 8
    assert (first >= 0).all()
    assert (first <= 1).all()


@needs.KORNIA
def test_what_happens_to_a_picture_does_not_depend_on_its_neighbours():
    images, damage = portraits(4), drawn(4)
    calm = replace(damage, noise=torch.zeros(4))

    together = damaged(images, calm)

    for row in range(4):
        own = replace(
            calm,
            **{
                name: getattr(calm, name)[row : row + 1]
                for name in ("order", "sigma", "angle", "remaining", "noise", "jpeg")
            },
        )
        assert torch.allclose(damaged(images[row : row + 1], own)[0], together[row], atol=1e-5)


@needs.KORNIA
def test_gradients_reach_the_pictures():
    images = portraits(2).requires_grad_(True)

    damaged(images, drawn(2, "mild")).square().sum().backward()

    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert (images.grad.abs().amax((1, 2, 3)) > 0).all()


def test_strengths_scale_with_the_side():
    rng = (torch.Generator().manual_seed(7) for _ in range(2))

    small, large = (drawn_damage(50, side, "severe", next(rng)) for side in (128, 512))

    assert torch.allclose(large.sigma, small.sigma * 4)
    assert large.remaining.min() >= 512 // 20
    assert torch.equal(large.jpeg, small.jpeg)


def test_an_unknown_severity_names_the_known_ones():
    with pytest.raises(EdgekitError, match="unknown severity 'harsh'") as caught:
        drawn(1, "harsh")

    assert "medium" in caught.value.hint


def test_without_kornia_the_extra_is_named(monkeypatch):
    def absent() -> None:
        raise DependencyMissing("kornia", extra="faces")

    monkeypatch.setattr(packages, "kornia", absent)

    with pytest.raises(DependencyMissing, match=r"edgekit-toolchain\[faces\]"):
        degrade.jpegged(torch.rand(1, 3, 16, 16), torch.tensor([50.0]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_does_the_same_but_for_the_noise():
    images, damage = portraits(8), replace(drawn(8), noise=torch.zeros(8))

    assert torch.allclose(damaged(images, damage), damaged(images.cuda(), damage).cpu(), atol=2e-2)
