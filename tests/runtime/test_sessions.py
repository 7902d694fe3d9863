import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests import needs

from edgekit.core.errors import BadInput, DependencyMissing, EdgekitError, TargetUnsupported
from edgekit.core.seams import Port, Session
from edgekit.runtime import open_bundle, sessions
from edgekit.runtime.sessions import obstacle, open_session
from edgekit.runtime.sessions.fake import fake_image_session

FILES = ("onnx/toy.fp32.onnx", "android/toy.fp32.tflite")


@pytest.mark.parametrize("file", FILES)
def test_a_file_runs_by_the_names_it_carries(toy_bundle, file):
    session = open_session(toy_bundle / file)
    values = np.linspace(-1, 1, 3 * 32 * 32, dtype=np.float32).reshape(session.inputs[0].shape)

    results = session.run({"image": values})

    assert isinstance(session, Session)
    np.testing.assert_array_equal(results["image_out"], -values)


@pytest.mark.parametrize(
    ("file", "shape", "layout"),
    [(FILES[0], (1, 3, 32, 32), "nchw"), (FILES[1], (1, 32, 32, 3), "nhwc")],
)
def test_ports_are_read_from_the_file(toy_bundle, file, shape, layout):
    session = open_session(toy_bundle / file)

    assert session.inputs == (Port("image", shape, "float32", layout),)
    assert session.outputs == (Port("image_out", shape, "float32", layout),)


@pytest.mark.parametrize(
    "feeds",
    [
        {"picture": np.zeros((1, 3, 32, 32), np.float32)},
        {"image": np.zeros((1, 32, 32, 3), np.float32)},
        {"image": np.zeros((1, 3, 32, 32), np.float64)},
    ],
    ids=["name", "layout", "dtype"],
)
def test_a_wrong_feed_is_refused_not_converted(toy_bundle, feeds):
    session = open_session(toy_bundle / FILES[0])

    with pytest.raises(ValueError, match="expected"):
        session.run(feeds)


@pytest.mark.parametrize(
    "suffix",
    [
        ".onnx",
        ".tflite",
        ".aimodel",
        pytest.param(".openvino", marks=needs.OPENVINO),
        pytest.param(".pte", marks=needs.EXECUTORCH),
    ],
)
@pytest.mark.parametrize("content", [b"", b"not a model", bytes(4096)])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, suffix, content):
    file = tmp_path / f"night{suffix}"
    if sessions.BACKENDS[suffix].folder:
        file.mkdir()
        for name in ("main.mlirb", "main.hash", "model.xml", "model.bin"):
            (file / name).write_bytes(content)
    else:
        file.write_bytes(content)

    with pytest.raises(BadInput, match="cannot be loaded") as failed:
        open_session(file)

    assert str(file) in failed.value.what
    assert "copy the file again" in failed.value.hint


@pytest.mark.parametrize("suffix", list(sessions.BACKENDS))
def test_a_folder_for_a_file_and_a_file_for_a_folder_are_named(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(sessions, "obstacle", lambda path: None)
    wrong = tmp_path / f"night{suffix}"
    if sessions.BACKENDS[suffix].folder:
        wrong.touch()
    else:
        wrong.mkdir()

    with pytest.raises(BadInput, match=r"night.* is a (file|folder), a .* is a (file|folder)"):
        open_session(wrong)


def test_a_file_that_may_not_be_read_is_named(toy_bundle, monkeypatch):
    def denied(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)

    with pytest.raises(BadInput, match=r"toy\.fp32\.tflite cannot be read: Permission denied"):
        open_session(toy_bundle / FILES[1])


def test_a_provider_is_what_runs_or_an_error(toy_bundle):
    plain = open_session(toy_bundle / FILES[1], provider="plain")
    values = np.ones((1, 32, 32, 3), np.float32)

    assert plain.run({"image": values})["image_out"].max() == -1
    with pytest.raises(TargetUnsupported, match="cuda") as failed:
        open_session(toy_bundle / FILES[0], provider="cuda")
    assert "choose one of: cpu" in failed.value.hint


def test_a_misspelt_provider_names_the_ones_of_the_format(toy_bundle):
    with pytest.raises(EdgekitError, match=r"provider of \.tflite files 'xnpack'") as failed:
        open_session(toy_bundle / FILES[1], provider="xnpack")

    assert "did you mean 'xnnpack'" in failed.value.hint


def test_a_bundle_takes_the_file_that_has_the_provider(toy_bundle):
    assert open_bundle(toy_bundle, provider="xnnpack").entry.format == "tflite"
    assert open_bundle(toy_bundle, provider="plain").entry.format == "tflite"
    assert open_bundle(toy_bundle, provider="cpu").entry.format == "onnx"
    with pytest.raises(BadInput, match="no file that runs on npu"):
        open_bundle(toy_bundle, provider="npu")
    with pytest.raises(EdgekitError, match="unknown provider 'gpuu'"):
        open_bundle(toy_bundle, provider="gpuu")


def test_every_opener_takes_what_the_table_promises():
    for suffix, backend in sessions.BACKENDS.items():
        source = Path(sessions.__file__).parent / f"{backend.module.rpartition('.')[2]}.py"
        text = source.read_text()
        assert f'provider: str = "{backend.providers[0]}"' in text, suffix
        for name in backend.providers[1:]:
            assert f'"{name}"' in text or suffix == ".openvino", (suffix, name)


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        open_session(tmp_path / "night.onnx")


def test_an_unknown_suffix_names_the_known_ones(tmp_path):
    with pytest.raises(EdgekitError, match=r"\.tflite"):
        open_session(tmp_path / "night.tflit")


@pytest.mark.parametrize(
    ("name", "extra"), [("a.onnx", "onnx"), ("a.tflite", "android"), ("a.aimodel", "ios")]
)
def test_a_missing_package_names_the_extra_to_install(tmp_path, monkeypatch, name, extra):
    monkeypatch.setattr(sessions, "find_spec", lambda module: None)
    (tmp_path / name).touch()

    with pytest.raises(DependencyMissing, match=rf"edgekit-toolchain\[{extra}\]"):
        open_session(tmp_path / name)


def test_core_ml_is_refused_off_macos_with_a_sentence(monkeypatch):
    monkeypatch.setattr(sessions.sys, "platform", "linux")

    assert isinstance(obstacle(Path("a.mlpackage")), TargetUnsupported)


def test_a_file_written_anew_under_an_open_session_does_not_disturb_it(tmp_path, make_bundle):
    file = make_bundle(tmp_path / "b") / FILES[1]
    session = open_session(file)
    values = np.ones((1, 32, 32, 3), np.float32)

    file.write_bytes(b"")

    assert session.run({"image": values})["image_out"].max() == -1


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_start_at_one(toy_bundle, threads):
    with pytest.raises(ValueError, match="threads"):
        open_session(toy_bundle / FILES[0], threads=threads)


def test_the_fake_is_a_session_that_checks_its_feeds():
    session = fake_image_session(np.negative, size=4)
    image = np.ones((1, 3, 4, 4), np.float32)

    assert isinstance(session, Session)
    assert session.run({"image": image})["image_out"].max() == -1


def test_running_files_imports_no_torch_and_says_nothing(toy_bundle):
    program = (
        "import sys; import numpy as np; from pathlib import Path\n"
        "from edgekit.runtime import open_bundle\n"
        "from edgekit.runtime.verify import verify_bundle\n"
        f"folder = Path({str(toy_bundle)!r})\n"
        "assert verify_bundle(folder).passed\n"
        "open_bundle(folder).edit(np.zeros((40, 50, 3), np.uint8))\n"
        "assert 'onnxruntime' in sys.modules and 'ai_edge_litert' in sys.modules\n"
        "assert not {'torch', 'transformers', 'coremltools'} & set(sys.modules), 'heavy'\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
