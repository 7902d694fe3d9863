"""The generator that ships is scored through its files, and the page leads with it."""

import json
import sys
from pathlib import Path

import pytest
import torch
from tests import needs

from edgekit.distill.teachers.views.judge import Judge

FOLDER = Path(__file__).parents[2] / "benchmarks" / "mesh"
NAMES = tuple(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in NAMES:
        sys.modules.pop(name, None)
    yield
    for name in NAMES:
        sys.modules.pop(name, None)


def test_pictures_are_apart_where_either_shows_something():
    from measures import BACKGROUND, levels_apart

    one, other = (torch.full((1, 3, 4, 4), BACKGROUND) for _ in range(2))
    one[..., :2] = 1.0
    other[..., :1] = 1.0

    assert levels_apart(one, one) == 0
    assert levels_apart(one, other) == pytest.approx(255 * (1 - BACKGROUND) / 2)


@needs.MESH
def test_what_ships_is_scored_beside_true_meshes_and_leads_the_page(tmp_path, monkeypatch):
    from table import page

    import shipped

    judge = tmp_path / "judge"
    judge.mkdir()
    facts = {"accuracy": {"prompt": 0.5}, "steps": 1, "parameters": 1}
    (judge / "manifest.json").write_text(json.dumps(facts))
    monkeypatch.setattr(shipped, "load_judge", lambda folder, device: Judge(4).eval())
    asked = ["a red striped ball with a hat", "a blue dotted ball with wings"]
    words = ["x", "--judge", judge, "--sheets", tmp_path, "--out", tmp_path / "shipped.json"]
    monkeypatch.setattr(sys, "argv", [*map(str, words), "--prompts", *asked])
    shipped.main()

    found = json.loads((tmp_path / "shipped.json").read_text())
    mine, true = (row["meshes"] for row in found["scores"])
    text = page(tmp_path)
    assert [mesh["seen"] for mesh in mine] == [False, True]
    assert all(mesh["watertight"] for mesh in mine)
    assert all(mesh["apart"]["mesh"] < mesh["apart"]["next prompt"] for mesh in mine)
    assert len(true) == 2
    assert (tmp_path / "mesh_unseen.webp").is_file()
    assert text.index("## What ships") < text.index("Do the claims hold?")
    assert "what ships, one seed" in text
