"""Photos of rendered heads, a portrait bundle of .tflite files, and what Python makes of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from edgekit.core.face_nets import NETS, FaceNet, net_file
from edgekit.core.manifest import ModelEntry, read_bundle, write_bundle
from edgekit.core.tensors import Photo
from edgekit.distill.faces.cut import cut_out
from edgekit.distill.faces.detect import found_faces
from edgekit.distill.faces.points import crop_transform
from edgekit.runtime.apps.face_graphs import Graph
from edgekit.runtime.apps.ios_nets import net_entry, write_net
from edgekit.runtime.bundle import OpenBundle
from edgekit.runtime.paste import pasted
from edgekit.runtime.restore import nobody, restored, size_of

SHEET = Path(__file__).parents[2] / "docs/images/heads.jpg"
"""People who do not exist, rendered by this project: six of them a row, four pictures of each."""
TILE = 128
WALL = (120, 130, 140)


def head(person: int, picture: int, side: int) -> Image.Image:
    """Return one picture of the sheet."""
    box = (picture * TILE, person * TILE, (picture + 1) * TILE, (person + 1) * TILE)
    return Image.open(SHEET).crop(box).resize((side, side), Image.Resampling.BICUBIC)


def photos() -> dict[str, Photo]:
    """Return photos with one turned face, with three, one that fills it, a tiny one and none."""
    one = Image.new("RGB", (310, 270), WALL)
    one.paste(head(2, 2, 170), (60, 50))
    one = one.rotate(-11, Image.Resampling.BICUBIC, fillcolor=WALL)
    several = Image.new("RGB", (200, 120), WALL)
    several.paste(head(0, 1, 70), (2, 24))
    several.paste(head(5, 2, 90), (70, 6))
    several.paste(head(2, 2, 26), (164, 20))
    tiny = Image.new("RGB", (200, 160), WALL)
    tiny.paste(head(2, 2, 26), (80, 60))
    wall = Image.new("RGB", (90, 60), WALL)
    made = {"one": one, "several": several, "tiny": tiny, "wall": wall}
    pixels = {name: np.asarray(picture) for name, picture in made.items()}
    face = found_faces(pixels["one"])[0]
    pixels["aligned"] = cut_out(pixels["one"], crop_transform(face.five, 150), 150)
    return pixels


def with_nets(bundle: Path) -> Path:
    """Add the nets that find faces to a restorer's bundle as .tflite files: for LiteRT on Linux."""
    parts = tuple(write_net(net, bundle, _as_it_is) for net in NETS)
    write_bundle(bundle, read_bundle(bundle).model_copy(update={"parts": parts}))
    return bundle


def _as_it_is(net: FaceNet, graph: Graph, folder: Path) -> ModelEntry:
    path = f"android/{net.name}.tflite"
    (folder / path).parent.mkdir(parents=True)
    shutil.copyfile(net_file(net.name), folder / path)
    facts = {"target": "android", "format": "tflite", "executed": True, "tools": {}}
    return net_entry(net, graph, folder, path, recipe="the file of the package", **facts)


def in_python(bundle: OpenBundle, photo: Photo, *, off_px: float) -> Photo:
    """Return `photo` with its one face restored, its points `off_px` to the right and down."""
    (found,) = found_faces(photo)
    matrix = crop_transform(found.five + np.float32(off_px), size_of(bundle))
    crop = cut_out(photo, matrix, size_of(bundle))
    return pasted(photo, crop, restored(bundle, crop, nobody(bundle)), matrix)
