"""Score the generator that ships: all prompts, as files, by a judge that was in no loss.

    edgekit teacher train --kind judge --out runs/judge
    python benchmarks/mesh/shipped.py --judge runs/judge --out benchmarks/results/mesh/shipped.json

Its weights are those that users have: unpacked from 8 bits. Each prompt becomes a GLB file as
`edgekit mesh` writes it, which is read, rendered and judged as in the experiment (`score.py`);
beside it, as a control, the world's own meshes through the same path. A judge of words stops at
100 %, so `apart` also says how many levels of 255 a mesh's pictures differ from those of the
world's mesh, and how many another toy of the same name and the next prompt's mesh do. `--run RUN`
scores the files of an exported run of these weights in place of PyTorch (`--target`,
`--precision`). `--sheets FOLDER` draws the eight unseen prompts and as many seen ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from arms import apart
from measures import RING, levels_apart, pictures, read_solid
from PIL import Image
from score import TRUE_SEED, exported, worth, write_true
from sheets import label, sheet, views
from torch import Tensor

from edgekit.benchmarks.host import host_facts, load_average
from edgekit.core.assets import asset_folder
from edgekit.core.errors import EdgekitError
from edgekit.core.store import read_json, write_json
from edgekit.distill.mesh.generator import Generator
from edgekit.distill.render.views import ring
from edgekit.distill.shipped import read_shipped
from edgekit.distill.teachers.views.judge import SIZE_PX, Judge, load_judge
from edgekit.distill.teachers.views.world import prompts as world_prompts
from edgekit.distill.teachers.views.world import split
from edgekit.runtime.mesh.files import write_mesh
from edgekit.runtime.mesh.generate import EXACT, open_generator

SHEETS: Mapping[str, Callable[[], Sequence[str]]] = {
    "mesh_unseen.webp": lambda: split()[1],
    "mesh_seen.webp": lambda: apart(world_prompts()),
}
Maker: TypeAlias = Callable[[str, Path], None]
"""Writes the mesh of a prompt."""
VIEW_PX = 128


def main() -> None:
    """Score every prompt and write one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--asset", type=Path, help="default: what this installation ships")
    parser.add_argument("--run", type=Path, help="an exported run of the same weights")
    parser.add_argument("--target", default="onnx")
    parser.add_argument("--precision", default=EXACT)
    parser.add_argument("--prompts", nargs="+", help="default: all 64")
    parser.add_argument("--sheets", type=Path, help="folder for the pictures")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    asset = read_shipped(given.asset or asset_folder("things"))
    card, judge = asset.card, load_judge(given.judge, "cpu")
    maker: Maker = partial(exported, cast(Generator, asset.network))
    if given.run:
        maker = of_files(given.run, given.target, given.precision)
    wanted = given.prompts or world_prompts()
    trained = {"at_s": card["training"]["seconds"], "trained": len(card["prompts"]["train"])}
    with tempfile.TemporaryDirectory() as place:
        mine, true = Path(place) / "mine", Path(place) / "true"
        rows = [
            {"kind": "shipped", "seed": card["seed"], **trained}
            | {"meshes": scored(maker, wanted, judge, mine)},
        ]
        if not given.run:
            control = scored(
                lambda prompt, path: write_true(prompt, TRUE_SEED, path), wanted, judge, true
            )
            rows.append({"kind": "truth", "seed": 0, "meshes": control})
            distances(rows[0]["meshes"], mine, true)
        if given.sheets:
            draw(mine, rows[0]["meshes"], given.sheets)
    manifest = read_json(given.judge / "manifest.json")
    facts = {
        "asset": {name: card[name] for name in ("sha256", "parameters", "bytes", "training")},
        "file": f"{given.target}.{given.precision}" if given.run else "PyTorch",
        "judge": {name: manifest[name] for name in ("accuracy", "steps", "parameters")},
        "host": host_facts(),
        "load_average": load_average(),
        "scores": rows,
    }
    write_json(given.out, facts)


def of_files(run: Path, target: str, precision: str) -> Maker:
    """Return what writes a prompt's mesh with the files of an exported run."""
    generator = open_generator(run, target=target, precision=precision, threads=1)

    def write(prompt: str, path: Path) -> None:
        write_mesh(generator.mesh(prompt).mesh, path)

    return write


def scored(make: Maker, prompts: list[str], judge: Judge, folder: Path) -> list[dict[str, Any]]:
    """Return one row a prompt: its file's facts and what the judge says of it."""
    folder.mkdir(parents=True)
    unseen, rows = split()[1], []
    for prompt in prompts:
        row: dict[str, Any] = {"prompt": prompt, "seen": prompt not in unseen}
        path, began = folder / named(prompt), time.process_time()
        try:
            make(prompt, path)
            row["cpu_s"] = round(time.process_time() - began, 3)
            row |= worth(path, prompt, judge)
        except (EdgekitError, ValueError) as error:
            row["failed"] = str(error)
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def distances(rows: list[dict[str, Any]], mine: Path, true: Path) -> None:
    """Add to each row how far its mesh's pictures are from the true ones, and two controls."""
    cameras = ring(RING)

    def seen(path: Path) -> Tensor:
        return pictures(read_solid(path), cameras, SIZE_PX)

    found = [(row, mine / named(row["prompt"])) for row in rows if "failed" not in row]
    for number, (row, path) in enumerate(found):
        wanted, other = seen(true / named(row["prompt"])), true / "other.glb"
        write_true(row["prompt"], TRUE_SEED + 1, other)
        _, stranger = found[(number + 1) % len(found)]
        them = {"mesh": path, "same name": other, "next prompt": stranger}
        row["apart"] = {
            name: round(levels_apart(wanted, seen(file)), 2) for name, file in them.items()
        }


def named(prompt: str) -> str:
    """Return the file name of a prompt's mesh."""
    return f"{'-'.join(prompt.split())}.glb"


def draw(folder: Path, rows: list[dict[str, Any]], out: Path) -> None:
    """Write the sheets of the meshes in `folder`, each prompt with its R-precision."""
    found = {row["prompt"]: row for row in rows if "failed" not in row}
    for name, asked in SHEETS.items():
        some = [(p, found[p]["r"]) for p in asked() if p in found]
        drawn = [(label(p, r), views(folder / named(p), VIEW_PX)) for p, r in some]
        if drawn:
            out.mkdir(parents=True, exist_ok=True)
            Image.fromarray(sheet(drawn)).save(out / name, quality=88, method=6)


if __name__ == "__main__":
    main()
