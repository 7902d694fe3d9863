"""``edgekit pairs`` as a user meets it, with a tiny real pipeline as the teacher."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.cli.main import run

ANYTHING = ("--min-structure", "-1", "--min-change", "0", "--max-shift", "1")
"""Bars that let the edits of random weights through."""


def edgekit(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = run([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture(scope="module")
def made(tiny_teacher, tmp_path_factory) -> Path:
    """A folder of pairs that no test may change."""
    out = tmp_path_factory.mktemp("pairs") / "night"
    words = [
        "pairs",
        "make",
        "--concept",
        "make it night",
        "--teacher",
        tiny_teacher,
        "--steps",
        "1",
    ]
    code = run(
        [str(word) for word in [*words, "--count", 8, "--size", 32, "--out", out, *ANYTHING]]
    )
    assert code == 0
    return out


def test_pairs_are_made_and_a_second_call_opens_them(made, tiny_teacher, capsys):
    words = ("--concept", "make it night", "--teacher", tiny_teacher, "--steps", 1, "--count", 8)

    code, said, _ = edgekit(
        capsys, "pairs", "make", *words, "--size", 32, "--out", made, *ANYTHING, "--json"
    )

    facts = json.loads(said)
    assert code == 0
    assert facts["train"] >= 1
    assert facts["heldout"] >= 1
    assert facts["train"] + facts["heldout"] + facts["rejected"] == 8
    assert facts["teacher"].startswith(f"{tiny_teacher.name}@")


def test_other_sampling_is_another_recipe(made, tiny_teacher, capsys):
    words = ("--concept", "make it night", "--teacher", tiny_teacher, "--steps", 2, "--count", 8)

    code, _, said = edgekit(capsys, "pairs", "make", *words, "--size", 32, "--out", made, *ANYTHING)

    assert code == 2
    assert "made with another sampling" in said


def test_inspect_writes_a_sheet_and_prints_the_counts(made, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"

    code, said, _ = edgekit(capsys, "pairs", "inspect", made, "--out", sheet)
    _, data, _ = edgekit(capsys, "pairs", "inspect", made, "--out", sheet, "--json")

    assert code == 0
    assert "kept" in said
    assert Image.open(sheet).size[0] > 128
    assert json.loads(data)["made"] == 8


def test_inspect_writes_beside_the_pairs_by_default(made, tmp_path, capsys):
    copy = shutil.copytree(made, tmp_path / "copy")

    code, said, _ = edgekit(capsys, "pairs", "inspect", copy)

    assert (code, said.strip().splitlines()[-1]) == (0, str(copy / "sheet.png"))


def test_a_useless_teacher_ends_with_the_quality_code(tiny_teacher, tmp_path, capsys):
    words = ("--concept", "make it night", "--teacher", tiny_teacher, "--steps", 1, "--count", 4)

    code, _, said = edgekit(capsys, "pairs", "make", *words, "--out", tmp_path)

    assert code == 6
    assert "pairs inspect" in said


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "out"

    code, said, _ = edgekit(
        capsys, "pairs", "make", "--prompt", "make it night", "--out", out, "--dry-run"
    )

    plan = json.loads(said)
    assert (code, plan["prompt"], plan["count"], plan["teacher"]) == (
        0,
        "make it night",
        96,
        "bundled",
    )
    assert not out.exists()


def nothing(folder: Path) -> Path:
    return folder / "missing"


def empty(folder: Path) -> Path:
    return folder


def corrupt(folder: Path) -> Path:
    (folder / "bad.jpg").write_bytes(b"no photo")
    return folder


@pytest.mark.parametrize("photos", [nothing, empty, corrupt])
def test_unusable_photos_are_bad_input(tiny_teacher, tmp_path, capsys, photos):
    words = ("--concept", "make it night", "--teacher", tiny_teacher, "--photos", photos(tmp_path))

    code, _, said = edgekit(capsys, "pairs", "make", *words, "--out", tmp_path / "out")

    assert code == 4
    assert said.splitlines()[-1].startswith("  hint: ")
    assert "Traceback" not in said


def test_a_corrupt_photo_among_good_ones_is_named(tiny_teacher, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    corrupt(folder)
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(coarse).resize((200, 150)).save(folder / "good.png")
    words = ("--concept", "x", "--teacher", tiny_teacher, "--steps", 1, "--photos", folder)

    code, _, said = edgekit(
        capsys, "pairs", "make", *words, "--count", 8, "--out", tmp_path / "out", *ANYTHING
    )

    assert code == 0
    assert "skipped bad.jpg: is not an image that can be decoded" in said


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--count", "1"), "count = 1"),
        (("--size", "100"), "size = 100"),
        (("--heldout", "0.9"), "heldout = 0.9"),
        (("--concept", " "), "prompt is empty"),
        (("--sizes", "64"), "did you mean --size?"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(tmp_path, capsys, words, what):
    options = ("--concept", "make it night", "--out", tmp_path / "out", *words)

    code, _, said = edgekit(capsys, "pairs", "make", *options)

    assert code == 2
    assert what in said


def test_inspecting_something_else_is_bad_input(tmp_path, capsys):
    code, _, said = edgekit(capsys, "pairs", "inspect", tmp_path)

    assert code == 4
    assert "not a finished pairs" in said


def test_the_bundled_teacher_makes_pairs_that_pass(tmp_path, capsys):
    words = ("--concept", "turn it into a pencil sketch", "--count", 10, "--work-size", 128)

    code, said, _ = edgekit(capsys, "pairs", "make", *words, "--out", tmp_path / "out", "--json")

    facts = json.loads(said)
    assert code == 0
    assert facts["rejected"] <= 1
    assert facts["teacher"].startswith("bundled@")


def test_an_unknown_concept_names_the_known_ones(tmp_path, capsys):
    out = tmp_path / "out"

    code, _, said = edgekit(capsys, "pairs", "make", "--concept", "make it purple", "--out", out)

    assert code == 4
    assert "does not know 'make it purple'" in said
    assert "make it night" in said
    assert not out.exists()


def test_a_selection_can_be_trained_on_as_it_is(made, tmp_path, capsys):
    out = tmp_path / "few"

    code, said, _ = edgekit(capsys, "pairs", "select", made, "--count", 4, "--out", out, "--json")

    facts = json.loads(said)
    assert code == 0
    assert (facts["train"], facts["selection"]["method"]) == (4, "kmeans")
    assert json.loads((out / "manifest.json").read_text())["prompt"] == "make it night"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--count", 99), 2, "pairs to train on"),
        (("--method", "kmean"), 2, "did you mean 'kmeans'"),
    ],
)
def test_a_selection_that_cannot_be_made_says_why(words, code, says, made, tmp_path, capsys):
    found, _, said = edgekit(capsys, "pairs", "select", made, "--out", tmp_path / "x", *words)

    assert found == code
    assert says in said
    assert "hint:" in said


def test_sources_chosen_before_the_teacher_runs_are_planned(tmp_path, capsys):
    words = ("--concept", "make it night", "--select", "facility", "--count", 10)

    code, said, _ = edgekit(capsys, "pairs", "make", *words, "--out", tmp_path, "--dry-run")

    plan = json.loads(said)
    assert code == 0
    assert (plan["select"], plan["pool"], plan["count"]) == ("facility", 60, 10)
