"""The networks: what they cost, what they can express, and that folding text changes nothing."""

from __future__ import annotations

import pytest
import torch
from tests.students import tiny_context, tiny_generator
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.students.cost import MacCounter, count_macs, count_parameters
from edgekit.distill.students.discriminator import PatchGAN, fresh_discriminator
from edgekit.distill.students.gan import (
    Generator,
    Residual,
    Shape,
    fresh_generator,
    resized_student,
    shape_facts,
    specialized,
)
from edgekit.distill.students.resnet9 import fresh_resnet9

CONTEXT = torch.randn(16, 128, generator=torch.Generator().manual_seed(0))


def image(size_px: int, count: int = 1, *, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size_px, size_px, generator=random) * 2 - 1


def test_the_default_student_stays_within_three_gmac_and_two_and_a_half_million_weights():
    student = specialized(fresh_generator(Shape(), seed=0), CONTEXT, size_px=256)

    assert count_macs(student, image(256)) / 1e9 <= 3.0
    assert count_parameters(student) / 1e6 <= 2.5
    assert count_parameters(fresh_generator(Shape(), seed=0)) / 1e6 <= 2.5


def test_a_student_computes_what_its_generator_computes_with_the_text():
    generator, context = tiny_generator(), tiny_context()
    photos = image(64, 2)

    with torch.no_grad():
        difference = generator(photos, context.expand(2, -1, -1)) - specialized(
            generator, context, size_px=64
        )(photos)

    assert difference.abs().max() < 1e-5


def test_another_text_gives_another_picture():
    generator = tiny_generator()
    photos = image(64)

    with torch.no_grad():
        first = generator(photos, tiny_context(seed=0)[None])
        second = generator(photos, tiny_context(seed=1)[None])

    assert (first - second).abs().mean() > 0.01


def test_the_same_weights_serve_two_sizes():
    generator, context = tiny_generator(), tiny_context()
    small, large = (specialized(generator, context, size_px=size) for size in (64, 96))

    moved = resized_student(large, size_px=64)

    assert small.state_dict().keys() == large.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(moved(image(64)), small(image(64)))


def test_a_negative_is_within_reach_whatever_the_rest_of_the_network_holds():
    generator = tiny_generator()
    with torch.no_grad():
        generator.head.weight.zero_()
        generator.head.bias.zero_()
        generator.tone.bias.zero_()
        nn.init.dirac_(generator.tone.weight)
        generator.tone.weight.neg_()

        made = generator(image(64), tiny_context()[None])

    assert torch.allclose(made, -image(64), atol=1e-6)


def test_a_fresh_generator_starts_as_the_identity_and_depends_on_its_seed_alone():
    torch.manual_seed(1)
    one = fresh_generator(Shape(width=16), seed=3).eval()
    torch.manual_seed(2)
    two = fresh_generator(Shape(width=16), seed=3).eval()

    with torch.no_grad():
        assert torch.allclose(one(image(64), CONTEXT[None]), image(64))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_a_shipped_program_uses_only_what_every_converter_folds_or_accelerates():
    student = specialized(tiny_generator(), tiny_context(), size_px=64)

    program = torch.export.export(student, (image(64),))
    convolutions = [m for m in student.modules() if isinstance(m, nn.Conv2d)]
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}

    assert {layer.groups for layer in convolutions} == {1}
    forbidden = ("instance", "group", "scaled", "conv_transpose", "linear", "arange", "linspace")
    assert not [name for name in operators for word in forbidden if word in name]
    assert [node.name for node in program.graph.nodes if node.op == "placeholder"][-1] == "image"


@pytest.mark.parametrize("size_px", [0, 40, 100])
def test_a_size_that_cannot_be_halved_and_pooled_is_refused(size_px):
    with pytest.raises(ValueError, match="multiple of 32"):
        specialized(tiny_generator(), tiny_context(), size_px=size_px)


def test_macs_are_those_one_counts_by_hand():
    convolution = nn.Conv2d(3, 5, 3, stride=2, padding=1)
    spread = nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1)
    linear = nn.Linear(7, 11)

    assert count_macs(convolution, torch.zeros(2, 3, 8, 8)) == 2 * 4 * 4 * 3 * 5 * 9
    assert count_macs(spread, torch.zeros(1, 3, 8, 8)) == 8 * 8 * 3 * 5 * 9
    assert count_macs(linear, torch.zeros(4, 7)) == 4 * 7 * 11


def test_fused_and_written_out_attention_cost_the_same():
    query, key, value = (torch.zeros(2, 4, n, 8) for n in (10, 6, 6))

    with torch.no_grad(), MacCounter() as fused:
        F.scaled_dot_product_attention(query, key, value)
    with torch.no_grad(), MacCounter() as written:
        _ = torch.softmax(query @ key.transpose(2, 3), dim=-1) @ value

    assert fused.macs == written.macs == 2 * 4 * 10 * 6 * (8 + 8)


def test_a_patch_of_the_discriminator_sees_seventy_pixels():
    judge = fresh_discriminator(4, seed=0)
    photos = image(128).requires_grad_()

    scores = judge(photos, image(128, seed=1))
    middle = scores.shape[-1] // 2
    scores[0, 0, middle, middle].backward()
    assert photos.grad is not None
    seen = photos.grad[0].abs().sum(0).sum(0).nonzero()

    assert int(seen.max() - seen.min()) + 1 == 70


def test_the_discriminator_hears_the_text():
    judge = PatchGAN(4, context_dim=16)
    photos = image(64)

    first = judge(photos, photos, tiny_context(seed=0)[None])
    second = judge(photos, photos, tiny_context(seed=1)[None])

    assert not torch.equal(first, second)


def test_the_baseline_has_the_size_that_the_papers_name():
    network = fresh_resnet9(seed=0)

    assert round(count_parameters(network) / 1e6, 2) == 11.38
    assert round(count_macs(network.eval(), image(64)) * 16 / 1e9, 1) == 49.6


def test_residual_blocks_hear_no_text():
    generator = tiny_generator()

    blocks = [block for block in generator.modules() if isinstance(block, Residual)]

    assert len(blocks) == 3
    assert isinstance(generator, Generator)
    assert not [name for block in blocks for name, _ in block.named_modules() if "modul" in name]


def test_the_shipped_base_keeps_its_names_and_order_of_weights():
    state = fresh_generator(Shape(), seed=0).state_dict()

    parts = list(dict.fromkeys(name.split(".")[0] for name in state))

    assert shape_facts(Shape()) == {"width": 64, "context_dim": 128, "heads": 4}
    assert parts[:7] == ["digest", "stem", "down1", "down2", "residual1", "residual2", "down3"]
    assert parts[7:11] == ["transformer", "up1", "residual3", "up2"]
    assert parts[11:] == ["detail2", "up3", "detail3", "head", "tone"]


@pytest.mark.parametrize(
    "dials",
    [
        {"full": 8, "half": 24, "eighth": 40},
        {"encoder_blocks": 0, "decoder_blocks": 3},
        {"transformer": False},
        {"detail2": False, "detail3": False},
        {"encoder_blocks": 1, "decoder_blocks": 0, "transformer": False, "detail3": False},
    ],
)
def test_every_dial_gives_a_network_that_folds_and_exports(dials):
    shape = Shape(**{"width": 16, "context_dim": 16, **dials})
    generator = fresh_generator(shape, seed=0).eval()
    with torch.no_grad():
        for value in generator.parameters():
            value.add_(
                torch.randn(value.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1
            )
        student = specialized(generator, tiny_context(), size_px=64)
        expected = generator(image(64), tiny_context()[None])
        program = torch.export.export(student, (image(64),)).module()

        assert (program(image(64)) - expected).abs().max() < 1e-5
    assert Shape(**shape_facts(shape)) == shape
    assert len([m for m in generator.modules() if isinstance(m, Residual)]) == (
        shape.encoder_blocks + shape.decoder_blocks
    )


def test_each_dial_moves_the_cost_the_way_it_says():
    def gmac(**dials: object) -> float:
        network = fresh_generator(Shape(**dials), seed=0).eval().to("meta")
        return count_macs(network, image(256).to("meta"), CONTEXT[None].to("meta")) / 1e9

    usual = gmac()

    assert gmac(full=8) < usual < gmac(full=24)
    assert gmac(half=16) < usual < gmac(half=48)
    assert gmac(eighth=96) < usual < gmac(eighth=256)
    assert gmac(encoder_blocks=1) < usual < gmac(decoder_blocks=2)
    assert max(gmac(transformer=False), gmac(detail2=False), gmac(detail3=False)) < usual


@pytest.mark.parametrize(
    "dials", [{"width": 10}, {"eighth": 30}, {"full": 0}, {"encoder_blocks": -1}]
)
def test_dials_that_cannot_be_meant_are_refused(dials):
    with pytest.raises(ValueError, match="width"):
        Shape(**dials)
