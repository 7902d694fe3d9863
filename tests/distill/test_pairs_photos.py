"""Photos for pairs: odd ones are used, bad ones are skipped with a reason, splits keep apart."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.core.errors import BadInput
from edgekit.core.store import MANIFEST
from edgekit.distill.pairs.make import make_pairs
from edgekit.distill.pairs.settings import PairSettings
from edgekit.distill.pairs.sources import open_sources


class Dusk:
    """A teacher without weights: darker and bluer."""

    identity = "dusk@0"

    def edit(self, images, prompt, *, seed):
        return (images * np.array([0.4, 0.5, 0.9])).astype(np.uint8)


SETTINGS = PairSettings(prompt="make it night", count=20, size_px=64, shard_pairs=4)


def write_photos(folder: Path, count: int, side: int = 120) -> Path:
    """Photos of blurred noise in color: unlike each other, and with structure."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((side * 4 // 3, side), Image.Resampling.BICUBIC)
        picture.save(folder / f"photo-{number:02d}.png")
    return folder


def test_many_photos_are_split_by_photo(tmp_path):
    folder = write_photos(tmp_path / "photos", 12)
    settings = replace(SETTINGS, photos=folder, count=24)

    pairs = make_pairs(settings, Dusk(), tmp_path / "out")

    sides = [{entry.photo for entry in pairs.split(name)} for name in ("train", "heldout")]
    assert pairs.manifest["split_by"] == "photo"
    assert sides[0] & sides[1] == set()
    assert all(sides)


def test_bad_files_are_skipped_with_a_reason_and_odd_ones_are_used(tmp_path):
    folder = write_photos(tmp_path / "photos", 2)
    picture = Image.open(write_photos(tmp_path / "more", 9) / "photo-05.png")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    Image.open(tmp_path / "more" / "photo-06.png").convert("RGBA").save(folder / "alpha.png")
    deep = np.asarray(Image.open(tmp_path / "more" / "photo-07.png").convert("L")).astype(np.uint16)
    Image.fromarray(deep * 257).save(folder / "deep.png")
    turned = Image.open(tmp_path / "more" / "photo-08.png")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif)
    (folder / "corrupt.jpg").write_bytes(b"\xff\xd8 no photo")
    (folder / "cut.png").write_bytes((folder / "photo-00.png").read_bytes()[:500])
    (folder / "empty.png").touch()
    Image.new("RGB", (1, 1)).save(folder / "pixel.png")
    (folder / "copy.png").write_bytes((folder / "photo-01.png").read_bytes())
    (folder / "notes.txt").write_text("no image")

    pairs = make_pairs(replace(SETTINGS, photos=folder, count=12), Dusk(), tmp_path / "out")

    reasons = {photo["name"]: photo["reason"] for photo in pairs.manifest["skipped"]}
    assert set(reasons) == {"corrupt.jpg", "cut.png", "empty.png", "pixel.png", "photo-01.png"}
    assert reasons["photo-01.png"] == "is the same photo as copy.png"
    assert "1x1 pixels" in reasons["pixel.png"]
    assert set(pairs.manifest["photos"]) >= {"cmyk.jpg", "alpha.png", "deep.png", "turned.jpg"}


def test_a_photo_of_50_megapixels_is_used_within_memory(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    coarse = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)
    Image.fromarray(coarse).resize((10_000, 5_000)).save(folder / "large.jpg", quality=70)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    pairs = make_pairs(replace(SETTINGS, photos=folder, count=8), Dusk(), tmp_path / "out")

    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert pairs.manifest["photos"] == ["large.jpg"]
    assert grown < 600e6  # its pixels are 150 MB, Pillow's 200; a first call's imports count too


def no_folder(folder: Path) -> Path:
    return folder / "nothing"


def empty_folder(folder: Path) -> Path:
    return folder


def only_bad(folder: Path) -> Path:
    (folder / "bad.png").write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("photos", "what"),
    [(no_folder, "does not exist"), (empty_folder, "holds no photo"), (only_bad, "no photo in")],
)
def test_photos_that_cannot_be_used_are_one_sentence(tmp_path, photos, what):
    place = photos(tmp_path)

    with pytest.raises(BadInput, match=what):
        make_pairs(replace(SETTINGS, photos=place), Dusk(), tmp_path / "out")

    assert not (tmp_path / "out" / MANIFEST).exists()


def test_the_packaged_photos_are_inside_the_wheels():
    sources = open_sources(None, size_px=64, limit=96, seed=0, heldout=0.15)

    assert len(sources.names) == 6
    assert sources.skipped == ()
