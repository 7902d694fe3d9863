"""The identity encoder: a code of fixed size from photos in any number and order."""

from dataclasses import replace

import pytest
import torch

from edgekit.distill.identity.encoder import OnePhoto, fresh_encoder
from edgekit.distill.identity.layers import with_convolutions
from edgekit.distill.identity.shape import TOY, IdentityShape

ENCODER = fresh_encoder(TOY, seed=0).eval()


def photos(people: int, count: int, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(people, count, 3, TOY.size_px, TOY.size_px, generator=generator) * 2 - 1


def seen(people: int, count: int) -> torch.Tensor:
    return torch.ones(people, count, dtype=torch.bool)


def test_the_shape_that_ships_gives_a_code_of_32_tokens_of_256():
    shape = IdentityShape()
    encoder = fresh_encoder(shape, seed=0).eval()

    with torch.no_grad():
        code = encoder(torch.zeros(1, 2, 3, 128, 128), seen(1, 2))

    assert tuple(code.shape) == (1, *shape.code) == (1, 32, 256)
    assert code[0].half().numpy().nbytes == 16384


@pytest.mark.parametrize("count", [1, 3, 8])
@torch.no_grad()
def test_any_number_of_photos_gives_a_code_of_one_size(count):
    code = ENCODER(photos(2, count), seen(2, count))

    assert tuple(code.shape) == (2, *TOY.code)
    assert code.isfinite().all()


@torch.no_grad()
def test_the_order_of_photos_does_not_matter():
    images = photos(2, 5)
    order = torch.tensor([3, 0, 4, 1, 2])

    torch.testing.assert_close(
        ENCODER(images, seen(2, 5)), ENCODER(images[:, order], seen(2, 5)), atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_another_photo_changes_the_code():
    one, two = photos(1, 2), photos(1, 2)
    two[:, 1] = photos(1, 1, seed=1)[:, 0]

    difference = ENCODER(one, seen(1, 2)) - ENCODER(two, seen(1, 2))

    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize("content", [float("nan"), float("inf"), 7.0])
@torch.no_grad()
def test_masked_photos_change_nothing_bit_for_bit(content):
    images, mask = photos(2, 4), torch.tensor([[1, 0, 1, 0], [0, 1, 1, 1]]).bool()
    other = images.clone()
    other[~mask] = content

    assert torch.equal(ENCODER(images, mask), ENCODER(other, mask))


@torch.no_grad()
def test_a_masked_photo_is_as_good_as_none():
    images, mask = photos(1, 3), torch.tensor([[True, False, True]])

    torch.testing.assert_close(
        ENCODER(images, mask), ENCODER(images[:, ::2], seen(1, 2)), atol=1e-5, rtol=0
    )


def test_masked_photos_leave_the_gradients_finite():
    images, mask = photos(1, 2), torch.tensor([[True, False]])
    images[0, 1] = float("nan")
    encoder = fresh_encoder(TOY, seed=0)

    encoder(images, mask).square().sum().backward()

    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


@torch.no_grad()
def test_one_photo_a_call_gives_the_code_of_all_at_once():
    images = photos(1, 3)
    step, state = OnePhoto(ENCODER), torch.zeros(1, *TOY.state)
    for i in range(3):
        state, code = step(images[:, i], state)

    torch.testing.assert_close(code, ENCODER(images, seen(1, 3)), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_photo_can_be_subtracted_again():
    images = photos(1, 2)[0]
    both = ENCODER.state(images).sum(0, keepdim=True)

    left = ENCODER.code(both - ENCODER.state(images[1:]))

    torch.testing.assert_close(left, ENCODER.code(ENCODER.state(images[:1])), atol=1e-4, rtol=0)


@torch.no_grad()
def test_attention_is_a_share_of_the_photo_for_each_query():
    shares = ENCODER.attention(photos(1, 3)[0])

    assert tuple(shares.shape) == (3, TOY.queries, TOY.tokens)
    torch.testing.assert_close(shares.sum(-1), torch.ones(3, TOY.queries))


@torch.no_grad()
def test_the_weights_follow_from_the_seed_and_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two = fresh_encoder(TOY, seed=1), fresh_encoder(TOY, seed=1)

    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize(
    "wrong", [{"patch_px": 12}, {"size_px": 20}, {"width": 30}, {"queries": 0}, {"heads": 32}]
)
def test_a_shape_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must be|cannot be"):
        replace(TOY, **wrong)


@torch.no_grad()
def test_what_ships_has_convolutions_in_place_of_linear_layers_and_computes_the_same():
    step = OnePhoto(ENCODER)
    shipped = with_convolutions(step).eval()
    image, state = photos(1, 1)[0], torch.rand(1, *TOY.state)

    for one, two in zip(step(image, state), shipped(image, state), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    assert any(isinstance(layer, torch.nn.Linear) for layer in step.modules())
    assert not any(isinstance(layer, torch.nn.Linear) for layer in shipped.modules())
