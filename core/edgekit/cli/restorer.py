"""The part of ``edgekit distill`` that makes a restorer; a command only through ``--student``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from edgekit.cli.common import RUNS, ConsoleReport, note, planned, refuse_others, show

SHARED = (
    "out", "student", "recipe", "faces", "form", "base", "encoder", "frozen_encoder", "phone",
    "severity", "places",
)  # fmt: skip
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
    from edgekit.distill.restorer.recipe import read_restorer_recipe, restorer_recipe

    given = {
        **shared,
        "conditioning": chosen["form"],
        "phone": chosen["phone"] or None,
        "tuned": False if chosen["frozen_encoder"] else None,
        "severity": chosen["severity"],
        "places": chosen["places"],
    }
    read = chosen["recipe"]
    recipe = restorer_recipe(**given) if read is None else read_restorer_recipe(read, **given)
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
    if (wrong := _lost_codes(out)) is not None:
        note(
            f"warning: the identity encoder of this run is wrong about {wrong:.0%} of pairs of "
            "people that no training saw: look whether its codes help at all"
        )
    show({"out": str(out), **manifest}, _told(out, manifest))


def _lost_codes(out: Path) -> float | None:
    """Return how often the run's encoder is wrong about two people, if that is near chance."""
    from edgekit.core.identity import NEAR_CHANCE
    from edgekit.core.store import read_manifest

    for folder in (out / "identity", out / "phone" / "identity"):
        if (folder / "manifest.json").is_file():
            quality = read_manifest(folder, kind="student").get("quality") or {}
            wrong = float(quality.get("identity", {}).get("equal_error", 0.0))
            return wrong if wrong > NEAR_CHANCE else None
    return None


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
