"""Make golden.json: what Python computes for cases that every other language must agree with.

    python tests/golden/make.py

Read by pytest, by node (web_demo/test) and by whoever ports the core to another language. Numbers
of float32 are written so that they come back exactly.
"""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.benchmarks.statistics import summary
from edgekit.benchmarks.timing import Timing
from edgekit.core.concepts import Concept, write_concept
from edgekit.core.images import to_bytes
from edgekit.core.manifest import AdapterEntry, BlockEntry
from edgekit.core.samples import to_port
from edgekit.core.seams import Port
from edgekit.runtime.adapters import input_vector
from edgekit.runtime.blend import blended
from edgekit.runtime.tiles import axis, edit_tiled

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
HEX = "0123456789abcdef" * 4


def make() -> dict[str, Any]:
    """Return all cases."""
    return {
        "pixels": pixels(),
        "tiles": tiles(),
        "statistics": statistics(),
        "concepts": concepts(),
        "manifests": manifests(),
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


def statistics() -> list[dict[str, Any]]:
    """Percentiles as numpy has them, and the summary of a run."""
    random = np.random.default_rng(7)
    cases = []
    for count in (1, 2, 5, 10, 33):
        ms = np.round(random.gamma(9.0, 1.0, count), 4).tolist()
        found = summary(Timing("x", 0.0, 0.0, 0, tuple(ms), tuple(ms)), threads=2)
        cases.append(
            {
                "ms": ms,
                "percentiles": {str(p): float(np.percentile(ms, p)) for p in (0, 10, 50, 90, 100)},
                "p50_ms": found.p50_ms,
                "p90_ms": found.p90_ms,
                "spread": found.spread,
                "drift": found.drift,
                "warnings": len(found.warnings),
            }
        )
    return cases


def concepts() -> dict[str, Any]:
    """A toy base's second input, filled by concepts and by their blends."""
    entry = AdapterEntry(
        port="adapter",
        length=40,
        base_sha256=HEX,
        layout_sha256=HEX[::-1],
        capacity={"down": 2, "up": 3},
        blocks=(
            block("stem.gain", "norms", "", 0, 1, 4),
            block("stem.A", "factors", "down", 4, 2, 3),
            block("stem.B", "factors", "down", 10, 2, 5),
            block("head.A", "factors", "up", 20, 3, 2),
            block("head.B", "factors", "up", 26, 3, 4),
            block("text.key", "text", "", 38, 1, 2),
        ),
    )
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
    }


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


def block(name: str, part: Any, group: str, offset: int, rows: int, columns: int) -> BlockEntry:
    """Return one run of values."""
    return BlockEntry(
        name=name, part=part, group=group, offset=offset, rows=rows, most=rows, columns=columns
    )


def concept(prompt: str, ranks: dict[str, int], seed: int) -> Concept:
    """Return a concept of the toy base with numbers that float16 holds exactly."""
    random = np.random.default_rng(seed)
    sizes = {"norms": 4, "factors": ranks["down"] * 8 + ranks["up"] * 6, "text": 2}
    values = {
        part: (random.integers(-64, 65, count) / 32).astype(np.float32)
        for part, count in sizes.items()
    }
    return Concept(prompt, ranks, HEX, HEX[::-1], **values)


def manifests() -> list[dict[str, Any]]:
    """Manifests that are refused, with a word of the reason, and one that is not."""
    model = {"path": "onnx/night.fp32.onnx", "sha256": HEX, "format": "onnx", "precision": "fp32"}
    good: dict[str, Any] = {
        "kind": "bundle",
        "schema_version": 1,
        "name": "night",
        "models": [model],
        "golden": {"path": "golden/vectors.npz", "sha256": HEX, "samples": 1},
    }
    return [
        {"manifest": good, "refused": None},
        {"manifest": {"kind": "student"}, "refused": "not the manifest of a bundle"},
        {"manifest": {**good, "schema_version": 2}, "refused": "version 2"},
        *(
            {"manifest": {**good, "models": [{**model, "path": path}]}, "refused": "unsafe path"}
            for path in ("../secret", "/etc/passwd", "a/../../b", "https://host/x", "a\\b", "")
        ),
        {"manifest": {**good, "models": [{**model, "sha256": "12"}]}, "refused": "sha256"},
        {"manifest": {"kind": "bundle", "schema_version": 1}, "refused": "lists no models"},
    ]


def numbers(values: np.ndarray) -> list[float]:
    """Return a flat list with enough digits for float32 and float64."""
    return [float(f"{value:.9g}") for value in np.asarray(values, np.float64).reshape(-1)]


def text() -> str:
    """Return the file's text."""
    return json.dumps(make(), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(text(), encoding="utf-8")
