"""The part of ``edgekit distill`` that makes a mesh generator; only through ``--student mesh``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from edgekit.cli.common import RUNS, ConsoleReport, note, planned, refuse_others, show
from edgekit.core.errors import EdgekitError

WHERE = ("teacher", "recipe", "prompts", "unseen")
"""Options that say what to learn from, and are not part of the recipe."""


def generator(
    ctx: typer.Context, out: Path | None, given: Mapping[str, Any], shared: Mapping[str, Any]
) -> None:
    """Train a generator as the options say and show what came out.

    Raises EdgekitError for an option that only another student has, or if no teacher is given.
    """
    taken = {"out", "student", *given, *shared}
    refuse_others(ctx, taken, "a mesh generator")
    from edgekit.distill.mesh.recipe import mesh_recipe, read_mesh_recipe
    from edgekit.distill.mesh.run import prompts_of

    values = {**shared, **{name: value for name, value in given.items() if name not in WHERE}}
    read, teacher = given["recipe"], given["teacher"]
    recipe = mesh_recipe(**values) if read is None else read_mesh_recipe(read, **values)
    if teacher is None:
        raise EdgekitError(
            "no teacher of views is given",
            hint="add --teacher FOLDER, written by `edgekit teacher train --kind views`, or the "
            "hub id of a text-to-image pipeline",
        )
    prompts = prompts_of(given["prompts"], given["unseen"])
    out = out or RUNS / recipe.name
    plan = {"step": "distill", "out": out, "teacher": teacher, "prompts": len(prompts.train)}
    if planned({**plan, "unseen": len(prompts.unseen), **recipe.values()}):
        return
    import torch

    from edgekit.distill.mesh.run import distill_mesh
    from edgekit.distill.teachers.views.guide import load_guide

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    guide = load_guide(teacher, device)
    note(f"turntables of some prompts appear in {out / 'preview.png'} while it learns")
    manifest = distill_mesh(
        recipe, guide, prompts, out, teacher=guide.identity, device=device, report=ConsoleReport()
    )
    show({"out": str(out), **manifest}, _told(out, manifest))


def _told(out: Path, manifest: Mapping[str, Any]) -> str:
    found = manifest["quality"]["mesh"]
    empty = sum(part["empty"] for part in found.values())
    asked = sum(part["prompts"] for part in found.values())
    first = (manifest["prompts"]["unseen"] or manifest["prompts"]["train"])[0]
    return (
        f"{out}: {manifest['parameters'] / 1e6:.2f} M parameters, trained "
        f"{manifest['seconds']:.0f} s; {asked - empty} of {asked} prompts give a mesh; look at "
        f'{out / "preview.png"}; next: edgekit mesh "{first}" --run {out} -o thing.glb'
    )
