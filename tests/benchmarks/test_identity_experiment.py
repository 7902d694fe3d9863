"""The identity experiment at toy size, and the page that is made of its lines."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.distill.identity_faces import faces_folder

FOLDER = Path(__file__).parents[2] / "benchmarks" / "identity"


@pytest.fixture(scope="module", autouse=True)
def scripts():
    sys.path.insert(0, str(FOLDER))
    for name in ("judge", "table", "attention", "experiment"):
        sys.modules.pop(name, None)
    yield
    sys.path.remove(str(FOLDER))
    for name in ("judge", "table", "attention", "experiment"):
        sys.modules.pop(name, None)


def line(arm: str, seed: int, dlib: dict[str, list[float]]) -> dict[str, object]:
    scores = {
        name: {
            "people": len(each),
            "l1": 0.1,
            "held_out": 0.5,
            "held_out_input": 0.5,
            "dlib": float(np.mean(each)),
            "dlib_input": 0.5,
            "recognized": 0.5,
            "copy_paste": 0.1,
            "dlib_each": each,
        }
        for name, each in dlib.items()
    }
    return {
        "arm": arm,
        "seed": seed,
        "device": "cpu",
        "arm_s": 1.0,
        "generator_s": 1.0,
        "steps": {"1-masked": 5, "generator": 2},
        "train_people": 3,
        "train_photos": 9,
        "encoder_parameters": 1000,
        "generator_parameters": 1000,
        "code": [4, 32],
        "separation": {"heads": {"equal_error": 0.1}},
        "scores": {"heads": scores},
    }


def of(one: float, seven: float) -> dict[str, list[float]]:
    dice = np.random.default_rng(0)
    rows = {"1": one, "3": (one + seven) / 2, "7": seven, "stranger": 0.9, "no code": 0.8}
    return {name: (value + dice.normal(0, 0.02, 30)).tolist() for name, value in rows.items()}


def test_the_page_says_which_claims_hold_and_which_do_not():
    from table import page

    rows = [line("full", seed, of(0.5, 0.4)) for seed in range(3)]
    rows += [line("cosface", 0, of(0.6, 0.59)), line("one-to-one", 0, of(0.3, 0.3))]

    text = page(rows)

    found = {
        row.split("|")[1].strip(): row.split("|")[3].strip()
        for row in text.splitlines()
        if row.startswith("| full ") and row.count("|") == 4
    }
    assert found["full is nearer to the truth than cosface, 3 photo(s)"] == "yes"
    assert found["full is nearer to the truth than one-to-one, 3 photo(s)"] == "no: the reverse"
    assert found["full is nearer to the truth than infonce, 3 photo(s)"] == "not run"
    assert found["full gains from 1 to 7 photos"] == "yes"
    assert found["full gains more from 1 to 7 than cosface"] == "yes"


def test_the_page_names_what_is_missing_also_when_everything_is(tmp_path):
    from table import ARMS, lines, page

    blind = line("full", 0, of(0.5, 0.4))
    for score in blind["scores"]["heads"].values():
        score.pop("dlib")

    assert all(f"{arm}/{seed}" in page([]) for arm in ARMS for seed in range(3))
    assert "**Not judged by dlib** (it was not installed): full/0" in page([blind])
    assert "full/0" not in page([blind]).split("**Not judged")[0]
    assert lines(tmp_path / "none.jsonl") == []


def test_a_line_that_was_cut_short_is_not_counted(tmp_path):
    from table import lines

    file = tmp_path / "runs.jsonl"
    file.write_text(json.dumps(line("full", 0, of(1, 1))) + '\n{"arm": "mask')

    assert [row["arm"] for row in lines(file)] == ["full"]


def test_the_committed_page_is_the_one_that_its_lines_give():
    from table import PAGE, RUNS, lines, page

    assert PAGE.read_text(encoding="utf-8") == page(lines(RUNS))


def test_copy_paste_is_one_for_a_copy_and_minus_one_for_the_truth():
    from judge import dlib_scores

    rng = np.random.default_rng(0)
    truth, inputs = rng.normal(size=(5, 128)), rng.normal(size=(5, 3, 128))

    copied, true = (dlib_scores(made, truth, inputs) for made in (inputs[:, 1], truth))

    assert copied["copy_paste"] == pytest.approx(1, abs=1e-6)
    assert true["copy_paste"] == pytest.approx(-1, abs=1e-6)
    assert true["dlib"] == 0
    assert true["recognized"] == 1


def test_one_arm_runs_is_not_run_again_and_is_drawn(tmp_path, monkeypatch):
    from experiment import main

    faces = faces_folder(tmp_path / "faces", people=12, each=9)
    out = tmp_path / "out"
    words = ["experiment.py", "--real", faces, "--out", out, "--small"]
    words += ["--arms", "cosface", "--seeds", "0", "--seconds", "120"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])

    main()
    main()

    rows = [json.loads(text) for text in (out / "runs.jsonl").read_text().splitlines()]
    assert [(row["arm"], row["seed"]) for row in rows] == [("real", 0), ("cosface", 0)]
    scores = rows[1]["scores"]["real"]
    assert set(scores) == {"1", "3", "5", "7", "stranger", "no code"}
    assert (out / "pictures/cosface-real.png").is_file()
    from table import page

    assert "| cosface | CosFace" in page(rows)


def test_attention_that_is_everywhere_is_not_concentrated():
    import torch
    from attention import concentration, lit, same_place

    everywhere = torch.full((4, 2, 16), 1 / 16)
    one_place = torch.zeros(4, 2, 16)
    one_place[..., 5] = 1

    assert concentration(everywhere) == pytest.approx([0, 0], abs=1e-6)
    assert concentration(one_place) == pytest.approx([1, 1])
    assert same_place(one_place) == pytest.approx(1)
    bright = lit(np.full((32, 32, 3), 200, np.uint8), one_place[0, 0])
    assert bright[12, 12].mean() > 4 * bright[28, 28].mean()
