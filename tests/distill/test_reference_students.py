"""The generators of the papers: their published sizes, and that they can be trained and shipped."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgekit.distill.lora import attach
from edgekit.distill.students.cost import count_macs, count_parameters
from edgekit.distill.students.e2gan import (
    PAPER_CONTEXT_DIM,
    PAPER_TOKENS,
    PUBLISHED_ADAPTER,
    PUBLISHED_GMAC,
    PUBLISHED_MILLIONS,
    E2GANShape,
    fresh_e2gan,
    specialized_e2gan,
)
from edgekit.distill.students.resnet9 import fresh_resnet9
from edgekit.distill.students.slim_resnet9 import EDGES2SHOES, HORSE2ZEBRA, fresh_slim_resnet9
from edgekit.distill.students.spread import Doubling

TINY = E2GANShape(width=8, context_dim=16, heads=4)


def image(size_px: int, count: int = 1, *, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size_px, size_px, generator=random) * 2 - 1


def context(*, seed: int = 0) -> Tensor:
    return torch.randn(8, 16, generator=torch.Generator().manual_seed(seed))


def counted(network: nn.Module, *inputs: Tensor, by_output: bool = False) -> float:
    """GMAC without computing anything."""
    meta = [value.to("meta") for value in inputs]
    return count_macs(network.eval().to("meta"), *meta, spread_by_output=by_output) / 1e9


def test_the_papers_generator_has_the_size_of_the_reconstruction():
    shape = E2GANShape(context_dim=PAPER_CONTEXT_DIM, transposed=True)
    network = fresh_e2gan(shape, seed=0)
    text = torch.zeros(1, PAPER_TOKENS, PAPER_CONTEXT_DIM)

    gmac = counted(network, image(256), text)

    assert gmac == pytest.approx(PUBLISHED_GMAC, abs=0.01)
    assert count_parameters(network) / 1e6 == pytest.approx(PUBLISHED_MILLIONS, abs=0.005)


def test_upsampling_that_adapters_can_change_has_the_same_weights_and_more_products():
    shapes = [E2GANShape(context_dim=768, transposed=transposed) for transposed in (True, False)]
    one, other = (fresh_e2gan(shape, seed=0) for shape in shapes)
    text = torch.zeros(1, PAPER_TOKENS, PAPER_CONTEXT_DIM)

    assert count_parameters(one) == count_parameters(other)
    # Counted by output positions, a transposed convolution costs what repeat and convolve does.
    assert counted(other, image(256), text) == counted(one, image(256), text, by_output=True)


def test_rank_four_on_the_adapted_layers_is_the_papers_number_of_weights():
    network = fresh_e2gan(seed=0, context_dim=PAPER_CONTEXT_DIM)
    layers = [
        layer
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and name.split(".")[0] in network.adapter_groups
    ]

    weights = sum(4 * (layer.weight.shape[0] + layer.weight[0].numel()) for layer in layers)
    attach(network, rank=4, seed=0)

    assert weights == PUBLISHED_ADAPTER
    # The first layer has three inputs and the last three outputs: edgekit gives them rank 3.
    assert count_parameters(network, trainable_only=True) == weights - (147 + 64) - (3136 + 3)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_folded_text_changes_nothing(transposed):
    shape = E2GANShape(width=8, context_dim=16, heads=4, transposed=transposed)
    network = fresh_e2gan(shape, seed=0).eval()
    photos = image(32, 2)

    with torch.no_grad():
        first = network(photos, context().expand(2, -1, -1))
        student = specialized_e2gan(network, context())
        other = network(photos, context(seed=1).expand(2, -1, -1))

        assert (first - student(photos)).abs().max() < 1e-6
    assert not torch.equal(first, other)
    assert [p.name for p in torch.export.export(student, (image(32),)).graph.nodes][-1] == "output"


def test_a_gradient_reaches_every_weight_of_the_papers_generator():
    network = fresh_e2gan(TINY, seed=0)

    network.painted(image(32, 2), context().expand(2, -1, -1)).square().mean().backward()

    assert not [name for name, value in network.named_parameters() if value.grad is None]


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    one, slim = fresh_e2gan(TINY, seed=3), fresh_slim_resnet9(HORSE2ZEBRA, seed=3)
    torch.manual_seed(2)
    again, slim_again = fresh_e2gan(TINY, seed=3), fresh_slim_resnet9(HORSE2ZEBRA, seed=3)

    for first, second in ((one, again), (slim, slim_again)):
        for a, b in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("widths", "gmac", "millions"), [(EDGES2SHOES, 4.99, 0.822), (HORSE2ZEBRA, 2.55, 0.357)]
)
def test_the_compressed_baseline_has_the_published_size(widths, gmac, millions):
    network = fresh_slim_resnet9(widths, seed=0)

    # Within 1.3 %: theirs counts instance norms, ours has the weights of batch norms.
    assert counted(network, image(256), by_output=True) == pytest.approx(gmac, rel=0.013)
    assert count_parameters(network) / 1e6 == pytest.approx(millions, rel=0.013)


def test_counted_by_output_positions_the_baseline_costs_what_pix2pix_is_said_to():
    assert counted(fresh_resnet9(seed=0), image(256), by_output=True) == pytest.approx(
        56.8, abs=0.05
    )


def test_doubling_is_the_usual_transposed_convolution():
    ours = Doubling(4, 3)
    usual = nn.ConvTranspose2d(4, 3, 3, 2, padding=1, output_padding=1, bias=False)
    usual.load_state_dict(ours.state_dict())
    features = torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0))

    assert torch.allclose(ours(features), usual(features), atol=1e-6)
    assert ours(features).shape == (2, 3, 10, 14)


def test_the_compressed_baseline_edits_and_learns():
    network = fresh_slim_resnet9(HORSE2ZEBRA, seed=0)

    made = network.painted(image(32, 2))
    made.square().mean().backward()

    assert made.shape == (2, 3, 32, 32)
    assert not [name for name, value in network.named_parameters() if value.grad is None]


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of 8"):
        E2GANShape(width=7)
