"""Words to planes to a field: shapes, the sphere before training, the two programs on disk."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.distill.mesh.generator import (
    MeshNetwork,
    coordinate_planes,
    features_at,
    fresh_generator,
    lattice_points,
)
from edgekit.distill.mesh.shape import TOY, MeshShape
from edgekit.distill.mesh.student import Prompts, read_generator, write_generator
from edgekit.distill.mesh.words import split_prompt, tokens, vocabulary
from edgekit.distill.program import StudentFacts
from edgekit.runtime.mesh.words import read_words
from edgekit.runtime.mesh.words import split_prompt as runtime_split

TRAIN = ("a red cone", "a blue cone with a hat", "a red ball")
UNSEEN = ("a blue ball",)
PROMPTS = Prompts(train=TRAIN, unseen=UNSEEN, words=vocabulary(TRAIN))
SHAPE = replace(TOY, cells=8, points=256)


def generator(seed: int = 0):
    return fresh_generator(SHAPE, len(PROMPTS.words), seed=seed)


def planes(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 6, 5, 5, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An untrained student folder; not to be changed."""
    place = tmp_path_factory.mktemp("mesh")
    write_generator(place, generator(), PROMPTS, StudentFacts(name="toys", recipe_sha256="0"))
    return place


def test_features_are_the_sum_of_three_planes_with_rows_along_the_first_axis():
    held = planes()
    corners = lattice_points(4)

    found = features_at(held, corners.expand(2, -1, -1)).reshape(2, 5, 5, 5, 2)

    xy, xz, yz = held.reshape(2, 3, 2, 5, 5).permute(1, 0, 3, 4, 2)
    for i, j, k in ((0, 0, 0), (4, 1, 2), (3, 0, 4)):
        assert torch.allclose(found[:, i, j, k], xy[:, i, j] + xz[:, i, k] + yz[:, j, k], atol=1e-5)


def test_points_between_and_beyond_the_corners_are_interpolated_and_clamped():
    held = torch.zeros(1, 3, 3, 3)
    held[0, 0] = torch.tensor([[0.0, 1.0, 2.0], [10.0, 11.0, 12.0], [20.0, 21.0, 22.0]])
    points = torch.tensor([[[-0.5, 0.25, 0.9], [1.7, -3.0, 0.0]]])

    assert features_at(held, points)[0, :, 0].tolist() == pytest.approx([6.25, 20.0])


def test_the_constant_planes_sum_to_where_a_point_is():
    held = coordinate_planes(32).reshape(1, 12, 32, 32)
    points = torch.rand(1, 500, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1

    found = features_at(held, points)

    assert (found[..., 1:] - points).abs().max() < 1e-5
    assert 0 <= (found[..., 0] - points.square().sum(-1)).max() < 0.0032


@pytest.mark.parametrize("shape", [SHAPE, replace(TOY, tokens=8, plane_px=8), MeshShape()])
def test_every_prompt_starts_as_nearly_the_same_sphere(shape):
    network = fresh_generator(shape, len(PROMPTS.words), seed=1)
    words = tokens(TRAIN, PROMPTS.words, shape.length)
    points = lattice_points(12).expand(3, -1, -1)

    with torch.no_grad():
        field = network.field(network.codes(words), points)

    away = points.norm(dim=-1)
    assert isinstance(network, MeshNetwork)
    assert (field.sdf[away > 0.7] > 0).all()
    assert (field.sdf[away < 0.3] < 0).all()
    assert (field.colors - 0.5).abs().max() < 0.3
    assert field.deformation.abs().max() < 0.3


def test_a_lattice_is_read_like_its_points_and_distances_like_the_whole_field():
    network = generator()
    codes = network.codes(tokens(TRAIN, PROMPTS.words, SHAPE.length))
    points = lattice_points(9).expand(3, -1, -1)

    slow, fast = network.field(codes, points), network.on_lattice(codes, 9)

    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(slow, fast, strict=True))
    assert torch.allclose(network.distance(codes, points), slow.sdf, atol=1e-6)


def test_what_a_prompt_says_and_in_which_order_changes_its_planes():
    network = generator()
    said = ["a red cone", "a blue cone", "cone red a", "a red cone"]

    one, other, turned, same = network.codes(tokens(said, PROMPTS.words, SHAPE.length))

    assert not torch.allclose(one, other, atol=1e-4)
    assert not torch.allclose(one, turned, atol=1e-4)
    assert torch.equal(one, same)


def test_prompts_are_read_as_the_runtime_reads_them(folder):
    told = "A Red-striped CONE,  with 2 hats_and (a) ring! naïve"
    words = read_words(folder / "words.safetensors")

    ours = generator().table(tokens(["a red, BLUE cone"], PROMPTS.words, SHAPE.length))

    assert split_prompt(told) == runtime_split(told)
    assert np.array_equal(words.text("a red, BLUE cone"), ours[0].detach().numpy())


@pytest.mark.parametrize(
    ("prompt", "said"), [("", "no word of ''"), ("green", "no word"), ("a " * 9, "9 words")]
)
def test_a_prompt_that_cannot_be_read_is_refused(prompt, said):
    with pytest.raises(EdgekitError, match=said):
        tokens([prompt], PROMPTS.words, SHAPE.length)


@pytest.mark.parametrize(
    "wrong",
    [{"plane_px": 12}, {"heads": 5}, {"channels": 4}, {"layers": 0}, {"deform": 1.0}, {"cells": 2}],
)
def test_a_shape_that_cannot_be_built_is_refused(wrong):
    with pytest.raises(ValueError, match=r"."):
        replace(TOY, **wrong)


def test_the_programs_on_disk_are_the_two_halves_of_the_generator(folder):
    network = generator()
    words = tokens(UNSEEN, PROMPTS.words, SHAPE.length)
    made = torch.export.load(folder / "student.pt2").module()
    field = torch.export.load(folder / "field/student.pt2").module()
    points = torch.rand(1, SHAPE.points, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1

    with torch.no_grad():
        found = made(network.table(words))
        values = field(features_at(found, points))
        wanted = network.field(network.codes(words), points)

    assert torch.allclose(values[..., 0], wanted.sdf, atol=1e-5)
    assert torch.allclose(values[..., 1:4], wanted.deformation, atol=1e-5)
    assert torch.allclose(values[..., 4:], wanted.colors, atol=1e-5)


def test_the_folder_says_all_that_a_runtime_without_torch_needs(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    part = json.loads((folder / "field/manifest.json").read_text())
    table = load_file(folder / "words.safetensors")["table"]

    ports = [port["shape"] for port in (*manifest["inputs"], *manifest["outputs"])]
    assert (manifest["form"], part["form"]) == ("mesh", "field")
    assert manifest["parts"] == {"field": "field"}
    assert manifest["assets"] == {"words": "words.safetensors"}
    assert manifest["lattice"] == {"cells": 8, "deform": 0.6}
    assert manifest["prompts"] == {"train": list(TRAIN), "unseen": list(UNSEEN)}
    assert ports == [[1, 8, 16], [1, 36, 16, 16]]
    assert [(port["low"], port["high"]) for port in manifest["outputs"]] == [(-1.0, 1.0)]
    assert [port["shape"] for port in part["inputs"] + part["outputs"]] == [
        [1, 256, 12],
        [1, 256, 7],
    ]
    assert table.shape == (len(PROMPTS.words), 16)
    assert np.load(folder / "heldout.npz")["text"].shape == (1, 8, 16)
    assert np.load(folder / "field/calibration.npz")["features"].shape == (3, 256, 12)


def test_a_generator_is_read_back(folder):
    network, prompts, manifest = read_generator(folder)
    words = tokens(TRAIN, prompts.words, SHAPE.length)

    assert prompts == PROMPTS
    assert manifest["mesh_shape"]["cells"] == 8
    assert torch.equal(network.codes(words), generator().codes(words))


def test_a_changed_folder_is_refused(tmp_path):
    facts = StudentFacts(name="toys", recipe_sha256="0")
    write_generator(tmp_path, generator(), PROMPTS, facts)
    stored = load_file(tmp_path / "weights.safetensors")
    save_file(
        {**stored, "head.last.bias": stored["head.last.bias"] + 1}, tmp_path / "weights.safetensors"
    )

    with pytest.raises(BadInput, match="sha256"):
        read_generator(tmp_path)
