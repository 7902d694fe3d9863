"""A portrait bundle through the app's classes on Linux: faces found, restored and put back."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests import needs
from tests.ios.portraits import in_python, photos, with_nets
from tests.ios.swift import engine

from edgekit.cli.main import run
from edgekit.core.images import load_photo
from edgekit.core.tensors import Photo
from edgekit.distill.faces.detect import found_faces
from edgekit.runtime import OpenBundle, open_bundle

pytestmark = [
    needs.SWIFT,
    needs.FACES,
    pytest.mark.slow,
    pytest.mark.xdist_group("swift"),
    pytest.mark.skipif(sys.platform != "linux", reason="LinuxEngine loads LiteRT's library there"),
]


@pytest.fixture(scope="module")
def shelf(tested: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the toolchain sees, with the restorer that ships as LiteRT files."""
    folder = tmp_path_factory.mktemp("portraits")
    words = ["export", "shipped:restorer", "--target", "android", "--precision", "fp32"]
    assert run([*words, "--out", str(folder / "made"), "-q"]) == 0
    bundle = folder / "bundles/restorer"
    shutil.copytree(folder / "made", bundle)
    with_nets(bundle)
    return folder


@pytest.fixture(scope="module")
def bundle(shelf: Path) -> OpenBundle:
    return open_bundle(shelf / "bundles/restorer", threads=1)


@pytest.fixture(scope="module")
def seen() -> dict[str, Photo]:
    return photos()


def shown(shelf: Path, photo: Photo) -> tuple[Photo | None, dict[str, Any]]:
    """What the app's screen shows of a chosen photo: the restored one, and its words."""
    out = shelf / "out.rgb"
    out.unlink(missing_ok=True)
    done = engine(shelf, "portrait", str(shelf / "bundles"), *_written(shelf, photo), str(out))
    assert done.returncode == 0, done.stderr
    made = np.frombuffer(out.read_bytes(), np.uint8).reshape(photo.shape) if out.exists() else None
    return made, json.loads(done.stdout)


def _written(shelf: Path, photo: Photo) -> list[str]:
    (shelf / "in.rgb").write_bytes(np.ascontiguousarray(photo).tobytes())
    height, width = photo.shape[:2]
    return [str(shelf / "in.rgb"), str(width), str(height)]


def off(one: Photo | None, two: Photo) -> np.ndarray:
    assert one is not None
    return np.abs(one.astype(int) - two)


@pytest.mark.parametrize("name", ["one", "several", "aligned", "wall"])
def test_faces_are_found_where_python_finds_them(shelf, seen, name):
    wanted = found_faces(seen[name])

    done = engine(shelf, "faces", str(shelf / "bundles/restorer"), *_written(shelf, seen[name]))

    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == len(wanted) == {"one": 1, "several": 3, "aligned": 1, "wall": 0}[name]
    for row, face in zip(rows, wanted, strict=True):
        assert np.abs(np.reshape(row["five"], (5, 2)) - face.five).max() < 0.01
        assert row["side"] == pytest.approx(face.side_px, abs=0.01)
        assert row["yaw"] == pytest.approx(face.pose[0], abs=0.01)
        assert row["score"] == pytest.approx(face.score, abs=1e-4)


@pytest.mark.parametrize("name", ["one", "aligned", "several"])
def test_a_photo_is_restored_as_the_command_does_it(shelf, seen, tmp_path, name):
    Image.fromarray(seen[name]).save(tmp_path / "old.png")
    command = ["restore", str(tmp_path / "old.png"), "--run", str(shelf / "bundles/restorer")]
    assert run([*command, "-o", str(tmp_path / "new.png"), "-q"]) == 0
    wanted = load_photo(tmp_path / "new.png")

    made, _ = shown(shelf, seen[name])

    assert off(made, wanted).max() <= 1
    assert off(made, seen[name]).max() > 20


def test_points_that_lie_a_pixel_off_would_be_noticed(shelf, bundle, seen):
    made, _ = shown(shelf, seen["one"])

    assert off(made, in_python(bundle, seen["one"], off_px=0)).max() <= 1
    assert off(made, in_python(bundle, seen["one"], off_px=0.25)).max() > 8
    assert off(made, in_python(bundle, seen["one"], off_px=1)).max() > 24


def test_the_screen_says_how_many_faces_are_restored_and_why_one_is_not(shelf, seen):
    _, told = shown(shelf, seen["several"])

    assert told["title"] == "Restore faces"
    assert told["restored"] == 2
    assert told["status"] == (
        "2 faces are restored. One face is left as before: it is 17 pixels large, less than 20."
    )
    assert "finding faces" in told["latency"]
    assert "(2 faces," in told["latency"]


def test_the_comparison_with_python_covers_the_nets_too(shelf, seen):
    _, told = shown(shelf, seen["one"])

    restorer, nets = told["check"].split("The nets that find faces: ")
    assert "difference from PyTorch on" in restorer
    assert restorer.endswith("It passes (1e-4). ")
    assert nets.startswith("largest difference from LiteRT on 6 golden samples")
    assert nets.endswith("It passes (1e-4).")


@pytest.mark.parametrize(
    ("name", "words"),
    [("tiny", "pixels large, less than 20 — choose a photo"), ("wall", "no face was found")],
)
def test_a_photo_without_a_face_to_restore_says_why(shelf, seen, name, words):
    made, told = shown(shelf, seen[name])

    assert made is None
    assert told["error"] is True
    assert words in told["status"]


def test_autorun_measures_the_restorer_alone_and_passes_its_golden_check(shelf):
    environment = {"EDGEKIT_AUTORUN": "1", "EDGEKIT_CALLS": "5", "EDGEKIT_WARMUP": "1"}

    done = engine(shelf, "autorun", str(shelf / "bundles"), **environment)

    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["golden_passes"] is True
    assert last["golden_db"] > 100
