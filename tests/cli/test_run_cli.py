"""``edgekit run`` and ``edgekit verify`` as a user meets them, with everything that goes wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.cli.main import run


def edgekit(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = run([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def photo(tmp_path) -> Path:
    file = tmp_path / "photo.png"
    Image.fromarray(pixels(50, 70)).save(file)
    return file


def pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def test_a_photo_is_edited_at_its_own_size(toy_bundle, photo, tmp_path, capsys):
    out = tmp_path / "new" / "out.png"

    code, said, _ = edgekit(capsys, "run", toy_bundle, photo, "-o", out)

    assert (code, said.split()[1]) == (0, "70x50")
    np.testing.assert_array_equal(np.asarray(Image.open(out)), 255 - pixels(50, 70))


def test_json_and_quiet_leave_only_data_on_stdout(toy_bundle, photo, tmp_path, capsys):
    code, said, complaints = edgekit(
        capsys, "run", toy_bundle, photo, "-o", tmp_path / "o.png", "--json", "-q"
    )

    assert (code, complaints) == (0, "")
    assert json.loads(said)["model"] == "android/toy.fp32.tflite"


def test_a_dry_run_writes_nothing(toy_bundle, photo, tmp_path, capsys):
    code, said, _ = edgekit(capsys, "run", toy_bundle, photo, "-o", tmp_path / "o.png", "--dry-run")

    assert code == 0
    assert json.loads(said)["photos"] == {str(photo): str(tmp_path / "o.png")}
    assert not (tmp_path / "o.png").exists()


def test_a_folder_is_edited_photo_by_photo_and_a_bad_one_stops_nothing(
    toy_bundle, tmp_path, capsys
):
    album = tmp_path / "album"
    (album / "sub").mkdir(parents=True)
    for name in ("a.png", "a.jpg", "sub/b.png"):
        Image.fromarray(pixels(40, 40)).save(album / name)
    (album / "broken.jpg").write_bytes(b"no image")

    code, said, complaint = edgekit(capsys, "run", toy_bundle, album, "-o", tmp_path / "out")

    written = sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*.png"))
    assert [str(path) for path in written] == ["a.jpg.png", "a.png.png", "sub/b.png"]
    assert code == 4
    assert "broken.jpg is not an image" in said
    assert "1 of 4 photos" in complaint


def test_max_side_scales_the_result(toy_bundle, photo, tmp_path, capsys):
    out = tmp_path / "o.jpg"

    edgekit(capsys, "run", toy_bundle, photo, "-o", out, "--max-side", 35)

    assert Image.open(out).size == (35, 25)


def rotated(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(50, 70)).save(file, exif=exif)


@pytest.mark.parametrize(
    ("name", "write", "size"),
    [
        ("cmyk.jpg", lambda f: Image.fromarray(pixels(40, 60)).convert("CMYK").save(f), (60, 40)),
        ("alpha.png", lambda f: Image.fromarray(pixels(40, 60)).convert("RGBA").save(f), (60, 40)),
        (
            "deep.png",
            lambda f: Image.fromarray(pixels(40, 60)[..., 0].astype(np.uint16) * 256).save(f),
            (60, 40),
        ),
        ("turned.jpg", rotated, (50, 70)),
    ],
    ids=["CMYK", "alpha", "16 bit", "EXIF rotated"],
)
def test_unusual_photos_are_edited_upright(toy_bundle, tmp_path, capsys, name, write, size):
    write(tmp_path / name)

    code, _, _ = edgekit(capsys, "run", toy_bundle, tmp_path / name, "-o", tmp_path / "o.png")

    assert code == 0
    assert Image.open(tmp_path / "o.png").size == size


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["nowhere", "photo.png", "-o", "o.png"], 4, "nowhere does not exist"),
        (["album", "photo.png", "-o", "o.png"], 4, "album is not a bundle"),
        (["BUNDLE", "nowhere.png", "-o", "o.png"], 4, "nowhere.png does not exist"),
        (["BUNDLE", "album", "-o", "o"], 4, "album holds no photo"),
        (["BUNDLE", "broken.jpg", "-o", "o.png"], 4, "not an image that can be decoded"),
        (["BUNDLE", "dot.png", "-o", "o.png"], 4, "1x1 pixels"),
        (["BUNDLE", "photo.png", "-o", "o.gif"], 4, "cannot write the image format '.gif'"),
        (["BUNDLE", "photo.png", "-o", "photo.png"], 4, "is the photo itself"),
        (["BUNDLE", "photo.png", "-o", "dot.png/o.png"], 4, "cannot be written"),
        (["BUNDLE", "photo.png", "-o", "o.png", "--target", "ios"], 7, "macOS only"),
        (["BUNDLE", "photo.png", "-o", "o.png", "--target", "andriod"], 2, "unknown target"),
        (["BUNDLE", "photo.png", "-o", "o.png", "--precision", "int4"], 2, "unknown precision"),
        (["BUNDLE", "photo.png", "-o", "o.png", "--precision", "int8"], 4, "33.1 dB"),
        (["BUNDLE", "photo.png", "-o", "o.png", "--max-side", "3"], 2, "max-side"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_code(
    toy_bundle, photo, monkeypatch, capsys, words, code, sentence
):
    monkeypatch.chdir(photo.parent)
    monkeypatch.setattr("edgekit.runtime.sessions.sys.platform", "linux")
    Path("album").mkdir()
    Path("broken.jpg").write_bytes(photo.read_bytes()[:200])
    Image.new("RGB", (1, 1)).save("dot.png")
    before = {file: file.read_bytes() for file in Path().rglob("*.*") if file.is_file()}

    got, said, complaint = edgekit(
        capsys, "run", *(toy_bundle if word == "BUNDLE" else word for word in words), "-q"
    )

    assert (got, said) == (code, "")
    assert sentence in complaint
    assert "Traceback" not in complaint
    assert complaint.count("\n") == 2
    assert {file: file.read_bytes() for file in Path().rglob("*.*") if file.is_file()} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that can be filled")
def test_a_full_disk_loses_nothing(toy_bundle, photo, tmp_path, capsys, monkeypatch):
    out = tmp_path / "o.png"
    out.write_bytes(b"kept")

    def full(handle: int) -> None:
        os.write(os.open("/dev/full", os.O_WRONLY), b"x")  # a real ENOSPC from the kernel

    monkeypatch.setattr("edgekit.core.store.os.fsync", full)

    code, _, complaint = edgekit(capsys, "run", toy_bundle, photo, "-o", out, "-q")

    assert (code, out.read_bytes()) == (4, b"kept")
    assert "the disk is full" in complaint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.png", "photo.png"]


@pytest.mark.slow
def test_a_50_megapixel_photo_takes_less_than_two_gigabytes(tmp_path, make_bundle):
    """Peak memory of the whole command; a toy model with large tiles keeps the time down."""
    big = tmp_path / "big.jpg"
    Image.fromarray(np.resize(pixels(60, 8660), (5774, 8660, 3))).save(big, quality=60)
    program = (
        "import resource, sys; from edgekit.cli.main import run\n"
        f"code = run(['run', {str(make_bundle(tmp_path / 'b'))!r}, {str(big)!r},"
        f" '-o', {str(tmp_path / 'o.jpg')!r}, '-q'])\n"
        "print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    code, peak_mb = done.stdout.split()[-2:]
    assert code == "0", done.stderr
    assert int(peak_mb) < 2000
    assert Image.open(tmp_path / "o.jpg").size == (8660, 5774)


def test_verify_prints_a_table_and_succeeds(toy_bundle, capsys, monkeypatch):
    monkeypatch.setattr("edgekit.runtime.sessions.sys.platform", "linux")

    code, said, _ = edgekit(capsys, "verify", toy_bundle)

    assert code == 0
    assert [line.split()[:2] for line in said.splitlines()[1:3]] == [
        ["onnx/toy.fp32.onnx", "ok"],
        ["android/toy.fp32.tflite", "ok"],
    ]
    assert "not executable here" in said


def test_verify_ends_with_5_when_a_file_fails_and_json_still_has_the_rows(
    tmp_path, make_bundle, capsys
):
    folder = make_bundle(tmp_path / "b", op="Abs")

    code, said, complaint = edgekit(capsys, "verify", folder, "--json", "-q")

    assert code == 5
    assert [row["status"] for row in json.loads(said)["checks"]][:2] == ["failed", "ok"]
    assert "onnx/toy.fp32.onnx" in complaint


def test_verify_evaluates_core_ml_files_where_core_ml_is_not(
    tmp_path, make_bundle, capsys, monkeypatch
):
    """The golden vectors of the toy bundle, a real package, and the exporter's evaluator."""
    coremltools = pytest.importorskip("coremltools")
    pytest.importorskip("torch")
    from coremltools.converters.mil import Builder

    from edgekit.core.store import file_sha256

    monkeypatch.setattr("edgekit.runtime.sessions.sys.platform", "linux")

    @Builder.program(
        input_specs=[Builder.TensorSpec((1, 3, 32, 32))], opset_version=coremltools.target.iOS16
    )
    def negative(image):
        return Builder.mul(x=image, y=-1.0, name="image_out")

    folder = make_bundle(tmp_path / "b", files=(("ios/toy.fp32.mlpackage", "ios", "fp32"),))
    package = folder / "ios/toy.fp32.mlpackage"
    shutil.rmtree(package)
    coremltools.convert(
        negative,
        inputs=[coremltools.TensorType(name="image", shape=(1, 3, 32, 32))],
        compute_precision=coremltools.precision.FLOAT32,
        minimum_deployment_target=coremltools.target.iOS16,
        skip_model_load=True,
    ).save(str(package))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["models"][0]["sha256"] = file_sha256(package)
    (folder / "manifest.json").write_text(json.dumps(manifest))

    code, said, _ = edgekit(capsys, "verify", folder)

    assert code == 0
    assert "ok, evaluated" in said
    assert "not by the runtime of the format" in said


def test_verify_of_files_that_all_need_a_mac_ends_with_7(
    tmp_path, make_bundle, capsys, monkeypatch
):
    monkeypatch.setattr("edgekit.runtime.sessions.sys.platform", "linux")
    folder = make_bundle(tmp_path / "b", files=(("ios/toy.fp16.mlpackage", "ios", "fp16"),))

    code, _, complaint = edgekit(capsys, "verify", folder, "-q")

    assert code == 7
    assert "no file" in complaint


def test_a_provider_that_is_not_here_ends_with_7_and_a_wrong_one_with_2(
    toy_bundle, tmp_path, capsys
):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (32, 32)).save(photo)
    words = ["run", str(toy_bundle), str(photo), "--out", str(tmp_path / "x.png"), "--provider"]

    codes = [run([*words, name]) for name in ("cuda", "cudda", "plain")]

    said = capsys.readouterr().err
    assert codes == [7, 2, 0]
    assert "choose one of: cpu" in said
    assert "did you mean 'cuda'" in said
