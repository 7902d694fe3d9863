"""What PortraitTest opens: a restorer's bundle, photos of rendered heads, and what Python makes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgekit.cli.main import run
from edgekit.core.images import load_photo
from edgekit.core.tensors import Photo
from edgekit.distill.faces.align import Bars, aligned
from edgekit.distill.faces.cut import cut_out
from edgekit.distill.faces.detect import found_faces
from edgekit.distill.faces.points import Points, crop_transform
from edgekit.runtime.apps.android_assets import usable, write_assets
from edgekit.runtime.bundle import OpenBundle, open_bundle
from edgekit.runtime.paste import pasted
from edgekit.runtime.restore import nobody, restored, size_of

SHEET = Path(__file__).parents[2] / "docs/images/heads.jpg"
TILE = 128
WALL = (120, 130, 140)
BARS = Bars(min_face_px=20)
FORMATS = ("onnx",)


def head(person: int, picture: int, side: int) -> Image.Image:
    """A head of the sheet that the project rendered."""
    box = (picture * TILE, person * TILE, (picture + 1) * TILE, (person + 1) * TILE)
    return Image.open(SHEET).crop(box).resize((side, side), Image.Resampling.BICUBIC)


def photos() -> dict[str, Photo]:
    """Photos with one face, with several, with one that fills it, with a tiny one, with none."""
    one = Image.new("RGB", (310, 270), WALL)
    one.paste(head(2, 2, 170), (60, 50))
    one = one.rotate(9, Image.Resampling.BICUBIC, fillcolor=WALL)
    several = Image.new("RGB", (200, 120), WALL)
    for place, (person, picture, side) in {
        (2, 24): (0, 1, 70),
        (70, 6): (5, 2, 90),
        (164, 20): (2, 2, 26),
    }.items():
        several.paste(head(person, picture, side), place)
    tiny = Image.new("RGB", (200, 160), WALL)
    tiny.paste(head(2, 2, 26), (80, 60))
    made = {"one": one, "several": several, "tiny": tiny, "wall": Image.new("RGB", (90, 60), WALL)}
    pixels = {name: np.asarray(picture) for name, picture in made.items()}
    (face, *_) = found_faces(pixels["one"])
    pixels["close"] = cut_out(pixels["one"], crop_transform(face.five, 150), 150)
    return pixels


def made_portraits(place: Path) -> Path:
    """Write `portraits` (the bundle), `assets` (what an app holds) and `portraits.json`."""
    bundle = place / "portraits"
    words = ["export", "shipped:restorer", "--target", "onnx", "--precision", "fp32"]
    assert run([*words, "--out", str(bundle), "-q"]) == 0
    write_assets([bundle], usable([bundle], FORMATS), place / "assets", FORMATS)
    opened, rows = open_bundle(bundle, threads=1), {}
    for name, photo in photos().items():
        found = [face.five for face in found_faces(photo) if face.side_px >= BARS.min_face_px]
        facts = {"photo": _facts(photo), "faces": [face.reshape(-1).tolist() for face in found]}
        rows[name] = facts
        if name in ("one", "close", "several"):
            facts["restored"] = _facts(_by_command(place, bundle, photo))
        if name == "one":
            facts["off by a pixel"] = _facts(_put_back(opened, photo, found[0] + np.float32(1)))
    (place / "portraits.json").write_text(json.dumps(rows))
    return bundle


def _by_command(place: Path, bundle: Path, photo: Photo) -> Photo:
    Image.fromarray(photo).save(place / "photo.png")
    words = ["restore", place / "photo.png", "--run", bundle, "-o", place / "restored.png", "-q"]
    assert run([str(word) for word in words]) == 0
    return load_photo(place / "restored.png")


def _put_back(bundle: OpenBundle, photo: Photo, five: Points) -> Photo:
    face = aligned(photo, size_of(bundle), BARS, given=five)
    assert face.matrix is not None
    made = restored(bundle, face.photo, nobody(bundle))
    return pasted(photo, face.photo, made, face.matrix)


def _facts(photo: Photo) -> dict[str, Any]:
    height, width = photo.shape[:2]
    data = base64.b64encode(np.ascontiguousarray(photo).tobytes()).decode()
    return {"height": height, "width": width, "data": data}
