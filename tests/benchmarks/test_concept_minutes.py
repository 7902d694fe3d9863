"""The stopwatch of a concept: real commands, concepts that are new, nothing timed twice."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from edgekit.cli.main import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def minutes():
    place = ROOT / "benchmarks" / "concept_minutes.py"
    spec = importlib.util.spec_from_file_location("concept_minutes", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_concept_of_the_base_is_refused(minutes, tmp_path, capsys):
    assert minutes.main(["--concepts", "make it night", "--work", str(tmp_path)]) == 2
    assert "trained on 'make it night'" in capsys.readouterr().err


def test_at_least_two_concepts_are_timed_and_the_base_saw_none(minutes):
    assert len(minutes.CONCEPTS) >= 2
    assert not minutes.seen_by_base(minutes.CONCEPTS)


def test_work_that_is_there_is_not_timed_as_nothing(minutes, tmp_path, capsys):
    (tmp_path / "make-it-snowy").mkdir()

    assert minutes.main(["--concepts", "make it snowy", "--work", str(tmp_path)]) == 2
    assert "exists" in capsys.readouterr().err


def test_the_stages_are_commands_that_the_command_line_takes(minutes, tmp_path, capsys):
    minutes.recipe_for("make it snowy").write(tmp_path / "recipe.toml")

    listed = minutes.stages(tmp_path / "recipe.toml", tmp_path / "run", ("onnx", "ios"))

    assert [stage for stage, _ in listed] == [
        "pairs",
        "training",
        "export onnx",
        "export ios",
        "verify",
    ]
    words = dict(listed)["training"]
    assert words[:2] == ["-m", "edgekit.cli.main"]
    assert run([*words[2:], "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["size_px"] == 128


def test_a_failing_stage_ends_the_measurement_with_its_code(minutes, tmp_path, monkeypatch):
    monkeypatch.setattr(
        minutes, "stages", lambda *given: [("pairs", ["-c", "raise SystemExit(4)"])]
    )
    out = tmp_path / "out.json"

    code = minutes.main(
        ["--concepts", "make it snowy", "--work", str(tmp_path / "w"), "--out", str(out)]
    )

    assert code == 4
    assert not out.exists()


def test_a_stage_is_timed_with_what_its_process_took(minutes):
    row, code = minutes.command("busy", ["-c", "import time; time.sleep(0.3)"])

    assert code == 0
    assert 0.3 <= row["seconds"] < 20
    assert row["cpu_s"] <= row["seconds"]


def test_the_table_says_whether_the_limit_was_kept(minutes):
    rows = [{"total_s": 200.0}, {"total_s": 301.0}]

    found = minutes.table(rows, limit_min=5.0, toy=False)

    assert (found["within_limit"], found["slowest_s"]) == (False, 301.0)
    assert found["host"]["cores"] >= 1
    assert minutes.table(rows[:1], limit_min=5.0, toy=False)["within_limit"]
