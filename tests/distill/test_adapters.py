"""A base whose second input is a concept computes what the merged student computes."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.concepts import (
    SIZE,
    adapted,
    edit,
    image,
    merged_student,
    random_adapter,
    tiny_run,
)
from tests.students import tiny_base

from edgekit.core.concepts import read_concept, write_concept
from edgekit.core.errors import BadInput
from edgekit.core.store import read_json, write_json
from edgekit.distill.adapters import adapted_student
from edgekit.distill.adapters_base import write_base
from edgekit.distill.adapters_pack import concept_of_adapter, concept_of_run, concept_of_text
from edgekit.distill.base import load_base
from edgekit.distill.students.gan import Shape, fresh_generator
from edgekit.distill.students.text_context import text_context
from edgekit.runtime.adapters import input_vector
from edgekit.runtime.blend import blended

PROMPT = "make it night"
SEARCHED = {"down": 1, "ds": 4, "transformer": 0, "us": 2, "up": 6}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_base(tiny_base(tmp_path_factory.mktemp("base") / "tiny"))


@pytest.mark.parametrize(
    ("ranks", "capacity"),
    [(4, 4), (2, 8), (SEARCHED, 8), (SEARCHED, SEARCHED), (1, 2)],
    ids=["full", "padded", "searched", "searched, tight", "below the outputs"],
)
def test_a_concept_as_input_gives_the_merged_student(base, ranks, capacity, tmp_path):
    adapter = random_adapter(base, PROMPT, ranks=ranks)
    write_concept(tmp_path / "c.safetensors", concept_of_adapter(adapter, base))
    student, entry = adapted(base, capacity=capacity)
    vector = input_vector(read_concept(tmp_path / "c.safetensors"), entry)

    found = edit(student, image(), vector)

    wanted = edit(merged_student(base, adapter), image())
    plain = edit(base.generator, image(), text_context(PROMPT)[None].numpy())
    assert np.abs(found - wanted).max() <= 1e-4
    assert np.abs(plain - wanted).max() > 0.05  # the factors matter


def test_without_factors_it_is_the_bases_own_picture_of_the_words(base):
    adapter = random_adapter(base, PROMPT)
    untrained = dict(base.generator.named_parameters())  # biases of layers that see text alone
    zeros = {n: untrained.get(n, torch.zeros_like(v)) for n, v in adapter.factors.items()}
    concept = concept_of_adapter(replace(adapter, factors=zeros), base)
    student, entry = adapted(base)

    found = edit(student, image(), input_vector(concept, entry))

    plain = edit(base.generator, image(), text_context(PROMPT)[None].numpy())
    trained = edit(merged_student(base, adapter), image())
    assert np.abs(found - plain).max() <= 1e-4
    assert np.abs(found - trained).max() > 0.05


def test_words_that_the_base_knows_need_no_factors(base):
    concept = concept_of_text(PROMPT, base)
    student, entry = adapted(base)

    found = edit(student, image(), input_vector(concept, entry))

    plain = edit(base.generator, image(), text_context(PROMPT)[None].numpy())
    assert concept.factors.size == 0
    assert np.abs(found - plain).max() <= 1e-4


def test_another_concept_in_the_input_gives_the_other_picture(base):
    first, second = (random_adapter(base, PROMPT, seed=seed) for seed in (1, 2))
    student, entry = adapted(base)
    vectors = [input_vector(concept_of_adapter(a, base), entry) for a in (first, second)]

    found = [edit(student, image(), vector) for vector in vectors]

    wanted = [edit(merged_student(base, adapter), image()) for adapter in (first, second)]
    assert np.abs(wanted[0] - wanted[1]).max() > 0.05
    assert np.abs(found[0] - wanted[0]).max() <= 1e-4
    assert np.abs(found[1] - wanted[1]).max() <= 1e-4


def test_a_blend_that_fits_is_the_student_whose_every_weight_is_the_mean(base):
    adapters = [random_adapter(base, p, seed=s) for s, p in enumerate((PROMPT, "make it snowy"))]
    student, entry = adapted(base, capacity=8)
    concepts = [concept_of_adapter(adapter, base) for adapter in adapters]

    blend = blended(list(zip(concepts, (0.6, 0.4), strict=True)), entry)

    students = [merged_student(base, adapter) for adapter in adapters]
    mean = copy.deepcopy(students[0])
    for made, first, second in zip(*(_tensors(s) for s in (mean, *students)), strict=True):
        made.data.copy_(0.6 * first + 0.4 * second)
    assert blend.lost == 0
    assert np.abs(edit(student, image(), blend.vector) - edit(mean, image())).max() <= 1e-4


def _tensors(student):
    buffers = (value for value in student.buffers() if value.is_floating_point())
    return [*student.parameters(), *buffers]


def test_the_order_of_a_file_does_not_hang_on_capacity_or_size(base):
    layouts = [
        adapted_student(base.generator, size_px=size, capacity=capacity).layout
        for size, capacity in ((32, 1), (64, 8), (64, SEARCHED))
    ]

    assert layouts[0].length < layouts[1].length
    assert len({layout.sha256() for layout in layouts[:2]}) == 1


def test_a_base_without_attention_or_details_can_be_switched_too(base):
    shape = Shape(width=16, context_dim=128, transformer=False, detail2=False, detail3=False)
    other = replace(base, generator=fresh_generator(shape, seed=1).eval(), sha256="1" * 64)
    adapter = random_adapter(other, PROMPT)
    student, entry = adapted(other)

    found = edit(student, image(), input_vector(concept_of_adapter(adapter, other), entry))

    assert np.abs(found - edit(merged_student(other, adapter), image())).max() <= 1e-4


@pytest.mark.slow
def test_fifty_concepts_of_rank_4_on_the_shipped_base_are_below_100_kb_each(tmp_path):
    """The base that ships, fifty adapters with random factors: bytes do not depend on values."""
    shipped = load_base()
    sizes, contents = [], set()
    adapter = random_adapter(shipped, PROMPT)
    concept = concept_of_adapter(adapter, shipped)
    random = np.random.default_rng(0)
    for number in range(50):
        noise = 1 + 0.02 * random.standard_normal(concept.factors.size)
        file = tmp_path / f"{number}.safetensors"
        sizes.append(write_concept(file, replace(concept, factors=concept.factors * noise)))
        contents.add(file.read_bytes())

    assert len(contents) == 50
    assert max(sizes) <= 100_000


def test_an_adapter_of_another_base_is_not_packed(base, tmp_path):
    adapter = replace(random_adapter(base, PROMPT), base_sha256="f" * 64)

    with pytest.raises(BadInput, match="belongs to base ffffffffffff"):
        concept_of_adapter(adapter, base)


def test_a_run_whose_weights_were_all_trained_has_no_concept(tmp_path):
    folder = tiny_base(tmp_path / "base")
    run = tiny_run(tmp_path / "night", folder, PROMPT, seed=1)
    facts = read_json(run / "manifest.json")
    write_json(run / "manifest.json", {**facts, "adapter": None})

    with pytest.raises(BadInput, match="has no adapter"):
        concept_of_run(run, load_base(folder))


def test_the_base_is_written_once_and_holds_samples_with_every_value_in_use(tmp_path, base):
    folder = tmp_path / "base"

    facts = write_base(folder, base, size_px=SIZE, capacity=2)

    again = (folder / "student.pt2").stat().st_mtime_ns
    write_base(folder, base, size_px=SIZE, capacity=2)
    assert (folder / "student.pt2").stat().st_mtime_ns == again
    assert [port["name"] for port in facts["inputs"]] == ["image", "adapter"]
    with np.load(folder / "heldout.npz") as held:
        assert held["adapter"].shape == (8, facts["adapter_input"]["length"])
        assert (held["adapter"] != 0).any(0).mean() > 0.99
