"""Every example runs as its first lines say, on a tiny bundle."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
ELSEWHERE = {
    "demo.py": "make demo, and tests/docs",
    "scenes.py": "makes the photos of the demo and of tests/docs",
}
"""Examples that something else runs."""
HERE = {"edit_folder.py", "live_video.py", "concepts.py", "app_test.py"}


def ran(*words: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, *(str(word) for word in words)], input=stdin, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-2000:].decode()
    return done


def test_every_example_is_run_by_a_test():
    assert {path.name for path in EXAMPLES.glob("*.py")} == HERE | set(ELSEWHERE)


def test_a_folder_is_edited_and_what_is_no_photo_is_named(toy_bundle, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 30), (200, 100, 0)).save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.jpg").write_bytes(b"no photo")

    done = ran(EXAMPLES / "edit_folder.py", toy_bundle, tmp_path / "photos", tmp_path / "out")

    made = Image.open(tmp_path / "out" / "a.png")
    assert (made.size, made.getpixel((3, 3))) == ((40, 30), (55, 155, 255))
    assert b"skipped" in done.stderr


@pytest.mark.parametrize("words", [(), ("--every",)])
def test_a_video_goes_through_as_raw_frames(toy_bundle, words):
    frames = np.random.default_rng(0).integers(0, 256, (5, 24, 32, 3), np.uint8)

    done = ran(EXAMPLES / "live_video.py", toy_bundle, "32x24", *words, stdin=frames.tobytes())

    made = np.frombuffer(done.stdout, np.uint8).reshape(-1, 24, 32, 3)
    np.testing.assert_array_equal(made[-1], 255 - frames[-1])
    if words:
        np.testing.assert_array_equal(made, 255 - frames)
    told = done.stderr.decode().split()
    assert int(told[0]) == len(made)
    assert int(told[0]) + int(told[3]) == 5


@pytest.mark.xdist_group("web")  # where the base is made
def test_one_base_paints_all_its_concepts_and_a_mix(base, tmp_path):
    Image.new("RGB", (32, 32), (200, 100, 0)).save(tmp_path / "photo.png")

    done = ran(EXAMPLES / "concepts.py", base, tmp_path / "photo.png", tmp_path / "out")

    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["night-snow.png", "night.png", "snow.png"]
    assert b"of the change" in done.stdout


def test_the_test_of_an_app_passes():
    ran("-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLES / "app_test.py")
