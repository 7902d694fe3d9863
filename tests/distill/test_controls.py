"""Controls of the E2GAN experiment, small: what must fail or fall behind does so.

The shipped base learns an edit that it has never seen, from the exact operator and without a
teacher. Where the experiment found a wide gap, a wide gap is asked for here.
"""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from tests.students import smooth_photos

from edgekit.distill.base import load_base, untrained
from edgekit.distill.fit_gan import fit_gan
from edgekit.distill.fit_state import FitData, FitSettings
from edgekit.distill.lora import attach, ranks_of_layers
from edgekit.distill.metrics import as_photos, as_tensor
from edgekit.distill.students.text_context import text_context
from edgekit.distill.teachers.tasks import performed, plain_task
from edgekit.distill.teachers.vocabulary import BASE_CONCEPTS, edit_named

CONCEPT = "make it snowy"
STEPS = 40


@pytest.fixture(scope="module")
def data():
    sources = smooth_photos(20, 64)
    edit = plain_task(edit_named(CONCEPT).edits[0])
    edits = as_photos(performed(edit, (as_tensor(sources) + 1) / 2) * 2 - 1)
    return FitData(sources[:14], edits[:14], sources[14:], edits[14:])


@pytest.fixture(scope="module")
def learned(data, tmp_path_factory):
    """Return a function from a network to its validation L1 after a short training."""

    def run(network):
        settings = FitSettings(steps=STEPS, batch=4, lr=4e-3, perceptual=0.0, check_every=STEPS)
        folder = tmp_path_factory.mktemp("run")
        result = fit_gan(network, data, settings, folder=folder, context=text_context(CONCEPT))
        return result.scores["l1"]

    return run


@pytest.fixture(scope="module")
def base():
    assert CONCEPT not in BASE_CONCEPTS
    return load_base().generator


@pytest.fixture(scope="module")
def adapted(base, learned):
    return learned(attach(deepcopy(base), rank=4, seed=0))


def test_an_adapter_on_random_weights_fails_where_one_on_the_base_learns(base, learned, adapted):
    control = learned(attach(untrained(base, seed=0), rank=4, seed=0))

    assert adapted < 0.6 * control


def test_more_weights_in_few_groups_are_worth_less_than_some_in_all(base, learned, adapted):
    ranks = {"ds": 16, "us": 16}
    control = learned(attach(deepcopy(base), rank=ranks, seed=0))

    assert weights(base, ranks) > weights(base, 4)
    assert adapted < 0.9 * control


def weights(base, rank):
    """Return the number of weights of the factors of an adapter."""
    layers = dict(base.named_modules())
    return sum(
        value * (layers[name].weight[0].numel() + len(layers[name].weight))
        for name, value in ranks_of_layers(base, rank).items()
    )


def test_training_an_adapter_leaves_every_weight_of_the_base_as_it_was(base, learned):
    network = attach(deepcopy(base), rank=1, seed=0)
    before = {n: v.clone() for n, v in network.state_dict().items() if "lora_" not in n}

    learned(network)

    after = network.state_dict()
    moved = {n for n, v in before.items() if not torch.equal(v, after[n])}
    assert moved
    assert all(name.endswith("modulation.bias") for name in moved)
