"""The page of evidence says what the raw lines say, and names what is not there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FACES = Path(__file__).parents[2] / "benchmarks" / "faces"


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(FACES))
    import table

    yield table
    for name in ("table", "arms", "judge"):
        sys.modules.pop(name, None)


def line(arm: str, seed: int, identity: float, wrong: float | None = None) -> dict:
    def scores(value: float) -> dict:
        near = [value - 0.01, value, value + 0.01]
        return {"identity": value, "identities": near, "perceptual": value, "psnr_db": 20.0}

    found = {"real/severe/4 right": scores(identity)}
    if wrong is not None:
        found |= {"real/severe/4 wrong": scores(wrong), "real/severe/0 right": scores(0.50)}
    facts = {"device": "processor", "steps": 9, "asked_steps": 9, "size_px": 64, "batch": 4}
    return {"arm": arm, "what": arm, "seed": seed, "scores": found, **facts}


LATENCY = {
    "protocol": "p",
    "clock": "c",
    "device": "d",
    "host": {"processor": "x"},
    "milliseconds": {"warm": [1.0, 1.0]},
    "median_ms": {"no references": 1.0, "warm": 2.0, "cold": 3.0, "fifty steps": 100.0},
    "files": {"median_ms": {"no references": 1.0, "warm": 2.0, "cold": 4.0}},
    "parameters": 1,
    "memory_bytes": 2_000_000,
    "code_bytes": 16384,
}


def verdict(page: str, words: str) -> str:
    (row,) = [row for row in page.splitlines() if row.startswith(f"| {words}")]
    return row.split("|")[-2].strip()


def test_each_bar_holds_or_not_as_the_lines_say(table):
    rows = [line("none", s, 0.50) for s in (0, 1, 2)]
    rows += [line("landmark", s, 0.40, 0.52) for s in (0, 1, 2)]
    rows += [line("gate", s, 0.51, 0.40) for s in (0, 1, 2)]

    page = table.page(rows, LATENCY)

    start = "shared attention + AdaIN on values + landmark attention loss"
    assert verdict(page, f"{start} beats") == "yes"
    assert verdict(page, f"{start} + reliability gate beats") == "**no**"
    assert verdict(page, "wrong references are no better than none (+ landmark") == "yes"
    assert verdict(page, "wrong references are no better than none (+ reliability") == "**no**"
    assert verdict(page, "at least 25 times") == "yes"
    assert verdict(page, "warm at least 1.7 times faster than cold, PyTorch") == "**no**"
    assert verdict(page, "warm at least 1.7 times faster than cold, ONNX") == "yes"
    assert verdict(page, "a code takes at most 1/100") == "yes"


def test_a_code_that_reaches_the_gain_and_one_that_does_not(table):
    rows = [line("none", 0, 0.50), line("gate", 0, 0.40)]

    near = table.page([*rows, line("code", 0, 0.405)], None)
    far = table.page([*rows, line("code", 0, 0.45)], None)

    words = "a code reaches 90 % of the gain"
    assert (verdict(near, words), verdict(far, words)) == ("yes", "**no**")


def test_what_is_missing_is_named(table):
    page = table.page([line("none", 0, 0.5)], None)

    missing = page.split("## What is missing")[1]
    assert "none/1" in missing
    assert "gate/0" in missing
    assert "none/0," not in missing
    assert "latency" in missing


def test_the_committed_page_is_what_the_committed_lines_give(table, tmp_path):
    made = tmp_path / "faces.md"
    command = [sys.executable, str(FACES / "table.py"), "--page", str(made)]

    subprocess.run(command, check=True)

    assert made.read_text() == table.PAGE.read_text()


def test_conditions_start_with_those_of_the_slow_arm(monkeypatch):
    monkeypatch.syspath_prepend(str(FACES))
    import judge

    found = judge.conditions(["real", "rendered"])

    assert [one.name for one in found[:2]] == ["real/severe/4 right", "rendered/severe/4 right"]
    assert len({one.name for one in found}) == len(found)
    assert json.dumps([one.name for one in found])
    counts = [one.references for one in found if one.people == "rendered" and not one.wrong]
    assert set(counts) == {0, 1, 2, 4, 8}
    sys.modules.pop("judge")
