"""Sheets of meshes seen from four sides, made of the GLB files that were scored.

    python benchmarks/mesh/sheets.py runs/mesh --arm atom --seed 0 --out docs/images/mesh_unseen.png

The judge's R-precision stands beside each prompt: what it did not recognize is shown as well.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from arms import apart
from measures import pictures, read_solid
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edgekit.distill.render.views import ring
from edgekit.distill.teachers.views.world import prompts as world_prompts
from edgekit.distill.teachers.views.world import split

SIDES = 4
LABEL_PX = 30
GAP_PX = 6
PAPER = (250, 250, 248)
INK = (40, 40, 44)


def main() -> None:
    """Draw the unseen prompts of a run, or as many seen ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="folder of experiment.py")
    parser.add_argument("--arm", nargs="+", default=["atom"], help="several are named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompts", choices=("unseen", "seen", "all"), default="unseen")
    parser.add_argument("--pick", nargs="+", help="these prompts, whatever --prompts says")
    parser.add_argument("--size", type=int, default=96, help="pixels of a view")
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = [json.loads(line) for line in (given.runs / "scores.jsonl").read_text().splitlines()]
    asked = {"unseen": split()[1], "seen": apart(world_prompts())}
    wanted = given.pick or asked.get(given.prompts, world_prompts())
    told = []
    for arm in given.arm:
        before = f"{arm}: " if len(given.arm) > 1 else ""
        found = {
            mesh["prompt"]: mesh
            for row in rows
            if (row["kind"], row["seed"]) == (arm, given.seed) and row.get("last", True)
            for mesh in row["meshes"]
            if mesh.get("file")
        }
        chosen = [found[prompt] for prompt in wanted if prompt in found]
        told += [(before + m["prompt"], m.get("r"), given.runs / m["file"]) for m in chosen]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    drawn = [(label(p, r), views(file, given.size)) for p, r, file in told]
    Image.fromarray(sheet(drawn, columns=given.columns)).save(given.out, quality=88, method=6)


def label(prompt: str, precision: float | None) -> str:
    """Return what stands above four views."""
    return prompt if precision is None else f"{prompt}  ({precision:.0%})"


def views(path: Path, size_px: int) -> NDArray[np.uint8]:
    """Return 4 x S x S x 3: a mesh file from the front, the right, the back and the left."""
    drawn = pictures(read_solid(path), ring(SIDES), size_px).permute(0, 2, 3, 1)
    made: NDArray[np.uint8] = (drawn * 255).round().to(torch.uint8).numpy()
    return made


def sheet(rows: Sequence[tuple[str, NDArray[np.uint8]]], *, columns: int = 2) -> NDArray[np.uint8]:
    """Return one picture of labelled strips of views."""
    columns = max(1, min(columns, len(rows)))
    size = rows[0][1].shape[1] if rows else 1
    width, height = SIDES * size + GAP_PX, size + LABEL_PX
    lines = -(-len(rows) // columns)
    page = Image.new("RGB", (columns * width + GAP_PX, lines * height + GAP_PX), PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for number, (text, strip) in enumerate(rows):
        left = GAP_PX + number % columns * width
        top = GAP_PX + number // columns * height
        pen.text((left + 2, top + 5), text, fill=INK, font=font)
        for place, view in enumerate(strip):
            page.paste(Image.fromarray(view), (left + place * size, top + LABEL_PX - GAP_PX))
    return np.asarray(page)


if __name__ == "__main__":
    main()
