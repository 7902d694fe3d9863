"""The restorer experiment at toy size: every kind of arm is trained, tested and has one line."""

import json
import sys
from pathlib import Path

import pytest
from tests.distill.tiny_faces import tiny_faces

from edgekit.distill.faces import recognition
from edgekit.distill.faces.sets import load_faces
from edgekit.distill.identity.encoder import fresh_encoder
from edgekit.distill.identity.shape import IdentityShape
from edgekit.distill.identity.student import write_encoder
from edgekit.distill.program import StudentFacts

FOLDER = Path(__file__).parents[2] / "benchmarks" / "faces"
SCRIPTS = ("arms", "judge", "table", "experiment")
SHAPE = IdentityShape(size_px=32, layers=1, refine=0, expand=1)


@pytest.fixture
def experiment(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(recognition, "installed", lambda: False)
    for name in SCRIPTS:
        sys.modules.pop(name, None)
    import experiment

    yield experiment
    for name in SCRIPTS:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("faces")
    real = tiny_faces(place / "real", photos=3)
    small = load_faces(real, size_px=32)
    facts = StudentFacts(name="identity", recipe_sha256="0" * 64)
    write_encoder(place / "encoder", fresh_encoder(SHAPE, seed=0), small, small, facts)
    return place


def called(experiment, monkeypatch, place, out, *arms: str) -> list[dict]:
    words = ["experiment.py", "--real", place / "real", "--rendered", place / "real", "--out", out]
    words += ["--encoder", place / "encoder", "--small", "--judged", 2, "--steps", 2]
    words += ["--base-s", 0.3, "--recognizer-s", 0.3, "--seeds", 0, "--seconds", 100]
    monkeypatch.setattr(sys, "argv", [str(word) for word in (*words, "--arms", *arms)])
    experiment.main()
    return [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]


def test_arms_of_every_kind_run_once_and_make_the_page(experiment, folders, tmp_path, monkeypatch):
    arms = ("phone", "untaught", "gate", "sampled")

    rows = called(experiment, monkeypatch, folders, tmp_path, *arms)
    again = called(experiment, monkeypatch, folders, tmp_path, *arms)

    assert again == rows
    order = [row["arm"] for row in rows]
    assert order[0] == "untouched"
    assert set(order) == {"untouched", *arms}
    assert order.index("phone") > order.index("gate")  # which teaches it
    by_name = {row["arm"]: row for row in rows}
    asked = [name for name in by_name["gate"]["scores"] if name.endswith("8 right")]
    assert asked == ["rendered/extreme/8 right"]
    assert len(by_name["sampled"]["scores"]) == 4  # the slow arm answers the main question alone
    assert all(by_name[arm]["steps"] == 2 for arm in arms)
    assert (tmp_path / "pictures" / "gate-real-severe-4-right.png").is_file()
    kept = {file.stem for file in (tmp_path / "weights").iterdir()}
    assert {"untaught-0", "untaught-encoder-0"} <= kept
    assert "gate-encoder-0" not in kept
    from table import page

    assert "+ reliability gate" in page(rows, None)


def test_the_committed_page_is_that_of_the_committed_results(experiment, tmp_path, monkeypatch):
    import table

    monkeypatch.setattr("sys.argv", ["table.py", "--page", str(tmp_path / "faces.md")])
    table.main()

    assert (tmp_path / "faces.md").read_text() == table.PAGE.read_text()


def test_an_arm_without_references_is_asked_once_a_severity(
    experiment, folders, tmp_path, monkeypatch
):
    asked = []
    batch = experiment.Judge.batch
    monkeypatch.setattr(
        experiment.Judge, "batch", lambda self, one: asked.append(one.name) or batch(self, one)
    )

    rows = called(experiment, monkeypatch, folders, tmp_path, "none")

    scores = rows[1]["scores"]
    assert scores["real/severe/4 right"] == scores["real/severe/0 right"]
    assert scores["real/severe/4 right"] != scores["real/extreme/4 right"]
    assert len(asked) == 2 * 8  # two sets, four severities, for "untouched" and "none"


def test_arms_that_lack_an_encoder_or_a_teacher_are_said_to_be_left(
    experiment, folders, tmp_path, monkeypatch, capsys
):
    words = ["experiment.py", "--real", folders / "real", "--out", tmp_path, "--small"]
    words += ["--judged", 1, "--steps", 1, "--base-s", 0.2, "--recognizer-s", 0.2, "--seeds", 0]
    words += ["--arms", "code", "phone"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])

    experiment.main()

    assert "left=['code/0', 'phone/0']" in capsys.readouterr().err
