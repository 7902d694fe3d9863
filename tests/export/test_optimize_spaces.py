"""Files by layer in other formats: smaller, as exact as PyTorch says, better than to nearest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import needs
from tests.export.programs import write_student

from edgekit.export.optimize.judge import Judge
from edgekit.export.optimize.layers import with_weights
from edgekit.export.optimize.plan import GRIDS, LAYERS, Plan
from edgekit.export.optimize.prepare import prepared
from edgekit.export.optimize.samples import samples_of
from edgekit.export.optimize.space import space_of
from edgekit.export.parity import psnr_db
from edgekit.export.program import load_program, read_student, reference_outputs, run
from edgekit.export.rows import Workplace
from edgekit.runtime.sessions import open_session

STORED = {"tflite": "w8", "mlpackage": "p4"}
"""Format -> a choice that changes weights alone."""


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    return write_student(tmp_path_factory.mktemp("spaces") / "student")


@pytest.fixture(scope="module")
def litert(student, tmp_path_factory) -> Workplace:
    return place_for(student, "tflite", tmp_path_factory.mktemp("litert"))


def place_for(student: Path, form: str, folder: Path) -> Workplace:
    source = read_student(student)
    feeds = samples_of(source).heldout
    program = prepared(load_program(source))
    references = reference_outputs(source, feeds)
    return Workplace(source, program, form, folder, folder, open_session, feeds, references)


@pytest.mark.parametrize(
    "form", ["tflite", "mlpackage", pytest.param("openvino", marks=needs.OPENVINO)]
)
def test_a_file_by_layer_is_small_and_what_pytorch_expects(form, student, litert, tmp_path):
    place = litert if form == "tflite" else place_for(student, form, tmp_path)
    space = space_of(place, samples_of(place.student).calibration)
    judge = Judge(place, False, place.sources().made("fp32"))
    choice = STORED.get(form, "i8")
    plan = Plan(LAYERS, {layer.name: choice for layer in space.layers})
    path = tmp_path / f"made.{form}"

    words = space.write(plan, path)
    found = judge.measure(path)

    assert len(space.layers) >= 10
    assert "GPTQ" in words
    assert found.bytes < judge.measure(judge.float_file).bytes
    weights = {x.weight: space.rounding.rounded(x, GRIDS[choice]).weight for x in space.layers}
    with with_weights(place.program, weights):
        made = [run(place.program, feed)["image_out"] for feed in place.feeds]
    pairs = zip(place.references, made, strict=True)
    expected = np.mean([psnr_db(one["image_out"], two) for one, two in pairs])
    if form in STORED:
        assert abs(found.db - expected) < 1
    else:
        assert 20 < found.db <= expected + 1


def test_computed_in_int8_and_stored_in_it_are_two_things_in_a_litert_file(litert, tmp_path):
    place = litert
    space = space_of(place, samples_of(place.student).calibration)
    judge = Judge(place, False, place.sources().made("fp32"))
    scores, sizes = {}, {}

    for choice, how in (("d8", "gptq"), ("w8", "gptq"), ("w8", "nearest"), ("half", "gptq")):
        path = tmp_path / f"{choice}-{how}.tflite"
        plan = Plan(LAYERS, {x.name: choice for x in space.layers}, {"rounding": how})
        space.write(plan, path)
        measured = judge.measure(path)
        scores[choice, how], sizes[choice, how] = measured.db, measured.bytes

    assert scores["half", "gptq"] > scores["w8", "gptq"] > scores["d8", "gptq"]
    assert scores["w8", "gptq"] > scores["w8", "nearest"]
    assert sizes["w8", "gptq"] == sizes["w8", "nearest"] < sizes["half", "gptq"]
