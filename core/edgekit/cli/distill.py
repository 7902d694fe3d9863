"""``edgekit distill``: a concept to a student folder."""

from __future__ import annotations

from pathlib import Path

import typer

from edgekit.cli.common import RUNS, ConsoleReport, planned, show
from edgekit.core.errors import EdgekitError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def distill(
    out: Path | None = typer.Option(
        None,
        help="Run folder to write; an unfinished one is continued.  [default: runs/NAME]",
    ),
    concept: str | None = typer.Option(None, help="The edit in the teacher's words."),
    recipe: Path | None = typer.Option(
        None, help="recipe.toml with values for what no option says."
    ),
    photos: Path | None = typer.Option(
        None, help="Your photos; default: those inside scikit-image and scikit-learn."
    ),
    pairs: Path | None = typer.Option(
        None, help="Folder written by `edgekit pairs make`, instead of making pairs."
    ),
    teacher: str | None = typer.Option(
        None, help="bundled (default), a diffusers folder, or a hub id."
    ),
    teacher_steps: int | None = typer.Option(None, help="Sampling steps of the teacher."),
    profile: str | None = typer.Option(
        None, help="cpu (default: 128 px, about 3 minutes on two cores) or gpu (256 px)."
    ),
    student: str | None = typer.Option(None, help="Kind of student: gan."),
    init: str | None = typer.Option(
        None, help="base (default): adapt the shipped base; scratch: train every weight."
    ),
    arch: str | None = typer.Option(None, help="edgekit (default), or the baseline resnet9."),
    name: str | None = typer.Option(None, help="Name of the model files; default: the concept."),
    size: int | None = typer.Option(None, help="Side of the student's pictures."),
    count: int | None = typer.Option(None, help="Pairs to ask the teacher for."),
    steps: int | None = typer.Option(None, help="Training steps at most."),
    minutes: float | None = typer.Option(None, help="Training minutes at most."),
    batch: int | None = typer.Option(None, help="Pairs a step."),
    lr: float | None = typer.Option(None, help="Highest learning rate."),
    l1: float | None = typer.Option(None, help="Weight of the absolute difference."),
    perceptual: float | None = typer.Option(None, help="Weight of the feature distance."),
    adversarial: float | None = typer.Option(None, help="Weight of the PatchGAN term; 0: none."),
    rank: int | None = typer.Option(None, help="Rank of the adapter."),
    width: int | None = typer.Option(None, help="Size dial of a student from scratch."),
    seed: int | None = typer.Option(None, help="Decides crops, order and random weights."),
) -> None:
    """Train a small student that performs one edit of a teacher.

    Makes pairs, adapts the shipped base to them by low-rank factors, and writes student.pt2,
    weights, adapter, curves, a preview and a manifest. A run that was killed continues.

    Example: edgekit distill --concept "make it night" --out runs/night
    """
    from edgekit.distill.recipe import read_recipe, recipe_for

    given = {
        "teacher": teacher,
        "teacher_steps": teacher_steps,
        "student": student,
        "init": init,
        "arch": arch,
        "name": name,
        "size_px": size,
        "pairs": count,
        "steps": steps,
        "minutes": minutes,
        "batch": batch,
        "lr": lr,
        "l1": l1,
        "perceptual": perceptual,
        "adversarial": adversarial,
        "rank": rank,
        "width": width,
        "seed": seed,
    }
    if recipe is not None:
        chosen = read_recipe(recipe, concept=concept, profile=profile, **given)
    elif concept is None:
        raise EdgekitError("no concept is given", hint='add --concept "make it night"')
    else:
        chosen = recipe_for(concept, profile=profile or "cpu", **given)
    out = out or RUNS / chosen.name
    plan = {"step": "distill", "out": out, "photos": photos, "pairs_folder": pairs}
    if planned({**plan, **chosen.values()}):
        return
    from edgekit.distill.distill import distill as run

    manifest = run(chosen, out, photos=photos, pairs=pairs, report=ConsoleReport())
    ours, source = manifest["quality"]["student"], manifest["quality"]["source"]
    adapter = manifest["adapter"]
    stored = f", adapter {adapter['bytes'] / 1000:.0f} kB" if adapter else ""
    show(
        {"out": str(out), **manifest},
        f"{out}: {manifest['parameters'] / 1e6:.2f} M parameters, {manifest['gmac']:.2f} GMAC"
        f"{stored}; trained {manifest['seconds']:.0f} s; {ours['psnr_db']:.1f} dB to the teacher "
        f"(untouched source {source['psnr_db']:.1f}); look at {out / 'preview.png'}; "
        f"next: edgekit export {out}",
    )
