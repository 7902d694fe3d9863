"""A mesh generator trained from the command line, by a teacher of views that says little yet."""

import json
from pathlib import Path

import pytest
import torch

from edgekit.cli.main import run
from edgekit.distill.mesh.student import read_generator
from edgekit.distill.teachers.views.fit import ViewsSettings, fit_views
from edgekit.distill.teachers.views.networks import TINY

SHORT = ["--student", "mesh", "--steps", "3", "--batch", "2"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    """A tiny teacher of views after two steps; not to be changed."""
    folder = tmp_path_factory.mktemp("views") / "teacher"
    settings = ViewsSettings(size=TINY, steps=2, batch=4, seeds=1, views=1)
    assert fit_views(settings, folder, device=torch.device("cpu"))
    return folder


def edgekit(capfd, *words: object) -> tuple[int, str, str]:
    code = run([str(word) for word in words])
    said = capfd.readouterr()
    return code, said.out, said.err


def test_a_teacher_and_prompts_become_a_student_folder_once(capfd, tmp_path, teacher):
    (tmp_path / "prompts.txt").write_text("a red cone\na blue ball\n# a remark\na red ball\n")
    (tmp_path / "unseen.txt").write_text("a blue cone\n")
    files = ["--prompts", tmp_path / "prompts.txt", "--unseen", tmp_path / "unseen.txt"]
    words = ["distill", *SHORT, "--teacher", teacher, *files, "--out", tmp_path / "run"]

    code, out, err = edgekit(capfd, *words, "--json")
    again, same, _ = edgekit(capfd, *words, "--json")

    made = json.loads(out)
    _, prompts, manifest = read_generator(tmp_path / "run")
    assert (code, again) == (0, 0)
    assert json.loads(same) == made
    assert "2-meshes: step 1" in err
    assert prompts.train == ("a red cone", "a blue ball", "a red ball")
    assert prompts.unseen == ("a blue cone",)
    assert manifest["form"] == "mesh"
    assert manifest["teacher"].startswith("teacher@")
    assert (tmp_path / "run/preview.gif").is_file()
    assert (tmp_path / "run/field/student.pt2").is_file()


def test_the_plan_names_every_value_of_the_recipe(capfd, tmp_path, teacher):
    (tmp_path / "r.toml").write_text('loss = "asd"\nbatch = 9\n')
    more = ["--recipe", tmp_path / "r.toml", "--seconds", 90, "--guidance", 3, "--stage-one", 0.5]

    code, out, _ = edgekit(
        capfd, "distill", "--student", "mesh", "--teacher", teacher, *more, "--dry-run"
    )

    plan = json.loads(out)
    assert code == 0
    assert (plan["prompts"], plan["unseen"], plan["out"]) == (56, 8, "runs/things")
    assert (plan["loss"], plan["batch"], plan["seconds"]) == ("asd", 9, 90)
    assert (plan["guidance"], plan["stage_one"]) == (3, 0.5)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--student", "mesh"], 2, "no teacher of views"),
        (["--student", "mesh", "--rank", "4"], 2, "--rank is not for a mesh generator"),
        (["--seconds", "9"], 2, "--seconds is for a mesh generator"),
        (["--student", "mesh", "--teacher", "t", "--loss", "vsd"], 2, "unknown loss 'vsd'"),
        (["--student", "mesh", "--teacher", "t", "--unseen", "u"], 2, "--unseen needs --prompts"),
        (["--student", "mesh", "--teacher", "t", "--prompts", "missing"], 4, "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_said_before_any_work(capfd, tmp_path, words, code, said):
    found, out, err = edgekit(capfd, "distill", *words, "--out", tmp_path / "run")

    assert (found, out) == (code, "")
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()
