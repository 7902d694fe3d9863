"""Pasting a restored face back: what is outside stays, colours stay, geometry is right."""

import numpy as np
import pytest
from tests.students import smooth_photos

from edgekit.distill.faces.cut import cut_out
from edgekit.distill.faces.points import crop_transform
from edgekit.runtime.paste import in_light_of, pasted, scale_of

SIDE = 64
FIVE = np.array([[60, 70], [88, 64], [77, 85], [68, 102], [90, 97]], np.float32)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(smooth_photos(1, 180, seed=5)[0][:150])


def matrix_of(scale: float = 1.0) -> np.ndarray:
    """A turned square about the five points; `scale` of its pixels make one of the photo."""
    side = scale * np.hypot(*(FIVE[1] - FIVE[0])) * 4
    return crop_transform(FIVE, round(float(side)))


def cut(photo: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    return cut_out(photo, matrix.astype(np.float32), size)


@pytest.mark.parametrize("scale", [0.3, 0.6, 1.0, 2.7])
def test_a_crop_that_was_not_changed_gives_the_very_photo_back(photo, scale):
    matrix = matrix_of(scale)
    size = round(float(scale * np.hypot(*(FIVE[1] - FIVE[0])) * 4))
    crop = cut(photo, matrix, size)

    made = pasted(photo, crop, crop, matrix)

    assert scale_of(matrix) == pytest.approx(scale, rel=0.05)
    assert np.array_equal(made, photo)


def test_detail_finer_than_the_crop_stays_where_little_changes_and_goes_where_much_does(photo):
    grain = np.random.default_rng(0).normal(0, 12, photo.shape)
    grainy = np.clip(photo + grain, 0, 255).astype(np.uint8)
    matrix = matrix_of(0.3)
    size = round(float(0.3 * np.hypot(*(FIVE[1] - FIVE[0])) * 4))
    crop = cut(grainy, matrix, size)
    checks = np.where(np.indices((size, size)).sum(0)[..., None] % 2, 1.0, -1.0)
    inside = (slice(60, 110), slice(55, 105))

    left = []
    for change in (1.0, 30.0):
        other = np.clip(np.round(crop + change * checks), 0, 255).astype(np.uint8)
        made = pasted(grainy, crop, other, matrix).astype(float) - photo
        smooth = pasted(photo, crop, other, matrix).astype(float) - photo
        left.append(float((made - smooth)[inside].std()))

    assert left[0] > 0.8 * grain[inside].std()
    assert left[1] < 0.5 * grain[inside].std()


def test_pixels_outside_the_crop_are_untouched_and_inside_they_change(photo):
    matrix = matrix_of()
    size = round(float(np.hypot(*(FIVE[1] - FIVE[0])) * 4))
    crop = cut(photo, matrix, size)
    checks = (np.indices((size, size)).sum(0) % 2 * 255).astype(np.uint8)

    made = pasted(photo, crop, np.repeat(checks[..., None], 3, 2), matrix)

    y, x = np.indices(photo.shape[:2]) + 0.5
    u, v = (matrix[i, 0] * x + matrix[i, 1] * y + matrix[i, 2] for i in (0, 1))
    away = np.maximum(np.abs(u / size - 0.5), np.abs(v / size - 0.5))
    outside = away > 0.5 + 1 / size
    assert outside.any()
    assert np.array_equal(made[outside], photo[outside])
    assert (made != photo).any(2)[away < 0.3].mean() > 0.95


def test_a_colour_cast_of_the_network_does_not_reach_the_photo(photo):
    matrix, size = matrix_of(), 116
    crop = cut(photo, matrix, size)
    cast = np.clip(crop.astype(int) + np.array([24, -18, 9]), 0, 255).astype(np.uint8)

    made = pasted(photo, crop, cast, matrix)

    plain = pasted(photo, crop, crop, matrix)
    assert np.abs(made.astype(int) - plain).mean() < 1.5
    assert np.abs(in_light_of(cast, crop).mean((0, 1)) - crop.mean((0, 1))).max() < 1


def test_what_is_drawn_on_the_crop_lands_where_it_was_seen(photo):
    """A dot at the place of an eye in the crop becomes a dot at the eye of the photo."""
    matrix, size = matrix_of(), 116
    crop = cut(photo, matrix, size)
    eye = matrix[:, :2] @ FIVE[1] + matrix[:, 2]
    y, x = np.indices((size, size)) + 0.5
    dotted = crop.copy()
    dotted[np.hypot(x - eye[0], y - eye[1]) < 4] = (255, 0, 0)

    made = pasted(photo, crop, dotted, matrix).astype(int) - pasted(photo, crop, crop, matrix)

    strength = np.abs(made).sum(2).astype(float)
    strength[strength < 60] = 0
    places = np.indices(strength.shape) + 0.5
    center = (places * strength).sum((1, 2)) / strength.sum()
    assert np.allclose(center[::-1], FIVE[1], atol=0.5)


def test_there_is_no_seam(photo):
    """A face of another brightness fades into its surroundings."""
    flat = np.full_like(photo, 120)
    matrix, size = matrix_of(), 116
    crop = cut(flat, matrix, size)
    ramp = np.linspace(60, 200, size)[None, :, None].repeat(size, 0).repeat(3, 2).astype(np.uint8)

    made = pasted(flat, crop, ramp, matrix).astype(int)

    assert max(np.abs(np.diff(made, axis=axis)).max() for axis in (0, 1)) <= 4


def test_a_face_at_the_border_of_the_photo_is_pasted_as_far_as_it_is_there(photo):
    shifted = FIVE - [55, 60]
    matrix = crop_transform(shifted.astype(np.float32), 64)
    crop = cut(photo, matrix, 64)

    made = pasted(photo, crop, 255 - crop, matrix)

    assert made.shape == photo.shape
    assert (made != photo).any()


def test_squares_of_two_sizes_are_refused(photo):
    with pytest.raises(ValueError, match="two squares of one size"):
        pasted(photo, photo[:64, :64], photo[:32, :32], matrix_of())
