"""The restorer's attention: sharing, AdaIN, gate, and where landmarks say it should look."""

import torch

from edgekit.distill.restorer.attention import (
    Gate,
    Norm,
    SharedAttention,
    adain,
    fused,
    mixed,
    shared,
    written_out,
)
from edgekit.distill.restorer.landmarks import landmark_loss, landmark_maps, tokens_of


def test_a_fresh_layer_looks_near_its_own_place_in_every_reference():
    layer = SharedAttention(32, 16)
    at_q, at_k = layer.placed(torch.zeros(1, 32, 16, 16))

    shares = torch.softmax(at_q[0].view(256, 2, 16)[:, 0] @ at_k[0].view(256, 2, 16)[:, 0].T / 4, 1)

    rows, columns = torch.arange(256) // 16, torch.arange(256) % 16
    far = torch.hypot(*(((v[:, None] - v[None]).float()) for v in (rows, columns)))
    near = (shares * (far <= 2.0)).sum(1)
    assert near.min() > 0.4  # by lot it would be at most 13 of 256 tokens, 0.05
    assert (shares.argmax(1) == torch.arange(256)).all()


def test_adain_takes_statistics_over_tokens_channel_by_channel():
    dice = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 50, 8, generator=dice) * torch.arange(1, 9) + 4
    own = torch.randn(2, 20, 8, generator=dice) * torch.arange(8, 0, -1) - torch.arange(8)

    made = adain(values, own)

    assert torch.allclose(made.mean(2), own.mean(1)[:, None].expand(2, 3, 8), atol=1e-3)
    wanted = own.var(1, correction=0).sqrt()[:, None].expand(2, 3, 8)
    assert torch.allclose(made.var(2, correction=0).sqrt(), wanted, atol=1e-2)
    assert made.mean(3).std() > 0.1  # the channels of one token keep their own means


def attention_case():
    dice = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 16, 8, generator=dice) for _ in range(3))
    memory = tuple(torch.randn(2, 3, 10, 8, generator=dice) for _ in range(2))
    return q, (k, v), memory, torch.tensor([[True, True, False], [True, False, False]])


def test_a_shut_gate_is_attention_to_itself_and_an_open_one_plain_sharing():
    q, own, memory, mask = attention_case()

    shut = shared(q, own, memory, mask, torch.zeros(2, 16, 3), 4)
    wide = shared(q, own, memory, mask, torch.ones(2, 16, 3), 4)

    assert torch.allclose(shut, mixed(q, *own, 4), atol=1e-4)
    assert torch.allclose(wide, shared(q, own, memory, mask, None, 4), atol=1e-5)


def test_the_gate_answers_for_each_query_and_reference():
    q, _, (keys, _), _ = attention_case()
    gate = Gate(8)
    gate.out.weight.data.normal_(generator=torch.Generator().manual_seed(0))

    opened = gate(q, keys)

    assert opened.shape == (2, 16, 3)
    assert opened.std() > 1e-3
    assert 0 <= opened.min() <= opened.max() <= 1


def test_a_norm_keeps_eight_bits_of_mantissa_where_autocast_would_widen_them():
    norm, x = Norm(4, 16), torch.randn(2, 16, 8, 8)

    with torch.autocast("cpu", torch.bfloat16):
        made = norm(x.bfloat16())

    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), norm(x), rtol=0, atol=0.05)


def test_the_fused_kernels_compute_what_is_written_out():
    dice = torch.Generator().manual_seed(0)
    q = torch.randn(2, 3, 16, 8, generator=dice)
    k, v = (torch.randn(2, 3, 16 + 3 * 10, 8, generator=dice) for _ in range(2))
    there = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    logs = -3 * torch.rand(2, 16, 3, generator=dice)

    one, two = fused(q, k, v, there, logs), written_out(q, k, v, there, logs)

    assert torch.allclose(one, two, atol=1e-5)


def test_column_3_row_12_of_16_is_token_195_and_not_60_as_in_the_released_code():
    point = torch.tensor([3.5, 12.5])

    token = int(tokens_of(point, size_px=16, grid=16))
    peak = int(landmark_maps(point, size_px=16, grid=16).argmax())

    assert (token, peak) == (195, 195)
    assert token == 12 * 16 + 3


def test_attention_at_the_landmark_costs_less_than_at_the_transposed_one():
    target, reference = torch.tensor([[[8.5, 2.5]]]), torch.tensor([[[[3.5, 12.5]]]])
    queries = torch.zeros(1, 256, 8)
    queries[0, 2 * 16 + 8, 0] = 20.0

    def loss(token: int) -> float:
        keys = torch.zeros(1, 1, 256, 8)
        keys[0, 0, token, 0] = 20.0
        there = torch.ones(1, 1, dtype=torch.bool)
        found = landmark_loss(
            [queries],
            [keys],
            head_dims=[8],
            size_px=16,
            target_points=target,
            reference_points=reference,
            mask=there,
        )
        return float(found)

    assert loss(195) < loss(60) - 1


def test_a_missing_reference_has_no_say_in_the_landmark_loss():
    dice = torch.Generator().manual_seed(0)
    queries, keys = torch.randn(1, 16, 8, generator=dice), torch.randn(1, 2, 16, 8, generator=dice)
    other = keys.clone()
    other[:, 1] = 5.0
    points = torch.tensor([[[1.0, 2.0], [3.0, 3.0]]])
    found = [
        landmark_loss(
            [queries],
            [some],
            head_dims=[4],
            size_px=4,
            target_points=points,
            reference_points=points[:, None].expand(1, 2, 2, 2),
            mask=torch.tensor([[True, False]]),
        )
        for some in (keys, other)
    ]

    assert torch.equal(*found)


def test_a_reference_of_zeros_is_not_a_missing_one():
    """The released code zeroes keys of missing references, which keep their softmax mass."""
    q, own, memory, _ = attention_case()
    zeros = tuple(torch.zeros_like(part) for part in memory)
    nobody = torch.zeros(2, 3, dtype=torch.bool)

    masked = shared(q, own, zeros, nobody, None, 4)
    zeroed = shared(q, own, zeros, ~nobody, None, 4)

    assert torch.equal(masked, shared(q, own, memory, nobody, None, 4))
    assert (masked - zeroed).abs().max() > 0.05
