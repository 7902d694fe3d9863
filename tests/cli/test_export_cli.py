"""``edgekit export`` as a user meets it, with what goes wrong."""

import json

import pytest
from tests.export.programs import write_student

from edgekit.cli.main import run


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("export") / "night")


def edgekit(capfd, *words):
    code = run([str(word) for word in words])
    said = capfd.readouterr()
    return code, said.out, said.err


def test_stdout_is_one_json_object_whatever_the_converters_print(student, capfd):
    code, out, err = edgekit(
        capfd, "export", student, "--target", "onnx", "--precision", "fp32", "--json"
    )

    assert code == 0, err
    answer = json.loads(out)
    assert answer["bundle"] == str(student / "bundle")
    assert [model["path"] for model in answer["models"]] == ["onnx/make-it-night.fp32.onnx"]
    assert err.startswith("export: ")
    assert len(err.splitlines()) < 20
    assert (student / "bundle/manifest.json").is_file()


def test_a_dry_run_lists_the_files_and_makes_none(student, tmp_path, capfd):
    words = ("export", student, "--target", "ios", "--precision", "fp16", "--dry-run")

    code, out, _ = edgekit(capfd, *words, "--out", tmp_path / "b")

    assert code == 0
    assert json.loads(out)["files"] == ["mlpackage fp16", "aimodel fp16"]
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("words", "code", "cause", "hint"),
    [
        (["--target", "andriod"], 2, "unknown target 'andriod'", "did you mean 'android'?"),
        (["--precision", "fp61"], 2, "unknown precision 'fp61'", "did you mean 'fp16'?"),
        (["--target", "openvin"], 2, "unknown target 'openvin'", "did you mean 'openvino'?"),
        (["--precision", "mixed"], 2, "layer by layer", "edgekit optimize"),
        (["--ios", "15"], 2, "unknown iOS version '15'", "16, 17, 18, 26"),
        (["--delegate", "core-ml"], 2, "unknown delegate", "did you mean 'coreml'?"),
        (["--size", "100"], 2, "--size 100 is not a multiple of 8", "128"),
        (["--timeout", "0"], 2, "--timeout 0 is no time", "seconds"),
        (["--compute-capability", "9.0"], 7, "compute capability 9.0", "edgekit trt build"),
    ],
)
def test_an_unknown_name_is_answered_with_a_near_one(student, capfd, words, code, cause, hint):
    found, out, err = edgekit(capfd, "export", student, *words)

    assert found == code
    assert out == ""
    assert cause in err
    assert hint in err


@pytest.mark.parametrize(
    ("place", "cause"),
    [("missing", "does not exist"), (".", "is not a finished student: it has no manifest.json")],
)
def test_a_folder_without_a_student_is_bad_input(tmp_path, capfd, place, cause):
    code, out, err = edgekit(capfd, "export", tmp_path / place, "--target", "onnx")

    assert code == 4
    assert out == ""
    assert cause in err
    assert err.count("\n") == 2
