"""The part of ``edgekit distill`` that makes a restorer; a command only through ``--student``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from edgekit.cli.common import RUNS, ConsoleReport, planned, refuse_others, show

SHARED = ("out", "student", "faces", "form", "base", "encoder", "phone", "severity", "places")
"""Options that a restorer takes besides those of its recipe."""


def restorer(
    ctx: typer.Context, out: Path | None, chosen: Mapping[str, Any], shared: Mapping[str, Any]
) -> None:
    """Train a restorer as the options say and show what came out.

    Raises EdgekitError for an option that only a concept's student has.
    """
    names = {"size_px": "size"}
    taken = {*SHARED, *(names.get(name, name) for name in shared)}
    refuse_others(ctx, taken, "a restorer")
    from edgekit.distill.restorer.recipe import restorer_recipe

    given = {name: value for name, value in shared.items() if name != "profile"}
    recipe = restorer_recipe(
        profile=shared["profile"] or "cpu",
        conditioning=chosen["form"],
        phone=chosen["phone"] or None,
        severity=chosen["severity"],
        places=chosen["places"],
        **given,
    )
    out = out or RUNS / recipe.name
    where = {"out": out, "faces": list(chosen["faces"]), "base": chosen["base"]}
    if planned({"step": "distill", **where, "encoder": chosen["encoder"], **recipe.values()}):
        return
    from edgekit.distill.restorer.run import distill_restorer

    manifest = distill_restorer(
        recipe,
        chosen["faces"],
        out,
        base=chosen["base"],
        encoder=chosen["encoder"],
        report=ConsoleReport(),
    )
    show({"out": str(out), **manifest}, _told(out, manifest))


def _told(out: Path, manifest: Mapping[str, Any]) -> str:
    ours, source = manifest["quality"]["student"], manifest["quality"]["source"]
    following = (
        f"next: edgekit export {out}"
        if manifest["kind"] == "student"
        else "it is no file for a phone: --phone distills one"
    )
    return (
        f"{out}: {manifest['parameters'] / 1e6:.2f} M parameters; "
        f"{ours['psnr_db']:.1f} dB to the true portraits of test people (degraded "
        f"{source['psnr_db']:.1f}), feature distance {ours['perceptual']:.3f} "
        f"({source['perceptual']:.3f}); look at {out / 'preview.png'}; {following}"
    )
