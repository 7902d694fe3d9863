"""Make mesh.json: what Python computes on the way from a prompt to a mesh, for the web demo.

python -m tests.golden.mesh

tables      marching tetrahedra
words       prompts and the rows of a table; prompts that are refused, with the sentences
planes      features on a lattice and at points
surface     a field with a crumb and a hollow: extracted, cleaned, with normals
cameras     points in clip space, and the light
"""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.golden.bundles import numbers

from edgekit.core.errors import BadInput
from edgekit.core.tetrahedra import CASES, EDGES, TETRAHEDRA, coordinates
from edgekit.distill.render.views import AMBIENT, DIFFUSE, LIGHT, cameras_at
from edgekit.runtime.mesh.extract import extracted
from edgekit.runtime.mesh.planes import at_points, on_lattice
from edgekit.runtime.mesh.surface import vertex_normals, without_crumbs
from edgekit.runtime.mesh.words import read_words

GOLDEN = Path(__file__).parent / "mesh.json"
WORDS = ("a", "blue", "cone", "hat", "red", "striped", "with")
PROMPTS = ("a red cone", "RED-striped cone, with 2 hat!", "the cone of a hat")
REFUSED = ("", " 12 !", "a rad cone", "xylophone and cube", "with a", "red red red red red red red")
CELLS = 7
DEFORM = 0.6


def make() -> dict[str, Any]:
    """Return all cases."""
    return {
        "tables": tables(),
        "words": words(),
        "planes": planes(),
        "surface": surface(),
        "cameras": cameras(),
    }


def tables() -> dict[str, Any]:
    """The tables of marching tetrahedra, without the rows that stand for no triangle."""
    cases = [[row for row in case.tolist() if row[0] >= 0] for case in CASES]
    return {"tetrahedra": TETRAHEDRA.tolist(), "edges": EDGES.tolist(), "cases": cases}


def words() -> dict[str, Any]:
    """A table of words, what prompts become, and which are refused with which sentences."""
    table = np.random.default_rng(2).standard_normal((len(WORDS), 3)).astype(np.float32)
    data = stored(table)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "words.safetensors"
        path.write_bytes(data)
        known = read_words(path)
    refused = []
    for prompt in REFUSED:
        with pytest.raises(BadInput) as error:
            known.text(prompt)
        refused.append({"prompt": prompt, "what": error.value.what, "hint": error.value.hint})
    return {
        "file": base64.b64encode(data).decode(),
        "prompts": [{"prompt": p, "values": numbers(known.text(p))} for p in PROMPTS],
        "refused": refused,
        "damaged": [base64.b64encode(data[:n]).decode() for n in (0, 40, len(data) - 4)],
    }


def stored(table: np.ndarray) -> bytes:
    """Return a safetensors file; its package puts the metadata in another order each time."""
    place = {"dtype": "F32", "shape": list(table.shape), "data_offsets": [0, table.nbytes]}
    facts = {"words": json.dumps(WORDS), "length": "6"}
    header = json.dumps({"__metadata__": facts, "table": place}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + table.tobytes()


def planes() -> dict[str, Any]:
    """Planes of four channels, their features on a lattice and at points in and out of the cube."""
    random = np.random.default_rng(4)
    values = random.standard_normal((3, 4, 5, 5)).astype(np.float32)
    points = random.uniform(-1.1, 1.1, (12, 3)).astype(np.float32)
    lattice = np.concatenate([rows[: end - start] for start, end, rows in on_lattice(values, 3, 9)])
    return {
        "side": 5,
        "channels": 4,
        "nchw": numbers(values),
        "nhwc": numbers(values.reshape(12, 5, 5).transpose(1, 2, 0)),
        "cells": 3,
        "lattice": numbers(lattice),
        "points": numbers(points),
        "features": numbers(at_points(values, points)),
    }


def surface() -> dict[str, Any]:
    """A field of an object that reaches the border, with a hollow in it and a crumb beside it."""
    x, y, z = np.meshgrid(*[coordinates(CELLS)] * 3, indexing="ij")
    ball = np.sqrt((x + 0.35) ** 2 + y**2 + z**2) - 0.68
    hollow = 0.16 - np.sqrt((x + 0.42) ** 2 + (y - 0.14) ** 2 + (z - 0.14) ** 2)
    crumb = np.sqrt((x - 0.71) ** 2 + (y - 0.71) ** 2 + (z - 0.71) ** 2) - 0.06
    distance = np.minimum(np.maximum(ball, hollow), crumb).astype(np.float32)
    random = np.random.default_rng(6)
    moved = random.uniform(-1, 1, (*distance.shape, 3)).astype(np.float32)
    whole = extracted(distance, moved, deform=DEFORM)
    cleaned = without_crumbs(whole)
    assert len(cleaned.triangles) < len(whole.triangles)
    return {
        "cells": CELLS,
        "deform": DEFORM,
        "distance": numbers(distance),
        "deformation": numbers(moved),
        "positions": numbers(whole.vertices),
        "triangles": whole.triangles.reshape(-1).tolist(),
        "cleaned": {
            "positions": numbers(cleaned.vertices),
            "triangles": cleaned.triangles.reshape(-1).tolist(),
            "normals": numbers(vertex_normals(cleaned)),
        },
    }


def cameras() -> dict[str, Any]:
    """Where cameras see a point (divided by depth), and where their light comes from."""
    angles = [(0.0, 0.0), (1.2, 0.4), (-2.5, -0.9)]
    point = torch.tensor([[0.3, -0.5, 0.7]])
    rows = []
    for yaw, pitch in angles:
        camera = cameras_at(torch.tensor([yaw]), torch.tensor([pitch]))
        clip = camera.projected(point)[0, 0].double()
        light = camera.axes[0] @ torch.nn.functional.normalize(torch.tensor(LIGHT), dim=0)
        seen = numbers((clip[:2] / clip[3]).numpy())
        rows.append({"yaw": yaw, "pitch": pitch, "seen": seen, "light": numbers(light.numpy())})
    return {"point": numbers(point.numpy()), "ambient": AMBIENT, "diffuse": DIFFUSE, "views": rows}


def text() -> str:
    """Return the file's text."""
    return json.dumps(make(), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(text(), encoding="utf-8")
