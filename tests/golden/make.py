"""Make golden.json: what Python computes for cases that every other language must agree with.

    python -m tests.golden.make

Read by pytest, node (web_demo/test), JUnit (android_demo) and Swift Testing (ios_demo). Numbers of
float32 are written so that they come back exactly.

    pixels      photos into ports and back, rounding to bytes
    tiles       where tiles lie, what they weigh, photos edited through them
    sizes       a photo scaled down to a longest side
    statistics  percentiles and the summary of a run
    parity      two pictures compared: largest difference and PSNR
    concepts    the adapter input of a base: filled, blended, refused
    vectors     golden vectors as a bundle stores them (.npz), and files that are refused
    hashes      sha256
    folders     sha256 of a folder
    seals       text of a JSON object, and the hash that its manifest_sha256 would be
    orientations  a photo turned as EXIF says
    manifests   accepted and refused; the port that holds the picture
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.golden.bundles import (
    HEX,
    folders,
    hashes,
    manifests,
    numbers,
    ports,
    seals,
    toy_entry,
    vectors,
)

from edgekit.benchmarks.statistics import summary
from edgekit.benchmarks.timing import Timing
from edgekit.core.concepts import Concept, read_concept, write_concept
from edgekit.core.errors import BadInput
from edgekit.core.images import load_photo, to_bytes
from edgekit.core.manifest import AdapterEntry
from edgekit.core.samples import to_port
from edgekit.core.seams import Port
from edgekit.runtime.adapters import input_vector
from edgekit.runtime.blend import blended
from edgekit.runtime.bundle import limited
from edgekit.runtime.tiles import axis, edit_tiled
from edgekit.runtime.verify import IDENTICAL_DB, psnr_db

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.json"
PORTS = (
    Port("image", (1, 3, 4, 5)),
    Port("image", (1, 4, 5, 3), layout="nhwc", low=0.0, high=1.0),
    Port("image", (1, 4, 5, 3), layout="nhwc", low=-1.0, high=1.0),
)
TILES = ((16, 16), (17, 16), (100, 64), (37, 16), (256, 64), (31, 8))
PHOTOS = ((37, 29, 16), (9, 5, 16), (16, 16, 16), (40, 16, 16))
"""Height, width, tile."""


def make() -> dict[str, Any]:
    """Return all cases."""
    return {
        "pixels": pixels(),
        "tiles": tiles(),
        "sizes": sizes(),
        "statistics": statistics(),
        "parity": parity(),
        "concepts": concepts(),
        "vectors": vectors(),
        "hashes": hashes(),
        "folders": folders(),
        "seals": seals(),
        "orientations": orientations(),
        "manifests": manifests(),
        "ports": ports(),
    }


def pixels() -> dict[str, Any]:
    """Photos into ports, and values into bytes."""
    photo = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    odd = [-5.0, -0.4, 0.0, 0.5, 1.5, 2.5, 126.5, 127.5, 254.5, 255.0, 255.49, 300.0]
    return {
        "photo": photo.reshape(-1).tolist(),
        "width": 5,
        "height": 4,
        "ports": [
            {
                "layout": port.layout,
                "low": port.low,
                "high": port.high,
                "values": numbers(to_port(photo[None], port)),
            }
            for port in PORTS
        ],
        "levels": odd,
        "bytes": to_bytes(np.array(odd, np.float32), low=0.0, high=255.0).tolist(),
    }


def orientations() -> dict[str, Any]:
    """A photo stored with each of the eight EXIF orientations, and how it is shown."""
    photo = np.random.default_rng(5).integers(0, 256, (2, 3, 3), np.uint8)
    rows = []
    for orientation in range(1, 9):
        stored = Image.fromarray(photo)
        exif = stored.getexif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        stored.save(buffer, "PNG", exif=exif)
        made = load_photo(buffer.getvalue(), min_side=1)
        height, width = made.shape[:2]
        facts = {"orientation": orientation, "height": height, "width": width}
        rows.append({**facts, "photo": made.reshape(-1).tolist()})
    return {"height": 2, "width": 3, "photo": photo.reshape(-1).tolist(), "upright": rows}


def tiles() -> dict[str, Any]:
    """Where tiles lie, what they weigh, and photos edited through them."""
    axes = [
        {
            "length": length,
            "side": side,
            "starts": list(axis(length, side).starts),
            "weights": [numbers(row) for row in axis(length, side).weights],
        }
        for length, side in TILES
    ]
    photos = []
    for number, (height, width, side) in enumerate(PHOTOS):
        photo = np.random.default_rng(number + 1).integers(0, 256, (height, width, 3), np.uint8)
        made = edit_tiled(photo, edit, tile=(side, side))
        photos.append(
            {
                "height": height,
                "width": width,
                "tile": side,
                "photo": photo.reshape(-1).tolist(),
                "edited": made.reshape(-1).tolist(),
            }
        )
    return {"axes": axes, "photos": photos, "edit": "0.75 x level + 8 x (column of the tile mod 4)"}


def edit(tile: np.ndarray) -> np.ndarray:
    """An edit that depends on the place in the tile, so that blending shows."""
    columns = np.arange(tile.shape[1], dtype=np.float32) % 4
    made = tile.astype(np.float32) * np.float32(0.75) + 8 * columns[None, :, None]
    return np.asarray(made, np.float32)


def sizes() -> list[dict[str, int]]:
    """Height and width before and after a limit on the longer side; halves go to the even one."""
    cases = []
    for height, width, most in ((480, 640, 256), (3, 1000, 100), (100, 80, 512), (5, 2, 4)):
        photo = limited(np.zeros((height, width, 3), np.uint8), most)
        made = {"made_height": photo.shape[0], "made_width": photo.shape[1]}
        cases.append({"height": height, "width": width, "max_side": most, **made})
    return cases


def statistics() -> list[dict[str, Any]]:
    """Percentiles as numpy has them, and the summary of a run."""
    random = np.random.default_rng(7)
    cases = []
    for count in (1, 2, 5, 10, 33, 120):
        ms = np.round(random.gamma(9.0, 1.0, count), 4).tolist()
        found = summary(Timing("x", 0.0, 0.0, 0, tuple(ms), tuple(ms)), threads=2)
        cases.append(
            {
                "ms": ms,
                "percentiles": {
                    str(p): float(np.percentile(ms, p)) for p in (0, 10, 50, 90, 99, 100)
                },
                "p50_ms": found.p50_ms,
                "p90_ms": found.p90_ms,
                "spread": found.spread,
                "drift": found.drift,
                "warnings": len(found.warnings),
            }
        )
    return cases


def parity() -> list[dict[str, Any]]:
    """Values in [-1, 1] compared as `edgekit verify` does; 999 dB stands for identical ones."""
    random = np.random.default_rng(11)
    one = random.uniform(-1, 1, 24).astype(np.float32)
    cases = []
    for off in (0.0, 1e-6, 0.25):
        two = (one + np.float32(off) * random.uniform(-1, 1, 24)).astype(np.float32)
        cases.append(
            {
                "reference": numbers(one),
                "candidate": numbers(two),
                "max_abs": float(np.abs(one.astype(np.float64) - two).max()),
                "psnr_db": min(psnr_db(one, two), IDENTICAL_DB),
            }
        )
    return cases


def concepts() -> dict[str, Any]:
    """A toy base's second input, filled by concepts and by their blends."""
    entry = toy_entry()
    made = [
        concept("make it night", {"down": 1, "up": 2}, 1),
        concept("make it snowy", {"down": 2, "up": 1}, 2),
        concept("known to the base", {"down": 0, "up": 0}, 3),
    ]
    files, vectors = [], []
    with tempfile.TemporaryDirectory() as folder:
        for row in made:
            write_concept(Path(folder) / "x", row)
            files.append(base64.b64encode((Path(folder) / "x").read_bytes()).decode())
            vectors.append(numbers(input_vector(row, entry)))
    blends = []
    for weights in ((0.6, 0.4, 0.0), (1.0, 1.0, 0.0), (0.5, 0.0, 0.0), (0.7, 0.0, 0.3)):
        rows = [(c, w) for c, w in zip(made, weights, strict=True) if w]
        found = blended(rows, entry)
        blends.append({"weights": list(weights), "lost": found.lost, **parts(found.vector, entry)})
    return {
        "entry": entry.model_dump(mode="json"),
        "files": files,
        "vectors": vectors,
        "blends": blends,
        "refused": refused_concepts(base64.b64decode(files[0])),
    }


def refused_concepts(good: bytes) -> list[dict[str, str]]:
    """Files that no base may load, each with words that the error has to say."""

    def changed(old: str, new: str) -> bytes:
        assert good.count(old.encode()) == 1, old
        made = good.replace(old.encode(), new.encode())
        length = int.from_bytes(good[:8], "little") + len(made) - len(good)
        return length.to_bytes(8, "little") + made[8:]

    cases = [
        ("empty", b"", "not a concept"),
        ("cut in its header", good[:60], "not a concept"),
        ("cut in its values", good[:-2], "not a concept"),
        ("a header longer than the file", b"\xff" * 8 + good[8:], "not a concept"),
        ("another format", changed("edgekit.concept.1", "edgekit.concept.9"), "not a concept"),
        ("another base", changed(HEX, "f" + HEX[1:]), "belongs to base"),
        ("another order", changed(HEX[::-1], "0" + HEX[::-1][1:]), "another order"),
        ("a rank above the capacity", changed('\\"down\\": 1', '\\"down\\": 9'), "rank 9 in down"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for _, data, words in cases:
            (Path(folder) / "x").write_bytes(data)
            with pytest.raises(BadInput, match=words):
                input_vector(read_concept(Path(folder) / "x"), toy_entry())
    return [
        {"name": name, "file": base64.b64encode(data).decode(), "words": words}
        for name, data, words in cases
    ]


def parts(vector: np.ndarray, entry: AdapterEntry) -> dict[str, Any]:
    """Return what a blend does: what words set, and each layer's product."""
    held = {
        b.name: vector[0, b.offset : b.offset + b.rows * b.columns].reshape(b.rows, b.columns)
        for b in entry.blocks
    }
    products = {
        name[:-2]: numbers(held[f"{name[:-2]}.B"].T.astype(np.float64) @ rows.astype(np.float64))
        for name, rows in held.items()
        if name.endswith(".A")
    }
    plain = {name: numbers(held[name]) for name in ("stem.gain", "text.key")}
    return {"products": products, "plain": plain}


def concept(prompt: str, ranks: dict[str, int], seed: int) -> Concept:
    """Return a concept of the toy base with numbers that float16 holds exactly."""
    random = np.random.default_rng(seed)
    sizes = {"norms": 4, "factors": ranks["down"] * 8 + ranks["up"] * 6, "text": 2}
    values = {
        part: (random.integers(-64, 65, count) / 32).astype(np.float32)
        for part, count in sizes.items()
    }
    return Concept(prompt, ranks, HEX, HEX[::-1], **values)


def text() -> str:
    """Return the file's text."""
    return json.dumps(make(), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(text(), encoding="utf-8")
