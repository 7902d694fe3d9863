"""Concepts in numpy: files, the second input, blends, and bundles that are switched."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.core.concepts import Concept, read_concept, write_concept
from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.manifest import AdapterEntry, BlockEntry
from edgekit.runtime.adapters import blocks_of, input_vector
from edgekit.runtime.blend import blended

INPUTS, OUTPUTS, LAYERS = 18, 7, ("down1", "up2")
GROUPS = {"down1": "down", "up2": "up"}


def entry(capacity: int = 4) -> AdapterEntry:
    """Two layers with factors, one norm and one text constant."""
    blocks, offset = [], 0
    wanted = [("down1.gain", "norms", "", 1, OUTPUTS)]
    for layer in LAYERS:
        wanted.append((f"{layer}.A", "factors", GROUPS[layer], capacity, INPUTS))
        wanted.append((f"{layer}.B", "factors", GROUPS[layer], capacity, OUTPUTS))
    wanted.append(("keys", "text", "", 3, 5))
    for name, part, group, rows, columns in wanted:
        blocks.append(
            BlockEntry(
                name=name,
                part=part,
                group=group,
                offset=offset,
                rows=rows,
                most=min(rows, 7),
                columns=columns,
            )
        )
        offset += rows * columns
    return AdapterEntry(
        port="adapter",
        length=offset,
        base_sha256="a" * 64,
        layout_sha256="b" * 64,
        capacity={"down": capacity, "up": capacity},
        blocks=tuple(blocks),
    )


def concept(seed: int = 0, *, down: int = 2, up: int = 3) -> Concept:
    random = np.random.default_rng(seed)
    factors = (down + up) * (INPUTS + OUTPUTS)
    values = (random.standard_normal(n).astype(np.float32) for n in (OUTPUTS, factors, 15))
    return Concept(f"concept {seed}", {"down": down, "up": up}, "a" * 64, "b" * 64, *values)


def change(vector: np.ndarray, layer: str, described: AdapterEntry) -> np.ndarray:
    """What a vector adds to the weights of a layer: B @ A."""
    blocks = {block.name: block for block in described.blocks}
    down, up = (
        vector[0, b.offset : b.offset + b.rows * b.columns].reshape(b.rows, b.columns)
        for b in (blocks[f"{layer}.A"], blocks[f"{layer}.B"])
    )
    return up.T.astype(np.float64) @ down


def constant(vector: np.ndarray, name: str, described: AdapterEntry) -> np.ndarray:
    block = next(block for block in described.blocks if block.name == name)
    return vector[0, block.offset : block.offset + block.rows * block.columns]


def test_a_concept_survives_its_file_up_to_the_rounding_of_each_part(tmp_path):
    made = concept()

    write_concept(tmp_path / "c.safetensors", made)

    found = read_concept(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(found.norms, made.norms)
    np.testing.assert_array_equal(found.factors, made.factors.astype(np.float16))
    np.testing.assert_array_equal(found.text, made.text.astype(np.float16))
    assert (found.prompt, found.ranks) == (made.prompt, made.ranks)
    assert (found.base_sha256, found.layout_sha256) == (made.base_sha256, made.layout_sha256)


def test_the_file_is_a_safetensors_file_like_any_other(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    write_concept(tmp_path / "c.safetensors", concept())

    found = safetensors.load_file(tmp_path / "c.safetensors")

    assert {name: value.dtype.name for name, value in found.items()} == {
        "norms": "float32",
        "factors": "float16",
        "text": "float16",
    }


@pytest.mark.parametrize("harm", ["cut", "empty", "other", "huge header", "nan", "missing"])
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, harm):
    file = tmp_path / "c.safetensors"
    made = concept()
    if harm == "nan":
        made = replace(made, norms=np.full_like(made.norms, np.nan))
    write_concept(file, made)
    content = file.read_bytes()
    if harm == "missing":
        file.unlink()
    elif harm != "nan":
        file.write_bytes(
            {
                "cut": content[:-9],
                "empty": b"",
                "other": b"PK" + content[2:],
                "huge header": b"\xff" * 8 + content[8:],
            }[harm]
        )

    with pytest.raises(BadInput, match=r"c\.safetensors"):
        read_concept(file)


def test_a_smaller_rank_leaves_zeros_and_loses_nothing():
    described = entry(capacity=4)

    vector = input_vector(concept(down=2, up=3), described)

    for layer, rank in (("down1", 2), ("up2", 3)):
        held = {b.name: v for b, v in blocks_of(concept(down=2, up=3), described)}
        assert held[f"{layer}.A"].shape == (rank, INPUTS)
        wanted = held[f"{layer}.B"].T.astype(np.float64) @ held[f"{layer}.A"]
        np.testing.assert_array_equal(change(vector, layer, described), wanted)


def test_a_larger_rank_is_refused_with_the_capacity_that_would_do():
    with pytest.raises(BadInput, match="rank 6 in up, this base has room for 4") as caught:
        input_vector(concept(up=6), entry(capacity=4), name="snow")

    assert "--capacity down=4,up=6" in caught.value.hint


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        ({"base_sha256": "c" * 64}, "belongs to base cccccccccccc, this one is aaaaaaaaaaaa"),
        ({"layout_sha256": "c" * 64}, "in another order"),
        ({"ranks": {"down": 1, "up": 3}}, "values of factors, expected"),
    ],
)
def test_a_concept_that_does_not_fit_is_refused(harm, cause):
    with pytest.raises(BadInput, match=cause) as caught:
        input_vector(replace(concept(), **harm), entry())

    assert caught.value.exit_code == 4


def test_a_blend_of_one_concept_is_that_concept():
    blend = blended([(concept(), 1.0)], entry())

    np.testing.assert_allclose(blend.vector, input_vector(concept(), entry()), atol=1e-7)
    assert (blend.lost, blend.worst_layer) == (0.0, "")


@settings(max_examples=25, deadline=None)
@given(
    weights=st.lists(st.floats(0.05, 2), min_size=1, max_size=3),
    ranks=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=3),
)
def test_where_the_ranks_fit_a_blend_adds_up_changes_exactly_and_averages_text(weights, ranks):
    described = entry(capacity=9)
    parts = [
        (concept(i, down=ranks[i][0], up=ranks[i][1]), weight) for i, weight in enumerate(weights)
    ]

    blend = blended(parts, described)

    single = [input_vector(part, described) for part, _ in parts]
    for layer in LAYERS:
        wanted = sum(
            w * change(one, layer, described) for w, one in zip(weights, single, strict=True)
        )
        np.testing.assert_allclose(change(blend.vector, layer, described), wanted, atol=1e-4)
    for name in ("down1.gain", "keys"):
        mean = np.average([constant(v, name, described) for v in single], axis=0, weights=weights)
        np.testing.assert_allclose(constant(blend.vector, name, described), mean, atol=1e-5)
    assert blend.lost == 0


def test_where_they_do_not_the_best_cut_is_taken_and_its_loss_is_told():
    described, roomy = entry(capacity=3), entry(capacity=9)
    parts = [(concept(1, down=1, up=3), 0.6), (concept(2, down=2, up=3), 0.4)]

    blend = blended(parts, described)

    whole, gone = 0.0, 0.0
    exact = blended(parts, roomy).vector
    for layer in LAYERS:
        wanted = change(exact, layer, roomy)
        sizes = np.linalg.svd(wanted, compute_uv=False)
        error = np.linalg.norm(wanted - change(blend.vector, layer, described))
        best = math.sqrt(float(np.sum(sizes[3:] ** 2)))
        assert error == pytest.approx(best, rel=1e-4, abs=1e-4)
        whole, gone = whole + float(np.sum(sizes**2)), gone + best**2
    assert blend.lost == pytest.approx(math.sqrt(gone / whole), rel=1e-3)
    assert blend.worst_layer == "up2"


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_that_means_nothing_is_a_usage_error(weight):
    with pytest.raises(EdgekitError, match="weight") as caught:
        blended([(concept(), weight)], entry())

    assert caught.value.exit_code == 2


def test_a_concept_of_another_base_is_not_blended():
    with pytest.raises(BadInput, match="belongs to base"):
        blended([(concept(), 1.0), (replace(concept(1), base_sha256="d" * 64), 1.0)], entry())
