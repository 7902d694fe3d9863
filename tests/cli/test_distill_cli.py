"""``edgekit distill``: plans, errors with their codes, and one run from pairs to a student."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edgekit.cli.main import run


def said(capsys):
    return capsys.readouterr()


def test_a_dry_run_prints_the_resolved_recipe_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "night"

    code = run(
        ["distill", "--concept", "make it night", "--out", str(out), "--rank=2", "--dry-run"]
    )
    plan = json.loads(said(capsys).out)

    assert code == 0
    assert (plan["concept"], plan["rank"], plan["size_px"]) == ("make it night", 2, 128)
    assert not out.exists()


def test_a_restorer_is_told_by_a_recipe_what_no_option_says(tmp_path, capsys):
    file = tmp_path / "recipe.toml"
    file.write_text('conditioning = "code"\nms_ssim = 0.7\ntuned = false\nseed = 1\n')
    words = ["distill", "--student", "restorer", "--recipe", str(file), "--seed", "4"]

    code = run([*words, "--faces", "faces", "--encoder", "runs/identity", "--dry-run"])
    plan = json.loads(said(capsys).out)

    assert code == 0
    assert (plan["conditioning"], plan["tuned"]) == ("code", False)
    assert (plan["ms_ssim"], plan["seed"]) == (0.7, 4)


@pytest.mark.parametrize(
    ("words", "mode", "budget_s"),
    [
        (["--search"], "tpe", 600),
        (["--search", "greedy", "--budget", "90s"], "greedy", 90),
        (["--search=greedy", "--trials", "5"], "greedy", None),
        (["--budget", "1h30m", "--search", "--trials", "5"], "tpe", 5400),
    ],
)
def test_a_search_may_be_asked_for_with_or_without_its_mode(words, mode, budget_s, capsys):
    code = run(["distill", "--concept", "make it night", *words, "--seed", "4", "--dry-run"])
    plan = json.loads(said(capsys).out)

    assert code == 0
    assert (plan["search"]["mode"], plan["search"]["budget_s"]) == (mode, budget_s)
    assert plan["search"]["seed"] == 4


def test_asking_what_a_search_would_do_loads_neither_optuna_nor_torch():
    words = ["distill", "--concept", "make it night", "--search", "--dry-run"]
    program = (
        "import sys; from edgekit.cli.main import run; "
        f"assert run({words}) == run(['pairs', 'select', '--help']) == 0; "
        "print(sorted({name.split('.')[0] for name in sys.modules}))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    loaded = done.stdout.splitlines()[-1]
    assert "'typer'" in loaded
    assert not {"'optuna'", "'sklearn'", "'torch'"} & set(loaded.strip("[]").split(", "))


def test_limits_of_a_search_may_wait_in_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("EDGEKIT_DISTILL_TRIALS", "3")

    assert run(["distill", "--concept", "make it night", "--dry-run"]) == 0
    assert json.loads(said(capsys).out)["search"] is None


def test_the_run_folder_is_named_after_the_concept_if_no_other_is_given(capsys):
    run(["distill", "--concept", "Make it night!", "--dry-run"])

    assert json.loads(said(capsys).out)["out"] == "runs/make-it-night"


def test_a_recipe_file_and_options_go_together(tmp_path, capsys):
    file = tmp_path / "r.toml"
    file.write_text('concept = "make it night"\nsteps = 7\nseed = 3\n')

    run(["distill", "--recipe", str(file), "--steps", "9", "--out", "x", "--dry-run"])
    plan = json.loads(said(capsys).out)

    assert (plan["steps"], plan["seed"]) == (9, 3)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--out", "x"], 2, "no concept is given"),
        (["--concept", "make it night", "--out", "x", "--profile", "gpus"], 2, "'gpu'"),
        (["--concept", "make it night", "--out", "x", "--rank", "0"], 2, "rank = 0"),
        (["--concept", "make it a llama", "--out", "x"], 4, "does not know 'make it a llama'"),
        (["--concept", "make it night", "--out", "x", "--pairs", "none"], 4, "does not exist"),
        (["--concept", "make it night", "--out", "x", "--photos", "none"], 4, "does not exist"),
        (["--concept", "make it night", "--out", "x", "--search", "greed"], 2, "'greedy'"),
        (["--concept", "make it night", "--out", "x", "--budget", "5m"], 2, "is for a search"),
        (["--concept", "make it night", "--search", "--rank", "2"], 2, "--search finds the ranks"),
        (["--concept", "make it night", "--search", "--budget", "soon"], 2, "is not a time"),
        (["--concept", "make it night", "--search", "--budget-kb", "1"], 2, "smallest adapter"),
        (["--recipe", "none.toml", "--out", "x"], 4, "none.toml does not exist"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(words, code, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert run(["distill", *words]) == code
    printed = said(capsys).err
    assert says in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "x").exists()


def test_a_misspelt_key_in_a_recipe_names_the_nearest(tmp_path, capsys):
    (tmp_path / "r.toml").write_text('concept = "make it night"\nstep = 3\n')

    assert run(["distill", "--recipe", str(tmp_path / "r.toml"), "--out", str(tmp_path)]) == 2
    assert "did you mean 'steps'" in said(capsys).err


def test_an_unwritable_place_is_said_before_any_work(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")

    code = run(["distill", "--concept", "make it night", "--out", str(tmp_path / "file" / "run")])

    assert code == 4
    assert "cannot be written" in said(capsys).err
