"""``edgekit teacher train --kind views`` and ``--kind judge``, and ``edgekit teacher draw``."""

from __future__ import annotations

import math
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import ConsoleReport, planned, show


def draw(
    prompts: Annotated[list[str], typer.Argument(help="Things to draw, in words.")],
    teacher: Annotated[str, typer.Option(help="Folder of a views teacher.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write.")] = Path(
        "views.png"
    ),
    views: Annotated[int, typer.Option(min=1, max=36, help="Sides to draw each from.")] = 4,
    guidance: Annotated[float, typer.Option(min=1, help="Hold on the prompt.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides the noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Draw things from all sides with a views teacher, a row each, the front first.

    Example: edgekit teacher draw "a red striped cone with a hat" --teacher views -o cone.png
    """
    from edgekit.core.errors import EdgekitError
    from edgekit.distill.teachers.folders import quiet
    from edgekit.distill.teachers.loader import device_named

    if not all(prompt.strip() for prompt in prompts):
        raise EdgekitError("a prompt is empty", hint="say what to draw")
    plan = {"teacher": teacher, "prompts": prompts, "views": views, "seed": seed, "out": out}
    if planned({"step": "teacher draw", **plan}):
        return
    with quiet(), redirect_stdout(sys.stderr):
        from edgekit.distill.teachers.views.guide import load_views
        from edgekit.distill.teachers.views.sampling import write_sheet

        guide = load_views(Path(teacher), device_named(device))
        write_sheet(guide, prompts, out, views=views, guidance=guidance, seed=seed)
    show({**plan, "teacher": guide.identity, "out": str(out)}, str(out))


def train_views(
    out: Path,
    meshes: Path | None,
    budget: tuple[float | None, float | None],
    resolution: int | None,
    seed: int,
    device: str,
    *,
    toy: bool,
) -> None:
    """Train a views teacher into `out`; `budget` is for all calls and for this one, seconds."""
    from edgekit.core.errors import EdgekitError
    from edgekit.core.store import prepared_folder
    from edgekit.distill.teachers.folders import quiet
    from edgekit.distill.teachers.loader import device_named

    with quiet():
        from edgekit.distill.teachers.views.fit import TOY_SETTINGS, ViewsSettings, fit_views
        from edgekit.distill.teachers.views.meshes import read_index

    seconds, stop_after = budget
    settings = replace(TOY_SETTINGS if toy else ViewsSettings(), meshes=meshes, seed=seed)
    if seconds is not None:
        settings = replace(settings, seconds=seconds)
    if resolution is not None:
        try:
            settings = replace(settings, size=replace(settings.size, size_px=resolution))
        except ValueError as error:
            raise EdgekitError(
                f"resolution = {resolution}: {error}", hint="choose a multiple of 8"
            ) from error
    place = device_named(device)
    known = None if meshes is None else len(read_index(meshes))
    plan = {"out": out, "device": place, "meshes": known, "toy": toy, "seed": seed,
            "seconds": settings.seconds, "resolution": settings.size.size_px}  # fmt: skip
    if planned({"step": "teacher train", "kind": "views", **plan}):
        return
    prepared_folder(out)
    with quiet(), redirect_stdout(sys.stderr):
        import torch

        facts = fit_views(
            settings,
            out,
            device=torch.device(place),
            stop_at=math.inf if stop_after is None else time.monotonic() + stop_after,
            report=ConsoleReport(),
        )
    if facts is None:
        text = f"{out}: not finished; the same command continues"
        show({"out": str(out), "finished": False}, text)
        return
    show(
        {"out": str(out), "finished": True, **facts},
        f"{out}: {facts['parameters'] / 1e6:.1f} M parameters, {facts['steps']} steps; "
        f"look at {out / 'preview.png'}, or: edgekit teacher draw PROMPT --teacher {out}",
    )


def train_judge(out: Path, seconds: float | None, seed: int, device: str, *, toy: bool) -> None:
    """Train a judge of views into `out` and say how often it is right."""
    from edgekit.core.store import prepared_folder
    from edgekit.distill.teachers.folders import quiet
    from edgekit.distill.teachers.loader import device_named

    with quiet():
        from edgekit.distill.teachers.views.judge import TOY_SETTINGS, JudgeSettings, fit_judge

    settings = replace(TOY_SETTINGS if toy else JudgeSettings(), seed=seed)
    if seconds is not None:
        settings = replace(settings, seconds=seconds)
    place = device_named(device)
    plan = {"out": out, "device": place, "seconds": settings.seconds, "toy": toy, "seed": seed}
    if planned({"step": "teacher train", "kind": "judge", **plan}):
        return
    prepared_folder(out)
    with quiet(), redirect_stdout(sys.stderr):
        import torch

        found = fit_judge(settings, out, device=torch.device(place), report=ConsoleReport())
    lines = "  ".join(f"{name} {share:.1%}" for name, share in found.items())
    show({"out": str(out), "accuracy": found}, f"{out}: right on new toys and views: {lines}")
