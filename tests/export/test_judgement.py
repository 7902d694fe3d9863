"""What the gate sees beyond photos: extremes, rounding's own cost, and the weights of a file."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.export.programs import Network, trained, write_student

from edgekit.core.seams import Port
from edgekit.export.adversarial import KINDS, adversarial_feeds
from edgekit.export.judgement import judged
from edgekit.export.program import heldout_feeds, load_program, read_student, reference_outputs
from edgekit.export.rounding_floor import rounded_db
from edgekit.export.rows import Workplace
from edgekit.export.stored_weights import first_wrong_weight, stored_weights
from edgekit.runtime.sessions import open_session

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    student = read_student(write_student(folder / "student", trained(Network(), seed=1)))
    feeds = heldout_feeds(student, limit=3)
    return Workplace(
        student,
        load_program(student),
        "onnx",
        folder,
        folder,
        open_session,
        feeds,
        reference_outputs(student, feeds),
    )


def test_every_kind_of_extreme_is_fed_to_every_port():
    ports = (Port("image", (1, 3, 4, 4)), Port("style", (1, 5), layout="flat"))
    samples = [np.linspace(-1, 1, 5)[None], np.linspace(-3, 7, 5)[None]]
    calibration = [{"image": np.zeros((1, 3, 4, 4)), "style": sample} for sample in samples]

    black, white, noise, hot = adversarial_feeds(ports, calibration)

    assert len(KINDS) == 4
    assert (black["image"] == -1).all()
    assert (white["image"] == 1).all()
    assert (hot["image"] == 1).sum() == 3  # one pixel of three colours
    assert 0.4 < noise["image"].std() < 0.7
    assert (black["style"] == 0).all()
    np.testing.assert_allclose(white["style"], samples[1])
    np.testing.assert_allclose(hot["style"], -samples[1])
    assert 1 < np.abs(noise["style"]).max() < 20


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_right_file_passes_and_its_extremes_are_in_the_report(place, precision):
    verdict = judged(place, place.sources().made(precision), precision)

    assert verdict.reason == ""
    assert set(verdict.parity.entry().adversarial_db) == set(KINDS)


def test_rounding_alone_costs_more_in_8_bits_than_in_16(place):
    half, eight = (min(rounded_db(place.program, place.feeds, p)) for p in ("fp16", "int8"))

    assert half > 60
    assert 30 < eight < half - 15


def test_a_file_that_is_only_wrong_on_white_does_not_ship(place):
    class Saturated:
        """Right on photos; never brighter than a gray, as with ranges measured in the dark."""

        inputs, outputs = place.program.inputs, place.program.outputs

        def __init__(self):
            self.session = open_session(place.sources().made("fp32"))

        def run(self, feeds):
            if feeds["image"].min() < 1:
                return self.session.run(feeds)
            return {"image_out": np.zeros((1, 3, 32, 32), np.float32)}

    from dataclasses import replace

    dark = replace(place, open_session=lambda path: Saturated())

    verdict = judged(dark, place.sources().made("fp16"), "fp16")

    assert verdict.reason.startswith("on white:")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_weight_too_large_by_a_twentieth_is_found_where_it_is_stored(place, precision, tmp_path):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from fault_kinds import onnx_scale, onnx_weight, scaled

    path = tmp_path / "wrong.onnx"
    path.write_bytes(place.sources().made(precision).read_bytes())
    if precision == "fp16":
        onnx_weight("residual2_1_0.weight", scaled(1.05))(path)
    else:
        onnx_scale("residual2_1_0.weight", 1.05, weights=True)(path)

    verdict = judged(place, path, precision)

    assert verdict.broken
    assert "1.05" in verdict.reason or "dB" in verdict.reason
    assert verdict.layer == "residual2.1.0 (weight)"


def test_weights_in_another_order_are_not_the_same():
    right = {"a": np.random.default_rng(0).normal(size=(8, 4, 3, 3)).astype(np.float32)}
    swapped = {"b": right["a"][[1, 0, 2, 3, 4, 5, 6, 7]]}

    assert first_wrong_weight(right, {"b": right["a"] * 1.001}, "int8") is None
    assert first_wrong_weight(right, swapped, "int8")[0] == "a"
    assert first_wrong_weight(right, {"b": right["a"] * 1.05}, "int8")[1].startswith("is 1.05")


def test_small_weights_of_every_format_are_read_back(place):
    from dataclasses import replace

    for form in ("onnx", "tflite", "mlpackage"):
        there = replace(place, form=form)
        right = stored_weights(form, there.sources().made("fp32"))
        small = stored_weights(form, there.sources().made("int8"))

        assert sum(value.ndim > 1 for value in right.values()) >= 10
        assert first_wrong_weight(right, small, "int8") is None, form


def test_a_few_of_the_fifty_faults_are_caught_and_no_right_file_is_refused(tmp_path):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from fault_list import FAULTS
    from faults import counts, run

    names = {
        "weight x1.05: middle",
        "scale x1.05: key",
        "bias dropped: late",
        "padding on one side: stem",
        "inputs swapped",
        "epsilon 1e-3 of an instance norm",
        "corners aligned",
        "an activation's range cut to half",
    }
    few = [f for f in FAULTS if f.name in names and f.form == "onnx" and f.student == "restorer"]

    torch.manual_seed(0)
    caught, faults, refused, _ = counts(run(few, tmp_path, None))

    assert faults == len(names)
    assert caught == faults
    assert refused == 0
    assert len(FAULTS) == 50
