"""Cameras around an object: where they stand, what the ray of a pixel hits, where light is."""

import math

import pytest
import torch

from edgekit.distill.render.views import (
    AMBIENT,
    PITCH_DEG,
    RADIUS,
    Cameras,
    cameras_at,
    over,
    random_cameras,
    ring,
    shaded,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("yaw_deg", "pitch_deg", "place"),
    [(0, 0, (0, 0, 2.8)), (90, 0, (2.8, 0, 0)), (180, 0, (0, 0, -2.8)), (0, 90, (0, 2.8, 0))],
)
def test_cameras_stand_where_their_angles_say(yaw_deg, pitch_deg, place):
    angles = torch.tensor([[yaw_deg], [pitch_deg]]) * math.pi / 180

    cameras = cameras_at(*angles)

    assert torch.allclose(cameras.places, torch.tensor([place]), atol=1e-5)


def test_in_front_right_is_right_up_is_up_and_near_is_near():
    points = torch.tensor([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0, 0, -0.5]])

    clip = ring(1, pitch_deg=0).projected(points)[0]
    seen = clip[:, :3] / clip[:, 3:]

    assert seen[0, 0] > 0.3
    assert seen[0, 1].abs() < 1e-6
    assert seen[1, 1] > 0.3
    assert seen[2, 2] < seen[3, 2]


def test_the_point_on_a_pixels_ray_is_projected_to_that_pixel():
    cameras, size_px = random_cameras(5, seeded()), 7
    origins, directions = cameras.rays(size_px)
    points = (origins + directions * 2.3).flatten(1, 2)

    clip = cameras.projected(points)

    seen = clip[..., :2] / clip[..., 3:]
    steps = (torch.arange(size_px) + 0.5) * 2 / size_px - 1
    rows, columns = torch.meshgrid(-steps, steps, indexing="ij")
    centres = torch.stack([columns, rows], -1).view(1, -1, 2)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(()))
    assert torch.allclose(seen, centres.expand_as(seen), atol=1e-5)


def test_every_view_shows_the_whole_object():
    shell = torch.nn.functional.normalize(torch.randn(500, 3, generator=seeded()), dim=1) * RADIUS

    clip = random_cameras(50, seeded()).projected(shell)

    assert ((clip[..., :2] / clip[..., 3:]).abs() < 1).all()


def test_random_cameras_go_all_around_and_keep_to_the_pitch():
    cameras = random_cameras(2000, seeded())

    quarters = torch.histc(cameras.yaw, 4, 0, 2 * math.pi)
    degrees = cameras.pitch * 180 / math.pi
    assert quarters.min() > 400
    assert PITCH_DEG[0] <= degrees.min() < PITCH_DEG[0] + 1
    assert PITCH_DEG[1] - 1 < degrees.max() <= PITCH_DEG[1]
    assert torch.equal(random_cameras(3, seeded()).yaw, random_cameras(3, seeded()).yaw)


def test_light_comes_from_above_and_the_left_of_every_camera():
    cameras = random_cameras(6, seeded())
    right, up = cameras.axes[:, :, 0], cameras.axes[:, :, 1]
    albedo = torch.ones(6, 1, 3)

    left_lit, right_lit = (
        shaded(albedo, side[:, None], cameras)[:, 0, 0] for side in (-right, right)
    )
    up_lit, down_lit = (shaded(albedo, side[:, None], cameras)[:, 0, 0] for side in (up, -up))

    assert torch.allclose(left_lit, left_lit[:1].expand(6))
    assert (left_lit > AMBIENT + 0.1).all()
    assert (up_lit > left_lit).all()
    assert torch.allclose(right_lit, torch.tensor(AMBIENT))
    assert torch.allclose(down_lit, torch.tensor(AMBIENT))


def test_a_background_shows_where_the_object_is_not():
    share = torch.tensor([0.0, 0.25, 1.0]).view(1, 1, 3, 1)
    white = torch.ones(1, 1, 3, 3) * share

    laid = over(white, share, torch.tensor([[0.0, 0.4, 1.0]]))

    assert torch.allclose(laid[0, 0, 0], torch.tensor([0.0, 0.4, 1.0]))
    assert torch.allclose(laid[0, 0, 1], torch.tensor([0.25, 0.55, 1.0]))
    assert torch.allclose(laid[0, 0, 2], torch.ones(3))


def test_numbers_for_different_pictures_are_refused():
    with pytest.raises(ValueError, match="one number a picture"):
        Cameras(torch.zeros(2), torch.zeros(2), torch.ones(1), torch.ones(2))
