"""The Swift sources in a real compiler, and a bundle through the app's classes on Linux.

Run by `make test-ios`; skipped elsewhere, because a build takes a minute and the compiler 3.4 GB.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import needs
from tests.concepts import tiny_run
from tests.ios.swift import WORK, engine, linux
from tests.students import smooth_photos, tiny_base

from edgekit.cli.main import run
from edgekit.core.tensors import Photo
from edgekit.runtime import open_bundle

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="on a Mac Xcode checks this, and more")
pytestmark = [needs.SWIFT, pytest.mark.slow, pytest.mark.xdist_group("swift")]


def test_the_swift_tests_agree_with_the_golden_file(tested):
    assert "style: no remark" in tested
    assert "passed after" in tested
    assert "skipped" not in tested  # without golden.json they would be


@LINUX
def test_the_engines_and_the_app_fit_the_stand_ins_of_apples_interfaces(tested):
    assert "EdgeKitEngines: type-checked against stand-ins" in tested
    assert "App: type-checked against stand-ins" in tested


@LINUX
def test_the_stand_ins_notice_a_name_that_is_not_there(tested, tmp_path):
    broken = tmp_path / "Broken.swift"
    broken.write_text("import EdgeKitStudio\n@MainActor func broken(_ s: Studio) { s.nosuch() }\n")

    done = linux(
        "StandIns/typecheck.sh",
        f"{WORK}/core/debug/Modules",
        f"{WORK}/broken",
        str(broken),
        EDGEKIT_SEE=str(tmp_path),
    )

    assert done.returncode != 0
    assert "nosuch" in done.stderr + done.stdout


@pytest.fixture(scope="module")
def shelf(tested, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the toolchain sees, with a base of two concepts as LiteRT files."""
    if sys.platform != "linux":
        pytest.skip("LinuxEngine loads LiteRT's library for Linux")
    folder = tmp_path_factory.mktemp("shelf")
    base = tiny_base(folder / "weights")
    words = ["export", "--base", "--base-folder", str(base), "--size", "64", "--target", "android"]
    assert run([*words, "--precision", "fp32", "--out", str(folder / "base")]) == 0
    runs = [
        str(tiny_run(folder / name, base, prompt, seed=seed))
        for seed, (name, prompt) in enumerate(
            [("night", "make it night"), ("snow", "make it snowy")]
        )
    ]
    add = ["adapters", "add", str(folder / "base"), *runs, "--base-folder", str(base)]
    assert run(add) == 0
    (folder / "bundles").mkdir()
    shutil.copytree(folder / "base/bundle", folder / "bundles/base")
    return folder


def edited(shelf: Path, photo: Photo, *weights: str) -> tuple[Photo, dict[str, Any]]:
    """A photo through the app's editor, and what it says of the edit."""
    bundle = shelf / "bundles/base"
    (shelf / "in.rgb").write_bytes(photo.tobytes())
    height, width = photo.shape[:2]
    file = next(m["path"] for m in json.loads((bundle / "manifest.json").read_text())["models"])
    place = [str(shelf / "in.rgb"), str(width), str(height), str(shelf / "out.rgb")]
    done = engine(shelf, "edit", str(bundle), file, *place, *weights)
    assert done.returncode == 0, done.stderr
    made = np.frombuffer((shelf / "out.rgb").read_bytes(), np.uint8).reshape(photo.shape)
    return made, json.loads(done.stdout)


@pytest.mark.parametrize("size", [(150, 190), (64, 64), (40, 90)])
def test_a_photo_comes_out_as_in_python(shelf, size):
    photo = smooth_photos(1, 200, seed=3)[0][: size[0], : size[1]].copy()
    base = open_bundle(shelf / "bundles/base", threads=1)

    made, facts = edited(shelf, photo, "night=1")

    wanted = base.switched("night").edit(photo)
    off = np.abs(made.astype(int) - wanted.astype(int))
    assert off.max() <= 1
    assert (off > 0).mean() < 0.001
    assert facts["tiles"] >= 1
    assert facts["model_ms"] > 0
    assert np.abs(wanted.astype(int) - base.switched("snow").edit(photo)).max() > 8  # the control


def test_a_blend_comes_out_as_in_python(shelf):
    photo = smooth_photos(1, 100, seed=4)[0]
    base, blend = open_bundle(shelf / "bundles/base", threads=1).blended(
        {"night": 0.6, "snow": 0.4}
    )

    made, facts = edited(shelf, photo, "night=0.6", "snow=0.4")

    assert blend.lost > 0
    assert facts["lost"] == pytest.approx(blend.lost, abs=1e-5)
    assert np.abs(made.astype(int) - base.edit(photo).astype(int)).max() <= 1


def test_autorun_measures_and_passes_the_golden_check(shelf):
    done = engine(
        shelf,
        "autorun",
        str(shelf / "bundles"),
        EDGEKIT_AUTORUN="1",
        EDGEKIT_CALLS="12",
        EDGEKIT_WARMUP="2",
        EDGEKIT_UNIT="gpu",
    )

    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines].count("run") == 12
    loaded = next(line for line in lines if line["event"] == "loaded")
    assert loaded["unit"] == "all"
    assert "Graphics processor is not used" in loaded["note"]
    assert lines[-1]["golden_passes"] is True
    assert lines[-1]["golden_db"] > 100
    assert lines[-1]["p50_ms"] > 0


def test_a_changed_file_is_refused_with_a_sentence(shelf, tmp_path):
    model = next((shelf / "bundles/base/android").glob("*.tflite"))
    kept = model.read_bytes()
    model.write_bytes(kept + b"x")
    try:
        done = engine(shelf, "autorun", str(shelf / "bundles"), EDGEKIT_AUTORUN="1")
    finally:
        model.write_bytes(kept)

    assert done.returncode == 1
    assert "is not the file that was exported" in done.stdout
