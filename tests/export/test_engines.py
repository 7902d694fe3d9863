"""TensorRT engines: built ahead of time here, refused in words where they cannot run."""

import json
import shutil

import onnx
import pytest
from onnx import TensorProto, helper
from tests.conftest import write_bundle, write_onnx

from edgekit.cli.main import run
from edgekit.core import cuda
from edgekit.core.cuda import Device
from edgekit.core.engines import BUILT, ENGINE, Fingerprint, mismatch, refused_device
from edgekit.core.errors import BadInput, DependencyMissing, TargetUnsupported
from edgekit.core.store import file_sha256, write_json
from edgekit.export import engines
from edgekit.export.engines import EngineRefused, build
from edgekit.runtime.sessions import obstacle, open_session
from edgekit.runtime.sessions import tensorrt as sessions

pytest.importorskip("tensorrt_rtx_bindings")

RTX_4090 = Device("NVIDIA GeForce RTX 4090", "8.9", "13.0")
H200 = Device("NVIDIA H200", "9.0", "13.0")
MADE = Fingerprint(
    backend="tensorrt_rtx",
    version="1.7.1.116",
    compute_capabilities=("8.6", "8.9"),
    driver="none",
    device="none",
    onnx_sha256="0" * 64,
)
ON_ORIN = MADE.model_copy(
    update={
        "backend": "tensorrt",
        "version": "10.8",
        "compute_capabilities": ("8.7",),
        "driver": "12.6",
        "device": "Orin",
    }
)


@pytest.fixture
def no_gpu(monkeypatch):
    for module in (cuda, sessions.cuda):
        monkeypatch.setattr(module, "device", lambda: None)
    monkeypatch.setattr("edgekit.runtime.sessions.device", lambda: None)


@pytest.fixture
def bundle(tmp_path):
    """A bundle whose only model is a .trt folder around an ONNX file of one operator."""
    folder = write_bundle(tmp_path / "b", files=(("onnx/toy.fp32.onnx", "onnx", "fp32"),))
    source = folder / "tensorrt/toy.fp32.trt"
    write_onnx(source / "model.onnx")
    digest = file_sha256(source / "model.onnx")
    write_json(source / "build.json", {"onnx": "model.onnx", "onnx_sha256": digest})
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["models"][0]
    more = {"target": "tensorrt", "format": "trt", "path": "tensorrt/toy.fp32.trt"}
    manifest["models"] = [{**entry, **more, "sha256": file_sha256(source)}]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def edgekit(capsys, *words):
    code = run([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_an_engine_is_built_without_a_gpu_and_says_for_what(tmp_path):
    source = write_onnx(tmp_path / "m.onnx")

    made = build(source, "tensorrt_rtx", compute_capabilities=("8.6", "12.0"))

    assert len(made.engine) > 1000
    assert made.fingerprint.compute_capabilities == ("8.6", "12.0")
    assert made.fingerprint.onnx_sha256 == file_sha256(source)
    assert made.fingerprint.version.startswith("1.")


def test_hopper_is_refused_by_the_builder_and_the_hint_names_the_way_out(tmp_path):
    with pytest.raises(TargetUnsupported, match=r"does not build for compute capability 9\.0") as e:
        build(write_onnx(tmp_path / "m.onnx"), "tensorrt_rtx", compute_capabilities=("9.0",))

    assert "8.6" in e.value.hint
    assert "edgekit trt build" in e.value.hint


def test_a_network_that_tensorrt_does_not_take_is_refused_with_its_own_words(tmp_path):
    value = helper.make_tensor_value_info
    node = helper.make_node("Frobnicate", ["image"], ["out"], domain="toy")
    graph = helper.make_graph(
        [node],
        "toy",
        [value("image", TensorProto.FLOAT, [1])],
        [value("out", TensorProto.FLOAT, [1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("toy", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")

    with pytest.raises(EngineRefused, match=r"Frobnicate|[Pp]lugin"):
        build(tmp_path / "m.onnx", "tensorrt_rtx", compute_capabilities=("8.6",))


@pytest.mark.parametrize(
    ("device", "backend", "words"),
    [
        (None, "tensorrt_rtx", "no NVIDIA driver"),
        (None, "tensorrt", "no NVIDIA driver"),
        (H200, "tensorrt_rtx", "refuses compute capability 9.0 (NVIDIA H200)"),
        (H200, "tensorrt", None),
        (RTX_4090, "tensorrt_rtx", None),
    ],
)
def test_a_machine_that_cannot_run_an_engine_is_told_why(device, backend, words):
    found = refused_device(device, backend)

    assert (found is None) if words is None else (words in found)


@pytest.mark.parametrize(
    ("made", "device", "version", "words"),
    [
        (MADE, RTX_4090, "1.7.1.116", None),
        (MADE, RTX_4090, "1.8.0", "installed is 1.8.0"),
        (MADE, Device("RTX 5090", "12.0", "13.0"), "1.7.1.116", "this GPU (RTX 5090) has 12.0"),
        (ON_ORIN, Device("Orin", "8.7", "12.6"), "10.8", None),
        (ON_ORIN, Device("Orin", "8.7", "12.9"), "10.8", "driver of CUDA 12.6, here is 12.9"),
        (ON_ORIN, Device("Orin Nano", "8.7", "12.6"), "10.8", "built on Orin, this GPU is Orin N"),
    ],
)
def test_an_engine_for_something_else_is_not_loaded(made, device, version, words):
    found = mismatch(made, device, version)

    assert (found is None) if words is None else (words in found)


def test_without_a_driver_a_session_says_so_before_anything_is_loaded(bundle, no_gpu):
    for suffix in (".engine", ".trt"):
        found = obstacle(bundle / f"x{suffix}")
        assert isinstance(found, TargetUnsupported)
        assert "no NVIDIA driver" in found.what

    with pytest.raises(TargetUnsupported, match="no NVIDIA driver"):
        open_session(bundle / "tensorrt/toy.fp32.trt")


def test_an_engine_of_another_version_is_not_loaded_even_with_a_fitting_gpu(
    bundle, monkeypatch, capsys
):
    edgekit(capsys, "trt", "build", bundle, "--backend", "tensorrt_rtx", "-q")
    place = bundle / BUILT / "toy.fp32.engine/engine.json"
    told = json.loads(place.read_text())
    place.write_text(json.dumps({**told, "version": "0.9"}))
    monkeypatch.setattr(sessions.cuda, "device", lambda: RTX_4090)

    with pytest.raises(TargetUnsupported, match=r"built by tensorrt_rtx 0\.9") as caught:
        sessions.open_file(bundle / "tensorrt/toy.fp32.trt", threads=1)

    assert "edgekit trt build" in caught.value.hint


def test_a_folder_without_an_engine_says_how_to_build_one(bundle):
    with pytest.raises(BadInput, match="holds no engine yet") as caught:
        sessions.open_file(bundle / "tensorrt/toy.fp32.trt", threads=1)

    assert "edgekit trt build" in caught.value.hint


def test_the_full_package_is_named_with_its_extra(bundle, capsys, monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)

    code, out, err = edgekit(capsys, "trt", "build", bundle, "-q")

    assert (code, out) == (3, "")
    assert "tensorrt is not installed" in err
    assert "edgekit-toolchain[tensorrt-full]" in err


def test_the_full_package_needs_its_gpu(bundle, no_gpu, monkeypatch):
    monkeypatch.setattr(engines, "library", lambda backend: None)

    with pytest.raises(TargetUnsupported, match="this machine has none") as caught:
        build(bundle / "tensorrt/toy.fp32.trt/model.onnx", "tensorrt")

    assert "--backend tensorrt_rtx" in caught.value.hint


def test_engines_are_built_once_and_again_after_a_change(bundle, capsys):
    words = ("trt", "build", bundle, "--backend", "tensorrt_rtx", "-q", "--json")

    first, second = (json.loads(edgekit(capsys, *words)[1])["engines"][0] for _ in range(2))
    third = json.loads(edgekit(capsys, *words, "--compute-capability", "12.1")[1])["engines"][0]

    assert [first["status"], second["status"], third["status"]] == ["built", "kept", "built"]
    assert third["compute_capabilities"] == "12.1"
    assert (bundle / BUILT / "toy.fp32.engine" / ENGINE).is_file()
    assert edgekit(capsys, "verify", bundle, "-q")[0] == 0  # the bundle itself is as it was


def test_a_changed_source_is_not_built(bundle, capsys):
    with (bundle / "tensorrt/toy.fp32.trt/model.onnx").open("ab") as file:
        file.write(b"x")

    code, _, err = edgekit(capsys, "trt", "build", bundle, "--backend", "tensorrt_rtx", "-q")

    assert code == 4
    assert "is not the folder that was exported" in err


@pytest.mark.parametrize(
    ("words", "code", "cause"),
    [
        (["--backend", "tensorrt-rtx"], 2, "did you mean 'tensorrt_rtx'?"),
        (["--backend", "tensorrt_rtx", "--compute-capability", "9.0"], 7, "9.0"),
        (["--backend", "tensorrt_rtx", "--precision", "int8"], 4, "holds no .trt folder"),
    ],
)
def test_a_mistake_is_one_sentence(bundle, capsys, words, code, cause):
    found, _, err = edgekit(capsys, "trt", "build", bundle, "-q", *words)

    assert found == code
    assert cause in err
    assert err.count("\n") == 2


def test_a_bundle_without_sources_says_what_to_export(tmp_path, capsys):
    folder = write_bundle(tmp_path / "b", files=(("onnx/toy.fp32.onnx", "onnx", "fp32"),))
    shutil.rmtree(folder / "golden")

    code, _, err = edgekit(capsys, "trt", "build", folder, "--backend", "tensorrt_rtx", "-q")

    assert code == 4
    assert "--target tensorrt" in err


def test_missing_bindings_name_the_extra(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)

    with pytest.raises(DependencyMissing) as caught:
        engines.library("tensorrt_rtx")

    assert "edgekit-toolchain[tensorrt]" in caught.value.hint
