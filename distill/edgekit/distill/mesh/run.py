"""A teacher of views and prompts to a student folder that makes meshes: train, count, write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.progress import Report, silent
from edgekit.core.store import (
    MANIFEST,
    complete,
    locked,
    prepared_folder,
    read_manifest,
    value_sha256,
)
from edgekit.distill.mesh.fit import fit_mesh
from edgekit.distill.mesh.generator import Generator
from edgekit.distill.mesh.guide import Guide
from edgekit.distill.mesh.recipe import MeshRecipe
from edgekit.distill.mesh.student import Prompts, write_generator
from edgekit.distill.mesh.words import split_prompt, tokens, vocabulary
from edgekit.distill.program import KIND, StudentFacts

FORMAT = 1
"""Raised when the same recipe would give another student than before."""
WORK = "work"


def distill_mesh(
    recipe: MeshRecipe,
    guide: Guide,
    prompts: Prompts,
    out: Path,
    *,
    teacher: str,
    device: torch.device | str = "cpu",
    stop_at: float | None = None,
    report: Report = silent,
    licences: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the generator of `recipe` in the folder `out` and return its manifest.

    `teacher` names the guide: a folder that is complete for the same recipe, prompts and teacher
    is returned as it is. At `stop_at` (of `time.monotonic`) the run saves itself and raises
    EdgekitError; the same call continues it.

    Raises EdgekitError if `out` holds something else, OutputError if it cannot be written.
    """
    out = prepared_folder(Path(out))
    told = [list(prompts.train), list(prompts.unseen), list(prompts.words)]
    sha256 = value_sha256([FORMAT, recipe.sha256, told, teacher])
    if complete(out, kind=KIND, recipe_sha256=sha256):
        return read_manifest(out, kind=KIND)
    if (out / MANIFEST).is_file():
        raise EdgekitError(
            f"{out} holds something made otherwise", hint="choose another --out, or delete it"
        )
    with locked(out):
        recipe.write(out / "recipe.toml")
        report("generator", 0, 1)
        made = fit_mesh(
            recipe,
            guide,
            prompts,
            out / WORK,
            of=teacher,
            device=device,
            stop_at=stop_at,
            previews=out,
        )
        if made is None:
            raise EdgekitError(
                "the time is over before the training is", hint="run the same command again"
            )
        generator = cast(Generator, made).cpu()
        facts = StudentFacts(
            name=recipe.name,
            recipe_sha256=sha256,
            teacher=teacher,
            seed=recipe.seed,
            quality={"mesh": solid(generator, prompts)},
            seconds=_seconds(out / WORK),
            licences=licences or {},
        )
        manifest = write_generator(out, generator, prompts, facts)
        report("generator", 1, 1)
    return manifest


@torch.no_grad()
def solid(generator: Generator, prompts: Prompts) -> dict[str, Any]:
    """Return how many prompts give a mesh at all, and how much of the world the shapes fill."""
    shape, found = generator.shape, {}
    for name, some in (("train", prompts.train), ("unseen", prompts.unseen)):
        rows = tokens(some, prompts.words, shape.length)
        inside = [_filled(generator, row[None]) for row in rows]
        filled = sum(inside) / max(1, len(inside))
        empty = sum(share == 0 for share in inside)
        found[name] = {"prompts": len(inside), "empty": empty, "filled": round(filled, 5)}
    return found


def _filled(generator: Generator, words: torch.Tensor) -> float:
    sdf = generator.on_lattice(generator.codes(words), generator.shape.cells).sdf
    return float((sdf < 0).float().mean())


def prompts_of(train: Path | None, unseen: Path | None) -> Prompts:
    """Return the prompts of files (one a line), or those of the bundled world for None.

    Raises BadInput for a file that cannot be used, or if a word of an unseen prompt occurs in none
    that is trained on.
    """
    if train is None:
        if unseen is not None:
            raise EdgekitError("--unseen needs --prompts", hint="add --prompts FILE")
        from edgekit.distill.teachers.views.world import split

        seen, kept = split()
        return Prompts(train=tuple(seen), unseen=tuple(kept), words=vocabulary(seen))
    seen = _lines(train)
    kept = [] if unseen is None else _lines(unseen)
    words = vocabulary(seen)
    for prompt in kept:
        if strange := sorted(set(split_prompt(prompt)) - set(words)):
            raise BadInput(
                f"{unseen}: {strange[0]!r} in {prompt!r} is a word of no prompt in {train}",
                hint="an unseen prompt is a new combination of known words",
            )
        if prompt in seen:
            raise BadInput(f"{unseen}: {prompt!r} is in {train} too", hint="leave it out of one")
    return Prompts(train=tuple(seen), unseen=tuple(kept), words=words)


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}", hint="name a text file") from error
    prompts = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not prompts:
        raise BadInput(f"{path} holds no prompt", hint="write one a line")
    for prompt in prompts:
        if not split_prompt(prompt):
            raise BadInput(f"{path}: {prompt!r} has no word", hint="use letters")
    return prompts


def _seconds(folder: Path) -> float:
    """Return the seconds of both stages, over all continuations, as they were logged."""
    last: dict[str, float] = {}
    for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "seconds" in row:
            last[row["stage"]] = float(row["seconds"])
    return sum(last.values())
