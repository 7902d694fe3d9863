"""OpenVINO, ExecuTorch and TensorRT files: made, executed, repeated, and refused in words."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tests import needs
from tests.export.programs import write_student
from tests.students import tiny_student

from edgekit.core.errors import BadInput, DependencyMissing, EdgekitError, TargetUnsupported
from edgekit.core.store import file_sha256
from edgekit.export import targets
from edgekit.export.bundle import export_student
from edgekit.export.targets import Options, checked_options, checked_targets, wanted_rows
from edgekit.runtime.sessions import open_session
from edgekit.runtime.verify import verify_bundle

NAME = "make-it-night"
pytestmark = needs.EVERYTHING


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("targets") / "student", styled=True)


def made(student, out, *names, options=None, precisions=("fp32", "fp16", "int8"), isolated=False):
    return export_student(
        student,
        names,
        out,
        open_session=open_session,
        options=options or Options(),
        precisions=precisions,
        isolated=isolated,
    )


@pytest.fixture(scope="module")
def gan(tmp_path_factory):
    """A small concept GAN."""
    return tiny_student(tmp_path_factory.mktemp("gan") / "student", name=NAME)


@pytest.fixture(scope="module")
def quick(gan):
    """OpenVINO and TensorRT in every precision, in processes of their own."""
    out = gan / "bundle"
    return out, made(gan, out, "openvino", "tensorrt", isolated=True)


def rows_of(bundle):
    return {(model.format, model.precision): model for model in bundle.models}


def test_openvino_runs_every_precision_that_it_ships(quick):
    found = {kind: row for (form, kind), row in rows_of(quick[1]).items() if form == "openvino"}

    assert set(found) == {"fp32", "fp16", "int8"}
    assert all(row.executed for row in found.values())
    assert found["fp32"].parity.max_abs < 1e-4
    assert found["int8"].parity.worst_psnr_db >= 35
    assert max(found["int8"].bytes, found["fp16"].bytes) < found["fp32"].bytes
    assert "nncf" in found["int8"].recipe


def test_tensorrt_rows_say_what_was_run_in_place_of_the_engine(quick):
    found = {key: row for key, row in rows_of(quick[1]).items() if row.target == "tensorrt"}

    assert {("engine", "fp32"), ("engine", "fp16"), ("trt", "fp32"), ("trt", "int8")} <= set(found)
    for (form, _), row in found.items():
        assert not row.executed
        assert row.parity.protocol.endswith("/onnx-source")
        assert bool(row.fingerprint) is (form == "engine")
    fingerprint = found["engine", "fp16"].fingerprint
    assert fingerprint["compute_capabilities"] == "8.0 8.6 8.9 12.0"
    assert fingerprint["driver"] == "none"


def test_int8_for_tensorrt_has_no_zero_points_and_float_biases(quick):
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(quick[0] / f"tensorrt/{NAME}.int8.trt/model.onnx").graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    zero_points = [
        values[node.input[2]]
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2
    ]

    assert zero_points
    assert all(value.dtype == np.int8 and not value.any() for value in zero_points)


@pytest.mark.parametrize("flip", ["model.xml", "model.bin"])
def test_a_damaged_openvino_folder_fails_verification(quick, tmp_path, flip):
    folder = tmp_path / "b"
    shutil.copytree(quick[0], folder)
    file = folder / f"openvino/{NAME}.fp32.openvino" / flip
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(bytes(content))

    failed = [check.path for check in verify_bundle(folder).checks if check.status == "failed"]

    assert failed == [f"openvino/{NAME}.fp32.openvino"]


def test_a_folder_that_is_no_model_is_bad_input(tmp_path):
    (tmp_path / "x.openvino").mkdir()

    with pytest.raises(BadInput, match="cannot be loaded"):
        open_session(tmp_path / "x.openvino")


def test_telemetry_is_off_before_the_packages_that_report_home_are_imported():
    program = (
        "import sys; import edgekit.export.targets.openvino, edgekit.runtime.sessions.openvino;"
        "print(sys.modules['openvino_telemetry'], 'openvino' in sys.modules, 'nncf' in sys.modules)"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert said.stdout.split() == ["None", "True", "True"], said.stderr


@pytest.mark.slow
def test_a_repeated_export_gives_the_same_bytes(gan, quick, tmp_path):
    """In processes of their own, as users' exports are: counters and addresses start anew."""
    again = made(
        gan, tmp_path / "b", "openvino", "tensorrt", precisions=("fp32", "fp16"), isolated=True
    )

    first = {model.path: model.sha256 for model in quick[1].models}
    assert len(again.models) == 6
    assert {model.path: model.sha256 for model in again.models}.items() <= first.items()


@pytest.mark.slow
def test_executorch_runs_what_it_ships_and_refuses_half_precision_with_a_reason(gan, tmp_path):
    bundle = made(gan, tmp_path / "b", "executorch")

    found = rows_of(bundle)
    assert set(found) == {("pte", "fp32"), ("pte", "int8")}
    assert all(row.executed for row in found.values())
    assert found["pte", "fp32"].parity.max_abs < 1e-4
    assert found["pte", "int8"].bytes < 0.6 * found["pte", "fp32"].bytes
    assert found["pte", "fp32"].placement["XnnpackBackend: Conv2d"] > 10
    assert "keep their weights in float32" in bundle.refused[0].reason
    session = open_session(tmp_path / f"b/executorch/{NAME}.fp32.pte", threads=2)
    assert [port.name for port in session.inputs] == ["image"]
    assert verify_bundle(tmp_path / "b").passed


@pytest.mark.slow
def test_a_program_for_core_ml_is_shipped_as_not_executed(student, tmp_path):
    bundle = made(
        student,
        tmp_path / "b",
        "executorch",
        options=Options(delegate="coreml", ios=17),
        precisions=("fp16",),
    )

    (row,) = bundle.models
    assert not row.executed
    assert row.parity is None
    assert "Core ML delegate for iOS 17" in row.recipe
    assert row.placement == {"CoreMLBackend": 1}
    with pytest.raises(TargetUnsupported, match="CoreMLBackend, which this system does not have"):
        open_session(tmp_path / "b" / row.path)
    assert [c.status for c in verify_bundle(tmp_path / "b").checks] == ["not executable here"]


def test_a_file_cut_short_is_bad_input(tmp_path):
    (tmp_path / "x.pte").write_bytes(b"\0\0\0\0ET12" + b"x" * 100)

    with pytest.raises(BadInput, match="cannot be loaded"):
        open_session(tmp_path / "x.pte")


def test_web_and_all_stand_for_targets():
    assert checked_targets(["web"]) == ("onnx", "android")
    assert checked_targets(["web", "openvino"]) == ("onnx", "android", "openvino")
    assert set(checked_targets(["all"])) == set(targets.TARGETS)
    assert {form for form, _ in wanted_rows(["web"])} == {"onnx", "tflite"}


def test_all_leaves_out_what_is_not_installed_and_says_which_extra_brings_it(monkeypatch):
    found = targets.find_spec
    monkeypatch.setattr(targets, "find_spec", lambda n: None if n == "nncf" else found(n))

    assert "openvino" not in checked_targets(["all"])
    missing = targets.missing_targets()
    assert list(missing) == ["openvino"]
    assert "edgekit-toolchain[openvino]" in missing["openvino"].hint
    with pytest.raises(DependencyMissing, match="nncf is not installed"):
        checked_targets(["openvino"])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (Options(ios=15), 2, "unknown iOS version"),
        (Options(sizes=(100, 256)), 2, "--size 100 is not a multiple of 8"),
        (Options(compute_capabilities=("9.0",)), 7, "compute capability 9.0"),
        (Options(delegate="vulkan"), 2, "unknown delegate 'vulkan'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_any_work(
    student, tmp_path, options, code, words
):
    with pytest.raises(EdgekitError) as caught:
        made(student, tmp_path / "b", "onnx", options=options)

    assert caught.value.exit_code == code
    assert words in caught.value.what
    assert not (tmp_path / "b").exists()
    assert checked_options(Options()) == Options()


def test_a_format_of_one_size_says_how_to_get_several(student, tmp_path):
    with pytest.raises(TargetUnsupported, match="give one --size at a time"):
        made(student, tmp_path / "b", "openvino", options=Options(sizes=(32, 64)))


def test_mixed_precision_is_not_for_an_export():
    with pytest.raises(EdgekitError, match="layer by layer") as caught:
        wanted_rows(["onnx"], ["mixed"])

    assert "edgekit optimize" in caught.value.hint


def test_a_later_target_keeps_what_was_exported_with_other_options(student, tmp_path):
    asked = Options(compute_capabilities=("8.6",))
    first = made(student, tmp_path / "b", "tensorrt", options=asked, precisions=("fp32",))

    both = made(student, tmp_path / "b", "onnx", precisions=("fp32",))

    kept = {model.path: model.sha256 for model in both.models}
    assert {model.path: model.sha256 for model in first.models}.items() <= kept.items()
    assert len(kept) == 3


def test_another_size_is_exported_for_every_target_and_checked_there(student, tmp_path, capfd):
    from edgekit.cli.main import run

    out = tmp_path / "b"
    words = ["export", str(student), "--target", "onnx", "--size", "48"]

    code = run([*words, "--precision", "fp32", "--out", str(out), "--json", "-q"])

    said, complaints = capfd.readouterr()
    assert code == 0, complaints
    answer = json.loads(said)
    assert answer["student"]["size_px"] == 48
    assert {row["inputs"][0]["shape"][2] for row in answer["models"]} == {48}
    assert set(answer["workers"]) == {"onnx"}
    assert verify_bundle(out).passed
    assert file_sha256(out / ".student-48/student.pt2") == answer["student"]["sha256"]
