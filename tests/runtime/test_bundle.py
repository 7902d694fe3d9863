import json

import numpy as np
import pytest

from edgekit.core.errors import BadInput, EdgekitError, TargetUnsupported
from edgekit.core.manifest import read_bundle
from edgekit.core.seams import Port
from edgekit.runtime import open_bundle, sessions
from edgekit.runtime.bundle import bundle_folder, chosen, limited
from edgekit.runtime.pipeline import from_golden, photo_port, to_golden
from edgekit.runtime.sessions.fake import FakeSession
from edgekit.runtime.verify import psnr_db, verify_bundle


def test_the_fastest_file_that_can_run_here_is_taken(toy_bundle):
    opened = open_bundle(toy_bundle)

    assert opened.entry.path == "android/toy.fp32.tflite"


def test_a_format_whose_runtime_is_missing_is_passed_over(toy_bundle, monkeypatch):
    found = sessions.find_spec
    monkeypatch.setattr(
        sessions, "find_spec", lambda name: None if name == "ai_edge_litert" else found(name)
    )

    assert open_bundle(toy_bundle).entry.path == "onnx/toy.fp32.onnx"


@pytest.mark.parametrize("target", ["onnx", "android"])
def test_a_photo_of_any_size_comes_back_edited_at_its_size(toy_bundle, target):
    photo = np.random.default_rng(1).integers(0, 256, (75, 131, 3), np.uint8)

    edited = open_bundle(toy_bundle, target=target).edit(photo)

    np.testing.assert_array_equal(edited, 255 - photo)


def test_max_side_scales_down_and_never_up():
    photo = np.zeros((100, 300, 3), np.uint8)

    assert limited(photo, 150).shape == (50, 150, 3)
    assert limited(photo, 600).shape == photo.shape


def test_an_unknown_target_is_a_usage_error_with_the_nearest_name(toy_bundle):
    with pytest.raises(EdgekitError, match="did you mean 'android'") as caught:
        open_bundle(toy_bundle, target="andriod")

    assert caught.value.exit_code == 2


def test_a_file_that_cannot_run_here_says_so(toy_bundle, monkeypatch):
    monkeypatch.setattr(sessions.sys, "platform", "linux")

    with pytest.raises(TargetUnsupported, match="macOS only"):
        open_bundle(toy_bundle, target="ios")


def test_a_refused_precision_says_why_it_was_refused(toy_bundle):
    with pytest.raises(BadInput, match=r"33\.1 dB, below 35 dB"):
        chosen(read_bundle(toy_bundle), None, "int8")


def test_a_file_changed_after_export_is_not_run(tmp_path, make_bundle):
    folder = make_bundle(tmp_path / "b")
    with (folder / "onnx/toy.fp32.onnx").open("ab") as file:
        file.write(b"x")

    with pytest.raises(BadInput, match="not the file that was exported"):
        open_bundle(folder)


def test_a_run_folder_stands_for_the_bundle_in_it(tmp_path, make_bundle):
    inside = make_bundle(tmp_path / "run" / "bundle")

    assert bundle_folder(tmp_path / "run") == inside
    assert bundle_folder(inside) == inside


def test_a_model_that_takes_more_than_a_photo_is_refused():
    ports = (Port("image", (1, 3, 8, 8)), Port("context", (1, 16, 4), layout="flat"))

    with pytest.raises(TargetUnsupported, match="context"):
        photo_port(ports, "input")


def test_a_whole_bundle_passes_and_names_what_cannot_run_here(toy_bundle, monkeypatch):
    monkeypatch.setattr(sessions.sys, "platform", "linux")

    found = verify_bundle(toy_bundle)

    assert found.passed
    assert [check.status for check in found.checks] == ["ok", "ok", "not executable here"]
    assert [check.max_abs for check in found.checks] == [0.0, 0.0, None]


def test_a_file_that_computes_something_else_fails(tmp_path, make_bundle):
    found = verify_bundle(make_bundle(tmp_path / "b", op="Abs"))

    assert not found.passed
    assert [check.status for check in found.checks[:2]] == ["failed", "ok"]
    assert "outside the bar" in found.checks[0].reason


@pytest.mark.parametrize("harm", ["changed", "missing", "other ports"])
def test_a_harmed_file_fails_in_its_row(tmp_path, make_bundle, harm):
    folder = make_bundle(tmp_path / "b")
    file = folder / "onnx/toy.fp32.onnx"
    if harm == "changed":
        file.write_bytes(file.read_bytes() + b"x")
    elif harm == "missing":
        file.unlink()
    else:
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"image_out"', '"picture"', 1))

    found = verify_bundle(folder)

    assert [check.status for check in found.checks[:2]] == ["failed", "ok"]
    assert {"changed": "sha256", "missing": "missing", "other ports": "picture"}[harm] in (
        found.checks[0].reason
    )


def test_nothing_executable_is_not_a_pass(tmp_path, make_bundle, monkeypatch):
    monkeypatch.setattr(sessions.sys, "platform", "linux")
    folder = make_bundle(tmp_path / "b", files=(("ios/toy.fp16.mlpackage", "ios", "fp16"),))

    assert not verify_bundle(folder).passed


@pytest.mark.parametrize(("off_by", "status"), [(0, "ok"), (1, "ok"), (2, "failed")])
def test_a_file_that_gives_bytes_may_be_off_by_one_level(tmp_path, make_bundle, off_by, status):
    folder = make_bundle(tmp_path / "b", files=(("onnx/toy.fp32.onnx", "onnx", "fp32"),))
    manifest = json.loads((folder / "manifest.json").read_text())
    for port in (*manifest["models"][0]["inputs"], *manifest["models"][0]["outputs"]):
        port |= {"dtype": "image", "layout": "image", "shape": [1, 32, 32, 3]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    ports = [Port(name, (1, 32, 32, 3), "uint8", "nhwc", 0, 255) for name in ("image", "image_out")]
    session = FakeSession(
        lambda image: np.clip(255 - image.astype(int) + off_by, 0, 255).astype(np.uint8),
        (ports[0],),
        (ports[1],),
    )

    found = verify_bundle(folder, open_file=lambda path: session)

    assert found.checks[0].status == status


def test_changed_golden_vectors_are_refused(tmp_path, make_bundle):
    folder = make_bundle(tmp_path / "b")
    np.savez(folder / "golden/vectors.npz", image=np.zeros(1), image_out=np.zeros(1))

    with pytest.raises(BadInput, match="other sha256"):
        verify_bundle(folder)


@pytest.mark.parametrize(
    "port",
    [
        Port("image", (1, 3, 4, 5)),
        Port("image", (1, 4, 5, 3), layout="nhwc"),
        Port("image", (1, 4, 5, 3), "uint8", "nhwc", 0.0, 255.0),
        Port("image", (1, 4, 5, 3), "uint8", "nhwc"),
        Port("image", (1, 3, 4, 5), "float32", "nchw", 0.0, 1.0),
    ],
    ids=["nchw", "nhwc", "bytes", "picture", "zero to one"],
)
def test_golden_vectors_survive_the_way_into_a_port_and_back(port):
    levels = np.random.default_rng(2).integers(0, 256, (1, 3, 4, 5))
    golden = (levels / 127.5 - 1).astype(np.float32)

    fed = from_golden({"image": golden}, (port,))["image"]

    assert fed.shape == port.shape
    assert fed.dtype == np.dtype(port.dtype)
    np.testing.assert_allclose(to_golden(fed, port), golden, atol=1e-6)


def test_nan_scores_below_every_bar():
    image = np.zeros((1, 3, 2, 2), np.float32)

    assert psnr_db(image, image + np.float32(np.nan)) < 0
    assert psnr_db(image, image + np.float32(0.02)) == pytest.approx(40)
