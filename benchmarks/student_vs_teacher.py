"""How close students of unseen concepts come to their teacher, beside doing nothing and a control.

    python benchmarks/student_vs_teacher.py --work runs/students

For each concept that the base has never seen: `edgekit distill --profile cpu` with fewer pairs and
steps than the default, on the photos of scikit-image and scikit-learn, and the metrics on pairs
that were held out. The control adapts a base of random weights with the same adapter, pairs and
steps: if it did as well, the base would be worth nothing. Also measured from scratch: every weight
trained, same steps.

Results go to benchmarks/results/student_vs_teacher.json, pictures of the
held-out photos to students.jpg below --work.
Finished runs below --work are not repeated.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save

from edgekit.cli.common import ConsoleReport
from edgekit.core.store import file_sha256, read_manifest, write_bytes, write_json
from edgekit.distill.base import CARD, WEIGHTS, load_base, untrained
from edgekit.distill.coverage import spread
from edgekit.distill.distill import distill, pairs_for
from edgekit.distill.metrics import as_photos, as_tensor
from edgekit.distill.pairs.quality import detail
from edgekit.distill.recipe import Recipe, recipe_for
from edgekit.distill.teachers.vocabulary import NEW_CONCEPTS

HERE = Path(__file__).resolve().parent
CONCEPTS = (
    "make it snowy",
    "turn it into a comic",
    "make it cyberpunk",
    "turn it into a charcoal drawing",
    "make it cherry blossom season",
    "make it underwater",
    "turn it into gold",
    "autumn as a watercolor",
)
SMALLER: dict[str, Any] = {"pairs": 48, "steps": 120, "minutes": 120.0}
"""Less than the default, because eight runs follow each other; only the number of steps ends a
run, so that a busy machine gives the same table."""
CONTROLLED = ("make it snowy",)
"""Concepts for which the control and the run from scratch are made too."""


def main() -> None:
    """Run what is missing, then write the table and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/students"))
    parser.add_argument("--only", nargs="*", help="make these runs and write no table")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    assert set(CONCEPTS) <= set(NEW_CONCEPTS), "a concept of the table was in the base"
    for concept in given.only or ():
        recipe = recipe_for(concept, **SMALLER)
        distill(recipe, given.work / recipe.name, report=ConsoleReport())
    if given.only:
        return
    rows, controls = [], []
    for concept in CONCEPTS:
        recipe = recipe_for(concept, **SMALLER)
        run = given.work / recipe.name
        rows.append(row("adapter on the base", distill(recipe, run, report=ConsoleReport())))
        if concept in CONTROLLED:
            controls += control_rows(recipe, run, given.work)
    write_json(
        HERE / "results" / "student_vs_teacher.json",
        {
            "what": "students of concepts that the base never saw, held-out pairs, --profile cpu",
            "protocol": read_manifest(run, kind="student")["quality"]["protocol"],
            "recipe": {k: v for k, v in asdict(recipe).items() if k not in ("concept", "name")},
            "rows": rows,
            "controls": controls,
            "means": {who: mean_of(rows, who) for who in ("student", "source")},
        },
    )
    write_bytes(given.work / "students.jpg", sheet(given.work))


def control_rows(recipe: Recipe, run: Path, work: Path) -> list[dict[str, Any]]:
    """Return the rows of an adapter on a random base and of training every weight from scratch."""
    random = random_base(work / "random-base")
    pairs_for(recipe, run / "pairs")
    found = distill(recipe, work / f"{recipe.name}-random", pairs=run / "pairs", base=random)
    scratch = recipe_for(recipe.concept, init="scratch", **SMALLER)
    fresh = distill(scratch, work / f"{recipe.name}-scratch", pairs=run / "pairs")
    return [row("adapter on random weights", found), row("every weight from scratch", fresh)]


def random_base(folder: Path) -> Path:
    """Write a base folder like the shipped one, but with untrained weights."""
    shipped = load_base()
    generator = untrained(shipped.generator, seed=0)
    write_bytes(folder / WEIGHTS, save(generator.state_dict()))
    write_json(folder / CARD, {**shipped.card, "sha256": file_sha256(folder / WEIGHTS)})
    return folder


def row(how: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return one line of the table."""
    losses, adapter = manifest["losses"], manifest["adapter"]
    return {
        "concept": manifest["prompt"],
        "how": how,
        "samples": manifest["quality"]["samples"],
        "student": manifest["quality"]["student"],
        "source": manifest["quality"]["source"],
        "training_s": manifest["seconds"],
        "steps": losses["step"],
        "stopped": losses["stopped"],
        "training_pairs": manifest["training_pairs"],
        "adapter_bytes": adapter["bytes"] if adapter else None,
        "trainable": adapter["trainable"] if adapter else manifest["parameters"],
        "host": manifest["host"],
    }


def mean_of(rows: Sequence[Mapping[str, Any]], who: str) -> dict[str, float]:
    """Return the mean over concepts of every metric of `who`."""
    names = rows[0][who]
    return {name: round(float(np.mean([r[who][name] for r in rows])), 5) for name in names}


def sheet(work: Path, *, across: int = 2, each: int = 3) -> bytes:
    """Return a JPEG: for each concept `each` held-out photos as source, teacher and student.

    Of the photos with most detail those that differ most are shown.
    """
    blocks = []
    for concept in CONCEPTS:
        run = work / recipe_for(concept).name
        with np.load(run / "heldout.npz") as held:
            sources, edits = held["image"], held["teacher"]
        rich = np.argsort([-detail(photo) for photo in sources])[: 2 * each]
        picks = [rich[i] for i in spread(sources[rich], each)]
        program = torch.export.load(run / "student.pt2").module()
        made = [as_photos(program(as_tensor(sources[i : i + 1])))[0] for i in picks]
        size = sources.shape[1]
        block = Image.new("RGB", (3 * (size + 4), each * (size + 4) + 18), "white")
        ImageDraw.Draw(block).text((4, 3), concept, fill="black")
        for down, (i, student) in enumerate(zip(picks, made, strict=True)):
            for right, photo in enumerate((sources[i], edits[i], student)):
                block.paste(Image.fromarray(photo), (right * (size + 4), 18 + down * (size + 4)))
        blocks.append(block)
    width, height = blocks[0].size
    rows = -(-len(blocks) // across)
    page = Image.new("RGB", (across * (width + 12), rows * (height + 6)), "white")
    for number, block in enumerate(blocks):
        page.paste(block, ((number % across) * (width + 12), number // across * (height + 6)))
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
