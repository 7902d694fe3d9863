"""The search end to end on a toy student: front, limits, resuming, the bundle, fine-tuning."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests import needs
from tests.export.programs import write_student

from edgekit.cli.main import run as command
from edgekit.core.errors import BadInput, QualityFailed
from edgekit.export.optimize.fine_tune import fine_tuned
from edgekit.export.optimize.front import Limits, Row, chosen, front, nearest, warnings_about
from edgekit.export.optimize.handover import into_bundle
from edgekit.export.optimize.judge import Measured
from edgekit.export.optimize.plan import LAYERS, Plan
from edgekit.export.optimize.run import missed_all, optimize
from edgekit.export.optimize.samples import samples_of
from edgekit.export.program import read_student
from edgekit.runtime.sessions import open_session
from edgekit.runtime.verify import verify_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("search") / "student")


def searched(student: Path, folder: Path, *, trials: int, limits: Limits | None = None):
    return optimize(
        student,
        "onnx",
        folder,
        open_session=open_session,
        budget_s=600,
        limits=limits or Limits(min_db=30),
        trials=trials,
    )


@pytest.fixture(scope="module")
def found(student, tmp_path_factory):
    return searched(student, tmp_path_factory.mktemp("found") / "onnx", trials=9)


def row(number: int, size: int, db: float, speed: float, back_end: str = LAYERS) -> Row:
    measured = Measured(size, db, db - 1, None, 10 / speed, 10.0)
    return Row(number, Plan(back_end, {"a": str(number)}), "", measured, 1.0)


def test_a_search_measures_saves_and_draws_its_front(found):
    saved = json.loads((found.folder / "front.json").read_text())

    assert len(saved["rows"]) == 9
    assert [entry["back_end"] for entry in saved["rows"]][:2] == ["fp32", "fp16"]
    assert saved["chosen"] == found.best.number
    assert found.file.is_file()
    assert found.best.measured.worst_db >= 30
    assert saved["samples"]["calibration"] == 6
    for entry in saved["rows"]:
        assert entry["measured"]["bytes"] > 0
        assert entry["measured"]["ms"] > 0
    numbers = {entry["number"] for entry in saved["rows"]}
    assert set(saved["front"]) <= numbers
    drawn = (found.folder / "front.svg").read_text()
    assert drawn.startswith("<svg")
    assert "chosen" in drawn


def test_every_layer_was_measured_alone(found):
    alone = json.loads((found.folder / "sensitivity.json").read_text())["mean_squared_error"]

    assert len(alone) >= 10
    for choices in alone.values():
        assert choices["w8"] < choices["w4"]


def test_a_longer_search_keeps_what_was_measured(student, found):
    def facts(rows):  # the leading candidates were timed again
        return [(entry.plan, entry.measured.bytes, entry.measured.db) for entry in rows]

    before = facts(found.rows)

    again = searched(student, found.folder, trials=11)

    assert facts(again.rows[:9]) == before
    assert len(again.rows) == 11


def test_a_search_that_is_killed_goes_on_behind_its_last_row(student, tmp_path):
    folder = tmp_path / "killed"
    code = (
        "import sys; from pathlib import Path\n"
        "from edgekit.export.optimize.run import optimize\n"
        "from edgekit.export.optimize.front import Limits\n"
        "from edgekit.runtime.sessions import open_session\n"
        "optimize(Path(sys.argv[1]), 'onnx', Path(sys.argv[2]), open_session=open_session,"
        " budget_s=600, limits=Limits(min_db=30), trials=400)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(student), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    trials = folder / "trials.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (
        not trials.is_file() or trials.read_bytes().count(b"\n") < 4
    ):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with trials.open("a") as file:
        file.write('{"number": 99, "cut')  # a line that the kill left half written
    kept = [json.loads(line) for line in trials.read_text().splitlines()[:-1]]

    again = searched(student, folder, trials=len(kept) + 2)

    assert len(again.rows) == len(kept) + 2
    assert [entry.plan.key for entry in again.rows[: len(kept)]] == [k["key"] for k in kept]
    crashed = [entry for entry in again.rows if "process ended" in entry.problem]
    assert len(crashed) <= 1  # the one that was being made when the kill came is not tried again


def test_limits_that_nothing_keeps_end_with_the_nearest_candidate(found):
    limits = Limits(min_db=30, max_bytes=100)
    best, near = chosen(found.rows, limits), nearest(found.rows, limits)

    assert best is None
    assert near.measured.bytes == min(entry.measured.bytes for entry in found.rows)
    from dataclasses import replace

    error = missed_all(replace(found, best=None, closest=near), limits)
    assert isinstance(error, QualityFailed)
    assert "above 100" in error.what
    assert f"{near.measured.bytes:,}" in error.what


def test_the_nearest_candidate_weighs_what_it_misses_by():
    rows = [row(0, 400, 60, 1.0), row(1, 110, 50, 1.0), row(2, 90, 20, 1.0)]

    assert nearest(rows, Limits(min_db=40, max_bytes=100)).number == 1
    assert nearest(rows, Limits(min_db=40, max_bytes=500)).number in (0, 1)
    assert chosen(rows, Limits(min_db=40, max_bytes=500)).number == 1


def test_a_row_on_the_front_is_beaten_by_none():
    rows = [row(0, 100, 60, 1.0), row(1, 100, 55, 1.0), row(2, 50, 50, 1.0), row(3, 100, 50, 2.0)]

    assert [entry.number for entry in front(rows)] == [2, 0, 3]


def test_a_file_that_is_larger_or_slower_than_float_says_so():
    rows = [row(0, 100, 150, 1.0, "fp32"), row(1, 50, 90, 1.0, "fp16"), row(2, 60, 70, 0.5)]

    words = warnings_about(rows[2], rows)

    assert words == [
        "it is 1.20 times as large as the float16 file",
        "it is 2.00 times slower than the float16 file here",
        "it is 2.00 times slower than the float32 file here",
    ]
    assert warnings_about(row(3, 20, 60, 1.5), rows) == []


def test_the_chosen_file_joins_the_bundle_and_stays_there(student, found, tmp_path):
    bundle = tmp_path / "bundle"
    made = into_bundle(found, bundle, open_session=open_session)
    again = into_bundle(found, bundle, open_session=open_session)

    assert again == made
    entry = next(model for model in made.models if model.precision == "mixed")
    assert (bundle / entry.path).stat().st_size == found.best.measured.bytes
    assert entry.recipe.startswith(found.best.words)
    assert entry.parity.worst_psnr_db >= 30
    assert {model.precision for model in made.models} == {"fp32", "mixed"}
    results = verify_bundle(bundle)
    assert results.passed


def test_pictures_that_are_held_out_do_not_calibrate(tmp_path):
    folder = write_student(tmp_path / "student")
    with np.load(folder / "calibration.npz") as one, np.load(folder / "heldout.npz") as two:
        images = np.concatenate([one["image"], two["image"][:2]])
        heldout = two["image"]
    np.savez(folder / "calibration.npz", image=images)

    samples = samples_of(read_student(folder))

    assert (len(samples.calibration), samples.dropped) == (6, 2)
    np.savez(folder / "calibration.npz", image=heldout)
    with pytest.raises(BadInput, match="held out too"):
        samples_of(read_student(folder))


def test_fine_tuning_gains_decibels_at_the_same_bytes(student, tmp_path):
    limits = Limits(min_db=90)
    plain = searched(student, tmp_path / "qat", trials=3, limits=limits)

    tuned = fine_tuned(plain, limits, steps=12)

    facts = json.loads((plain.folder / "qat.json").read_text())
    assert len(tuned.rows) == 4
    assert "fine-tuned" in tuned.rows[-1].plan.options
    assert abs(facts["bytes"][1] - facts["bytes"][0]) <= 200
    assert facts["mean_squared_error"][1] <= facts["mean_squared_error"][0]
    assert facts["db"][1] > facts["db"][0] - 1  # the file is what was trained


def test_the_command_ends_with_6_and_names_the_limit(student, capsys):
    code = command(["optimize", str(student), "--trials", "3", "--max-bytes", "10"])

    said = capsys.readouterr().err
    assert code == 6
    assert "above 10" in said
    assert (student / "optimize/onnx/front.json").is_file()


def test_the_rules_can_be_read(capsys):
    assert command(["optimize", "--rules"]) == 0

    said = capsys.readouterr().out
    assert "apple/coremltools #2716" in said
    assert "litert-dynamic-depthwise" in said


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["--target", "tensorrt"], 2, marks=needs.TENSORRT),
        (["--target", "all"], 2),
        (["--target", "onnx", "--form", "tflite"], 2),
        (["--budget", "soon"], 2),
    ],
)
def test_bad_options_are_refused_before_any_work(student, words, code, capsys):
    assert command(["optimize", str(student), *words]) == code

    assert "hint:" in capsys.readouterr().err


def test_the_report_of_a_run_shows_the_front(found, tmp_path):
    import shutil

    from edgekit.benchmarks.report.precision import precision_sections

    (tmp_path / "optimize").mkdir()
    shutil.copytree(found.folder, tmp_path / "optimize/onnx")
    (tmp_path / "optimize/broken").mkdir()
    (tmp_path / "optimize/broken/front.json").write_text("{")

    (section,) = precision_sections(tmp_path)

    assert section["format"] == "onnx"
    assert section["picture"].startswith("data:image/svg+xml;base64,")
    assert [row["mark"] for row in section["rows"]].count("chosen") <= 1
    assert section["recipe"] == found.best.words
