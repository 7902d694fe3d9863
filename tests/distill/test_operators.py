import pytest
import torch

from edgekit.distill.teachers.operators.basics import boxed, graded, kuwahara, smoothed
from edgekit.distill.teachers.operators.strength import PLAIN, SLIGHT, STRONG
from edgekit.distill.teachers.operators.table import OPERATORS, edited
from edgekit.distill.teachers.vocabulary import EDITS


def photo(size: int = 96, count: int = 2) -> torch.Tensor:
    """Smooth colored blobs with edges: something that every operator has work with."""
    noise = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    blobs = torch.nn.functional.interpolate(noise, size=(size, size), mode="bicubic").clamp(0, 1)
    blobs[:, :, size // 3 : size // 2, size // 4 : size // 2] *= 0.3
    return blobs


def test_there_is_one_operator_for_every_edit_of_the_vocabulary():
    assert set(OPERATORS) == set(EDITS)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_edit_stays_in_range_keeps_the_shape_and_is_deterministic(name):
    image = photo()
    before = image.clone()

    first, second = (OPERATORS[name](image, PLAIN) for _ in range(2))

    assert first.shape == image.shape
    assert torch.isfinite(first).all()
    assert 0 <= float(first.min()) <= float(first.max()) <= 1
    assert torch.equal(first, second)
    assert torch.equal(image, before), "the input was changed in place"


@pytest.mark.parametrize("name", OPERATORS)
def test_strength_zero_changes_nothing_and_more_strength_changes_more(name):
    image = photo()

    moved = [
        float((OPERATORS[name](image, s) - image).abs().mean())
        for s in (0.0, SLIGHT, PLAIN, STRONG)
    ]

    assert moved[0] < 1e-6
    assert 0.005 < moved[1] < moved[2]
    assert abs(moved[3] - moved[2]) > 1e-4, "strongly is not the same as plainly"


@pytest.mark.parametrize("name", OPERATORS)
def test_an_edit_of_a_batch_is_the_edit_of_each_image(name):
    images = photo(64, 3)

    together = OPERATORS[name](images, PLAIN)
    alone = torch.cat([OPERATORS[name](image[None], PLAIN) for image in images])

    assert float((together - alone).abs().max()) < 1e-4


@pytest.mark.parametrize("size", [32, 128, 256])
def test_every_edit_works_at_every_size_the_teacher_knows(size):
    image = photo(size, 1)

    shapes = {tuple(OPERATORS[name](image, PLAIN).shape) for name in OPERATORS}

    assert shapes == {(1, 3, size, size)}


def test_edits_act_one_after_the_other():
    image = photo()

    both = edited(image, ("snow", "night"))

    assert torch.equal(both, OPERATORS["night"](OPERATORS["snow"](image, PLAIN), PLAIN))


def test_an_unknown_edit_is_an_error():
    with pytest.raises(KeyError):
        edited(photo(), ("marzipan",))


def test_a_strength_outside_its_range_is_an_error():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        OPERATORS["sepia"](photo(), 1.5)


@pytest.mark.parametrize("smooth", [smoothed, kuwahara, lambda image: boxed(image, 3)])
def test_smoothing_leaves_an_even_area_alone(smooth):
    even = torch.full((1, 3, 64, 64), 0.37)

    assert float((smooth(even) - 0.37).abs().max()) < 1e-5


def test_kuwahara_keeps_a_step_edge_sharper_than_a_box_does():
    step = torch.zeros(1, 3, 64, 64)
    step[..., 32:] = 1.0

    painted, blurred = kuwahara(step, 8), boxed(step, 8)

    assert float((painted - step).abs().mean()) < 0.3 * float((blurred - step).abs().mean())


def test_a_color_ramp_hits_its_stops():
    stops = [(0.0, 0.0, 0.2), (1.0, 0.0, 0.0), (1.0, 1.0, 1.0)]
    tone = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3)

    assert torch.allclose(graded(tone, stops)[0, :, 0].T, torch.tensor(stops))


def test_night_darkens_and_cools_and_sunset_warms():
    image = photo()

    night, sunset = edited(image, ("night",)), edited(image, ("sunset",))

    assert float(night.mean()) < 0.5 * float(image.mean())
    assert float(night[:, 2].mean()) > float(night[:, 0].mean())
    assert float(sunset[:, 0].mean()) > 1.5 * float(sunset[:, 2].mean())
