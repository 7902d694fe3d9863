"""One real bundle for all targets, made by real converters from a student with two inputs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tests.export.programs import write_student

from edgekit.core.errors import BadInput, EdgekitError, OutputError, TargetUnsupported
from edgekit.core.manifest import read_bundle
from edgekit.core.seams import PRECISIONS
from edgekit.export import worker
from edgekit.export.bundle import export_student
from edgekit.export.targets import TARGETS
from edgekit.runtime.sessions import open_session

NAME = "make-it-night"


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("bundle") / "student", styled=True)


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def made(student, told):
    out = student / "bundle"
    export_student(
        student,
        ["ios", "onnx", "android"],
        out,
        open_session=open_session,
        report=lambda label, done, total, note="": told.append((label, done, total)),
    )
    return out


@pytest.fixture(scope="module")
def bundle(made):
    return read_bundle(made, check_files=True)


@pytest.mark.slow
def test_every_format_and_precision_is_shipped(bundle):
    rows = [(model.format, model.precision) for model in bundle.models]

    named = [form for target in ("onnx", "android", "ios") for form in TARGETS[target]]
    assert rows == [(form, precision) for form in named for precision in PRECISIONS]
    assert not bundle.refused


@pytest.mark.slow
def test_every_file_was_executed_and_clears_its_bar(bundle):
    for model in bundle.models:
        ours = model.format == "mlpackage"  # Core ML itself runs on Apple's systems only
        assert model.executed is not ours
        assert model.parity is not None
        assert model.parity.samples == 4
        bars = {"fp32": 100.0, "fp16": 55.0, "int8": 35.0}
        assert model.parity.worst_psnr_db >= bars[model.precision], model.path
        assert model.precision != "fp32" or model.parity.max_abs <= 1e-4
        assert model.parity.protocol.endswith("edgekit.mil") is ours


@pytest.mark.slow
def test_less_precise_files_are_smaller(bundle):
    bytes_of = {(model.format, model.precision): model.bytes for model in bundle.models}
    for form, precision in bytes_of:
        if precision != "fp32":
            assert bytes_of[form, precision] < bytes_of[form, "fp32"], (form, precision)


@pytest.mark.slow
def test_ports_that_are_not_pictures_keep_their_names_and_shapes(bundle):
    for model in bundle.models:
        assert [port.name for port in model.inputs] == ["image", "style"]
        assert [port.name for port in model.outputs] == ["image_out", "code"]
        assert model.inputs[1].shape == (1, 12)
        picture = model.inputs[0]
        expected = (1, 3, 32, 32) if picture.layout == "nchw" else (1, 32, 32, 3)
        assert picture.shape == expected


@pytest.mark.slow
def test_the_manifest_says_how_each_file_was_made(bundle):
    for model in bundle.models:
        assert model.recipe
        assert "torch" in model.tools
        assert sum(model.placement.values()) > 10
    assert bundle.licences == {"edgekit": "Apache-2.0", "photos": "CC0-1.0"}
    assert bundle.quality == {"student.psnr_db": 20.5}


@pytest.mark.slow
def test_golden_vectors_are_what_a_session_computes(made, bundle):
    golden = np.load(made / bundle.golden.path)

    session = open_session(made / f"onnx/{NAME}.fp32.onnx")
    got = session.run({"image": golden["image"][2:3], "style": golden["style"][2:3]})

    assert bundle.golden.samples == 4
    np.testing.assert_allclose(got["image_out"], golden["image_out"][2:3], atol=1e-4)
    np.testing.assert_allclose(got["code"], golden["code"][2:3], atol=1e-4)


@pytest.mark.slow
def test_the_adapter_travels_with_the_bundle(made, bundle):
    assert bundle.adapters[0].path == f"adapters/{NAME}.safetensors"
    assert (made / bundle.adapters[0].path).read_bytes() == b"factors"


@pytest.mark.slow
def test_converters_talk_into_logs_and_the_work_folder_is_gone(made):
    logs = sorted(file.name for file in (made / "logs").iterdir())

    assert logs == ["aimodel.log", "mlpackage.log", "onnx.log", "tflite.log", "workers.json"]
    assert "LiteRT" in (made / "logs/tflite.log").read_text()
    assert not (made / ".work").exists()


@pytest.mark.slow
def test_progress_counts_files_up_to_all(made, told):
    done = [count for _, count, _ in told]

    assert {total for _, _, total in told} == {12}
    assert done == sorted(done)
    assert done[-1] == 12


@pytest.mark.slow
def test_files_hold_no_path_of_the_machine_that_made_them(made, bundle):
    import edgekit.export.graph as part

    folder = os.fsencode(part.__file__).rsplit(b"/", 4)[0]
    for model in bundle.models:
        path = made / model.path
        for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
            assert folder not in file.read_bytes(), file


@pytest.mark.slow
def test_a_second_export_does_nothing(student, made, bundle):
    before = {file: file.stat().st_mtime_ns for file in made.rglob("*") if file.is_file()}

    again = export_student(student, ["android"], made, open_session=open_session)

    assert again == bundle
    after = {file: file.stat().st_mtime_ns for file in made.rglob("*") if file.is_file()}
    assert {f: t for f, t in after.items() if f.name != ".lock"} == {
        f: t for f, t in before.items() if f.name != ".lock"
    }


def export(student, out):
    """Run the real command in a process of its own."""
    words = ["export", str(student), "--out", str(out), "--target", "onnx", "-q", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "edgekit.cli.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_killed_export_continues_and_ends_with_the_same_files(student, tmp_path, bundle):
    out = tmp_path / "bundle"
    first = export(student, out)
    fp32 = out / f"onnx/{NAME}.fp32.onnx"
    record = out / ".records/onnx.fp32.json"
    while not record.exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    unfinished = not (out / "manifest.json").exists()
    kept = fp32.stat().st_mtime_ns

    said, complaints = export(student, out).communicate(timeout=300)

    assert complaints == b""
    files = {model["path"]: model["sha256"] for model in json.loads(said)["models"]}
    assert files == {m.path: m.sha256 for m in bundle.models if m.format == "onnx"}
    assert unfinished
    assert fp32.stat().st_mtime_ns == kept


def test_a_lost_file_is_made_again_and_a_second_target_is_added(student, tmp_path):
    out = tmp_path / "bundle"

    def again(*precisions):
        return export_student(
            student,
            ["onnx"],
            out,
            open_session=open_session,
            precisions=precisions,
            isolated=False,
        )

    first = again("fp32")
    (out / first.models[0].path).unlink()

    second = again("fp16")
    third = again("fp32")

    assert [model.precision for model in second.models] == ["fp16"]
    assert [model.precision for model in third.models] == ["fp32", "fp16"]
    assert third.models[0].sha256 == first.models[0].sha256


@pytest.mark.parametrize(
    ("targets", "precisions", "hint"),
    [
        (["andriod"], PRECISIONS, "did you mean 'android'?"),
        (["onnx"], ["int4"], "known: fp16, fp32, int8"),
        ([], PRECISIONS, "known: all, android,"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(
    student, tmp_path, targets, precisions, hint
):
    with pytest.raises(EdgekitError) as caught:
        export_student(
            student, targets, tmp_path / "b", open_session=open_session, precisions=precisions
        )

    assert hint in caught.value.hint
    assert caught.value.exit_code == 2
    assert not (tmp_path / "b").exists()


def test_a_student_folder_is_not_overwritten_by_its_bundle(student):
    before = (student / "manifest.json").read_bytes()

    with pytest.raises(BadInput, match="holds a student, not a bundle"):
        export_student(student, ["onnx"], student, open_session=open_session)

    assert (student / "manifest.json").read_bytes() == before


def test_a_place_that_cannot_be_written_is_refused_before_any_work(student, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError):
        export_student(student, ["onnx"], tmp_path / "file/b", open_session=open_session)


def test_a_worker_that_dies_names_its_log(student, tmp_path, monkeypatch):
    monkeypatch.setitem(worker.QUIET, "PYTHONHOME", "/nowhere")

    with pytest.raises(TargetUnsupported, match="the onnx converter ended with 1") as caught:
        export_student(student, ["onnx"], tmp_path / "b", open_session=open_session)

    assert "logs/onnx.log" in caught.value.hint
    assert "encodings" in (tmp_path / "b/logs/onnx.log").read_text()


def test_what_a_worker_complains_about_reaches_the_user(student, tmp_path):
    damaged = tmp_path / "student"
    shutil.copytree(student, damaged, ignore=shutil.ignore_patterns("bundle"))
    (damaged / "student.pt2").write_bytes(b"not a program")

    with pytest.raises(BadInput, match="not a program that torch"):
        export_student(damaged, ["onnx"], tmp_path / "b", open_session=open_session)


def test_a_session_function_that_no_other_process_can_import_is_a_mistake(student, tmp_path):
    with pytest.raises(ValueError, match="another process can import"):
        export_student(student, ["onnx"], tmp_path / "b", open_session=lambda path: None)


def test_a_missing_package_names_its_extra_before_any_work(student, tmp_path, monkeypatch):
    from edgekit.core.errors import DependencyMissing
    from edgekit.export import targets

    found = targets.find_spec
    monkeypatch.setattr(
        targets, "find_spec", lambda name: None if name == "litert_torch" else found(name)
    )

    with pytest.raises(DependencyMissing, match="litert-torch is not installed") as caught:
        export_student(student, ["onnx", "android"], tmp_path / "b", open_session=open_session)

    assert "edgekit-toolchain[android]" in caught.value.hint
    assert not (tmp_path / "b").exists()
