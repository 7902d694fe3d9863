"""The generator of meshes that ships with this version."""

import pytest

from edgekit.core.assets import asset_folder
from edgekit.core.store import size_bytes
from edgekit.distill.mesh.words import tokens, vocabulary
from edgekit.distill.ship import MOST_BYTES
from edgekit.distill.shipped import Shipped, read_shipped
from edgekit.distill.teachers.views.world import prompts, split


@pytest.fixture(scope="module")
def things() -> Shipped:
    return read_shipped(asset_folder("things"))


def test_its_card_tells_prompts_that_it_was_trained_on_from_those_it_was_not(things):
    train, unseen = split()

    told = things.card["prompts"]
    assert (told["train"], told["unseen"]) == (train, unseen)
    assert tuple(things.card["words"]) == vocabulary(prompts())


def test_it_is_as_small_as_it_says_and_names_device_seconds_and_data(things):
    training = things.card["training"]

    assert size_bytes(things.folder) <= MOST_BYTES["things"]
    assert training["device"]
    assert training["seconds"] > 0
    assert things.card["data"]["licences"]
    assert things.card["data"]["teacher"].startswith("views@")


def test_prompts_have_different_shapes_with_an_inside_and_an_outside(things):
    network, shape = things.network, things.network.shape

    inside = []
    for prompt in ("a yellow cube with a hat", "a red striped donut with wings"):
        codes = network.codes(tokens([prompt], things.card["words"], shape.length))
        inside.append(network.on_lattice(codes, 24).sdf.flatten() < 0)

    assert all(0.01 < float(one.float().mean()) < 0.5 for one in inside)
    shared = float((inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum())
    assert shared < 0.9
