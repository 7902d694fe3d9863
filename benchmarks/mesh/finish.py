"""What becomes of a surface and what it takes: budget of triangles, texture, files.

    python benchmarks/mesh/finish.py --out benchmarks/results/mesh/finish.json

Three fields whose surface is a formula, on the lattice that generators are trained with: a ball
with ears, a donut, a box. CPU seconds of this process, each stage's median over `--calls` rounds in
which all cases take turns; so a busy machine shows, but does not decide. Errors are distances of
points on the triangles from the formula, in cells of the lattice.

With the package fast-simplification installed, its quadric decimation (compiled, the common choice)
is measured beside ours in the same rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.benchmarks.host import host_facts
from edgekit.core.store import write_json
from edgekit.core.tensors import Batch, Vertices
from edgekit.core.tetrahedra import coordinates
from edgekit.runtime.mesh.decimate import decimated
from edgekit.runtime.mesh.extract import extracted
from edgekit.runtime.mesh.files import WRITERS
from edgekit.runtime.mesh.surface import Mesh, facts_of, without_crumbs
from edgekit.runtime.mesh.texture import baked, unwrapped

CELLS = 48
BUDGETS = (8000, 4000, 2000, 1000)
TEXTURES = (256, 512, 1024)
TEXTURED = 4000
"""Triangles of the mesh that is unwrapped and written."""
SAMPLES = 20_000
PEER = "fast_simplification"


def ears(p: Batch) -> Batch:
    """Return the distance from a ball with two ears, rounded where they meet it."""
    balls = [((0, -0.1, 0), 0.5), ((-0.35, 0.4, 0), 0.22), ((0.35, 0.4, 0), 0.22)]
    parts = [np.linalg.norm(p - np.array(at, np.float32), axis=-1) - size for at, size in balls]
    found = parts[0]
    for part in parts[1:]:
        mixed = np.clip(0.5 + (part - found) / 0.16, 0, 1)
        found = part * (1 - mixed) + found * mixed - 0.08 * mixed * (1 - mixed)
    distances: Batch = found.astype(np.float32)
    return distances


def donut(p: Batch) -> Batch:
    """Return the distance from a donut."""
    x, y, z = np.moveaxis(p, -1, 0)
    distances: Batch = (np.hypot(np.hypot(x, z) - 0.5, y) - 0.25).astype(np.float32)
    return distances


def box(p: Batch) -> Batch:
    """Return the distance from a box, inside and at its faces."""
    distances: Batch = (np.abs(p) - (0.51, 0.37, 0.63)).max(axis=-1).astype(np.float32)
    return distances


SHAPES: dict[str, Callable[[Batch], Batch]] = {"ears": ears, "donut": donut, "box": box}


def striped(points: Vertices) -> Vertices:
    """Return colours as a field would, at the price of a sine."""
    wave = (1 + np.sin(points[:, 1:2] * 12)) / 2
    return (wave * (0.9, 0.2, 0.1) + (1 - wave) * (0.2, 0.3, 0.9)).astype(np.float32)


def fields() -> dict[str, Batch]:
    """Return the three fields on the lattice."""
    axis = coordinates(CELLS)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    return {name: shape(points) for name, shape in SHAPES.items()}


def timed(work: Callable[[], Any], kept: list[float]) -> Any:
    """Return what `work` returns and keep its CPU seconds."""
    start = time.process_time()
    result = work()
    kept.append(time.process_time() - start)
    return result


def error_cells(mesh: Mesh, shape: Callable[[Batch], Batch]) -> dict[str, float]:
    """Return how far places all over the triangles are from the surface, mean and 99 percent."""
    random = np.random.default_rng(0)
    corners = mesh.vertices[mesh.triangles]
    a, b, c = corners.transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    picked = random.choice(len(corners), SAMPLES, p=areas / areas.sum())
    share = random.dirichlet((1, 1, 1), SAMPLES)
    away = np.abs(shape(np.einsum("pc,pcx->px", share, corners[picked]))) * CELLS / 2
    return {
        "mean_cells": round(float(away.mean()), 4),
        "q99_cells": round(float(np.quantile(away, 0.99)), 4),
    }


def peer_decimated(mesh: Mesh, budget: int) -> Mesh:
    """Return what fast-simplification makes of `mesh` at its defaults."""
    import fast_simplification

    vertices, triangles = fast_simplification.simplify(
        mesh.vertices, mesh.triangles.astype(np.int32), target_count=budget
    )
    return Mesh(vertices.astype(np.float32), triangles.astype(np.int64))


class Rounds:
    """Rows of results, each with the seconds of every round."""

    def __init__(self) -> None:
        """Begin without rows."""
        self.seconds: dict[tuple[str, ...], list[float]] = {}
        self.facts: dict[tuple[str, ...], dict[str, Any]] = {}

    def run(self, key: tuple[str, ...], work: Callable[[], Any]) -> Any:
        """Time `work` once more for the row `key`."""
        return timed(work, self.seconds.setdefault(key, []))

    def row(self, key: tuple[str, ...]) -> dict[str, Any]:
        """Return a row: its median, all its seconds, its facts."""
        kept = self.seconds[key]
        return {
            "cpu_ms": round(1000 * statistics.median(kept), 2),
            "all_cpu_ms": [round(1000 * value, 2) for value in kept],
            **self.facts.get(key, {}),
        }


def one_round(rounds: Rounds, name: str, field: Batch) -> None:
    """Do everything once for one shape."""
    mesh = rounds.run((name, "surface"), lambda: without_crumbs(extracted(field)))
    rounds.facts[name, "surface"] = told(mesh, name)
    ways = {"ours": decimated} | ({PEER: peer_decimated} if find_spec(PEER) else {})
    for budget in BUDGETS:
        for way, function in ways.items():
            key = (name, "triangles", str(budget), way)
            small = rounds.run(key, partial(function, mesh, budget))
            rounds.facts[key] = told(small, name)
    small = decimated(mesh, TEXTURED)
    made = small
    for size in TEXTURES:
        flat = rounds.run((name, "uvs", str(size)), partial(unwrapped, small, size))
        full = rounds.run((name, "texture", str(size)), partial(baked, flat, striped, size))
        rounds.facts[name, "texture", str(size)] = {"vertices": len(full.vertices)}
        made = full if size == 512 else made
    colored = replace(mesh, colors=striped(mesh.vertices))
    for suffix, write in WRITERS.items():
        for kind, held in (("texture", made), ("vertices", colored)):
            if kind == "vertices" and suffix not in (".glb", ".obj"):
                continue
            key = (name, "file", suffix, kind)
            files = rounds.run(key, partial(write, held, Path(f"m{suffix}")))
            rounds.facts[key] = {"bytes": sum(map(len, files.values()))}


def told(mesh: Mesh, name: str) -> dict[str, Any]:
    """Return what a surface is worth."""
    facts = facts_of(mesh)
    return {
        "triangles": facts.triangles,
        "open_edges": facts.open_edges,
        **error_cells(mesh, SHAPES[name]),
    }


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rounds, lattices = Rounds(), fields()
    for name, field in lattices.items():  # warm
        one_round(Rounds(), name, field)
    for _ in range(given.calls):
        for name, field in lattices.items():
            one_round(rounds, name, field)
    rows = [{"case": list(key), **rounds.row(key)} for key in rounds.seconds]
    write_json(
        given.out,
        {
            "protocol": "CPU seconds of the process, cases in turns, median; errors on "
            f"{SAMPLES} places of the triangles by area",
            "cells": CELLS,
            "calls": given.calls,
            "host": host_facts(),
            "rows": rows,
        },
    )
    for row in rows:
        rest = {key: row[key] for key in row if key not in ("case", "all_cpu_ms", "cpu_ms")}
        print(f"{' '.join(row['case']):42} {row['cpu_ms']:9.1f} ms  {rest}")


if __name__ == "__main__":
    main()
