"""Small weights and int8 activations in Core ML and Core AI, made and evaluated on this system."""

import json

import coremltools as ct
import numpy as np
import pytest
import torch
from tests.export.programs import write_student

from edgekit.core.errors import EdgekitError
from edgekit.export.mil.ranges import activation_ranges
from edgekit.export.mil.session import open_package
from edgekit.export.palette import nearest_values, palette
from edgekit.export.parity import measured
from edgekit.export.program import (
    calibration_feeds,
    heldout_feeds,
    load_program,
    read_student,
    reference_outputs,
)
from edgekit.export.quantize_coreml import compressed
from edgekit.export.targets import Options, Refused, Sources, coreml
from edgekit.export.weight_recipes import parsed, weights_named


class Bench:
    """One student, its float files on demand, and the score of any other file of it."""

    def __init__(self, folder, ios):
        self.student = read_student(write_student(folder / "student", styled=True))
        self.program = load_program(self.student)
        self.folder = folder
        self.feeds = heldout_feeds(self.student, limit=2)
        self.references = reference_outputs(self.student, self.feeds)
        calibration = calibration_feeds(self.student, limit=6)
        self.sources = Sources(self.made, lambda: calibration, Options(ios=ios))

    def made(self, precision):
        path = self.folder / f"{precision}.mlpackage"
        if not path.exists():
            self.convert(path, precision, "plain")
        return path

    def convert(self, path, precision, recipe):
        return coreml.convert(
            self.program, path, precision=precision, recipe=recipe, sources=self.sources
        )

    def score(self, recipe, precision="mixed"):
        path = self.folder / "tried.mlpackage"
        words = self.convert(path, precision, recipe)
        parity = measured(
            open_package(path),
            self.feeds,
            self.references,
            inputs=[(p, coreml.file_port(p, output=False).port()) for p in self.program.inputs],
            outputs=[(p, coreml.file_port(p, output=True).port()) for p in self.program.outputs],
        )
        return min(parity.psnr_db), coreml.weight_elements(path), words


@pytest.fixture(scope="module")
def ios18(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("ios18"), 18)


@pytest.mark.parametrize(
    ("recipe", "bar_db", "stored"),
    [
        ("linear-8", 40, "int8"),
        ("palette-8", 40, "uint8"),
        ("palette-6", 29, "uint6"),
        ("palette-4", 16, "uint4"),
        ("palette-4-group-8", 16, "uint4"),
        ("palette-3", 12, "uint3"),
        ("palette-2", 9, "uint2"),
        ("palette-1", 4, "uint1"),
        ("linear-4-block-16", 15, "int4"),
        ("w8a8", 33, "int8"),
    ],
)
def test_each_form_of_small_weights_is_read_back(ios18, recipe, bar_db, stored):
    psnr, held, _ = ios18.score(recipe)

    assert psnr > bar_db
    assert held[stored] / sum(held.values()) > 0.9


def test_more_bits_are_never_further_from_the_student(ios18):
    scores = [ios18.score(f"palette-{bits}")[0] for bits in (1, 2, 4, 6, 8)]

    assert scores == sorted(scores)
    assert scores[-1] - scores[0] > 25


def test_each_layer_has_its_own_choice(ios18):
    recipe = {
        "weights": "palette-4",
        "layers": {"up2.0": "float16", "residual1.0.0": "linear-8"},
        "activations": "int8",
        "float_activations": ["up2.0"],
    }

    psnr, held, words = ios18.score(json.dumps(recipe))

    assert psnr > 15
    assert held["int8"] == 32 * 32 * 9
    assert held["float16"] >= 16 * 16 * 9
    assert "residual1.0.0: int8 weights per channel" in words
    assert "float16 around up2.0" in words


def test_a_layer_that_is_not_there_is_named(ios18):
    with pytest.raises(EdgekitError, match="no layer residual9"):
        ios18.score('{"weights": "float16", "layers": {"residual9": "linear-8"}}')


def test_a_recipe_that_an_older_ios_cannot_read_is_refused(tmp_path):
    old = Bench(tmp_path, 16)

    with pytest.raises(Refused, match="needs iOS 17"):
        old.score("w8a8")
    with pytest.raises(Refused, match="twice as large"):
        old.score("palette-4-scaled")
    with pytest.raises(Refused, match="needs iOS 18"):
        old.score("palette-4-group-8")


@pytest.mark.parametrize("name", ["palette-5", "linear-6", "linear-4-group-8", "palette-4-group-0"])
def test_weights_that_no_format_has_are_unknown(name):
    with pytest.raises(EdgekitError, match="unknown weights"):
        weights_named(name)


def test_a_misspelt_key_of_a_recipe_names_the_choices():
    with pytest.raises(EdgekitError, match="has no layer") as caught:
        parsed('{"layer": {}}')

    assert "layers" in caught.value.hint


def test_ranges_are_those_of_all_samples_not_of_the_last(ios18):
    quiet = {
        "image": np.full((1, 32, 32, 3), 127, np.uint8),
        "style": np.zeros((1, 12), np.float32),
    }
    loud = {"image": np.full((1, 32, 32, 3), 255, np.uint8), "style": np.ones((1, 12), np.float32)}
    source = ios18.made("fp16")

    found = activation_ranges(source, [loud, quiet])

    alone = activation_ranges(source, [loud])
    assert found["image"] == (127.0, 255.0)
    wider = [name for name in alone if found[name][1] >= alone[name][1]]
    assert len(wider) == len(alone)


def test_a_palette_of_one_dimension_is_no_worse_than_scikit_learns():
    from sklearn.cluster import KMeans

    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(size=900), random.normal(3, 0.1, 300)]).astype("float32")

    for bits in (1, 2, 4, 6):
        entries = palette(values, bits)
        error = np.sum((entries[nearest_values(values, entries)] - values) ** 2)
        theirs = KMeans(2**bits, n_init=2, random_state=0).fit(values[:, None]).inertia_

        assert len(entries) == 2**bits
        assert error <= theirs * 1.02


def test_a_constant_that_is_put_beside_a_result_is_no_weight_and_stays_exact(tmp_path):
    class Beside(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 16, 5, padding=2)
            self.register_buffer("ramp", torch.linspace(-1, 1, 1024).reshape(1, 4, 16, 16))

        def forward(self, image):
            return torch.cat([self.ramp, self.layer(image)], 1)

    example = torch.export.export(Beside().eval(), (torch.zeros(1, 3, 16, 16),))
    plain = ct.convert(
        example.run_decompositions({}),
        minimum_deployment_target=ct.target.iOS16,
        skip_model_load=True,
    )
    plain.save(str(tmp_path / "plain.mlpackage"))

    made = compressed(
        tmp_path / "plain.mlpackage", parsed("palette-8"), constants={}, statistics={}
    )

    made.save(str(tmp_path / "made.mlpackage"))
    stored = coreml.weight_elements(tmp_path / "made.mlpackage")
    assert stored == {"uint8": 1200, "float16": 1024 + 256}  # 256: the palette
