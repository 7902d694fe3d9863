"""``edgekit distill``: a concept to a student folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from edgekit.cli.common import RUNS, ConsoleReport, planned, show, typed_options
from edgekit.core.errors import EdgekitError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class SearchCommand(TyperCommand):
    """A command whose ``--search`` may stand without its mode, which typer has no option for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare ``--search`` its usual mode."""
        full = []
        for word, following in zip(args, [*args[1:], "-"], strict=True):
            full.append(word)
            if word == "--search" and following.startswith("-"):
                full.append("tpe")
        return super().parse_args(ctx, full)


@app.command(cls=SearchCommand)
def distill(
    ctx: typer.Context,
    out: Path | None = typer.Option(
        None,
        "--out",
        "-o",
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
    student: str | None = typer.Option(
        None,
        help="Kind of student: gan (default: one edit), restorer (portraits), or mesh (prompts to "
        "meshes).",
    ),
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
    ranks: str | None = typer.Option(
        None, help='Rank of each group of layers: "down=2,ds=4,transformer=4,us=4,up=8".'
    ),
    search: str | None = typer.Option(
        None,
        metavar="[tpe|greedy]",
        help="First search the ranks on validation pairs: tpe (the default: optuna proposes all "
        "groups at once) or greedy (ranks are doubled while that pays, as in E2GAN).",
    ),
    budget: str | None = typer.Option(
        None, help="Time of the search over all continuations, like 90s or 10m (default)."
    ),
    budget_kb: float | None = typer.Option(
        None, help="Most kB (1000 bytes) of the adapter that --search may choose; default: 100."
    ),
    trials: int | None = typer.Option(
        None, help="Trials at most; with it and no --budget, time sets no limit."
    ),
    trial_steps: int | None = typer.Option(
        None, help="Steps of a trial; default: a quarter of --steps."
    ),
    width: int | None = typer.Option(None, help="Size dial of a student from scratch."),
    seed: int | None = typer.Option(None, help="Decides crops, order and random weights."),
    faces: list[Path] = typer.Option(
        [], help="restorer: folder written by `edgekit pairs faces`; may be given more than once."
    ),
    form: str | None = typer.Option(
        None,
        help="restorer: how references act: memory (default: cached keys and values), code (an "
        "identity code), channels or none; phone: the network for phones alone, with a code.",
    ),
    base: str | None = typer.Option(
        None,
        help="restorer: a base of an earlier run, or a diffusers folder or hub id such as "
        "stabilityai/sd-turbo, which gets low-rank factors; default: train a small one.",
    ),
    encoder: Path | None = typer.Option(
        None, help="restorer: identity encoder, for --form code, --form phone and --phone."
    ),
    frozen_encoder: bool = typer.Option(
        False,
        "--frozen-encoder",
        help="restorer: leave the identity encoder as it is, so that its codes fit other restorers "
        "too; by default a copy of it is trained on.",
    ),
    phone: bool = typer.Option(
        False, "--phone", help="restorer: also distill it into a network for phones."
    ),
    severity: str | None = typer.Option(
        None, help="restorer: mild, medium, severe, extreme or mixed (default)."
    ),
    places: int | None = typer.Option(None, help="restorer: references that fit; default: 4."),
    prompts: Path | None = typer.Option(
        None, help="mesh: text file with a prompt a line; default: the bundled world's 56."
    ),
    unseen: Path | None = typer.Option(
        None, help="mesh: prompts that are shown and counted, but never trained on."
    ),
    seconds: float | None = typer.Option(
        None, help="mesh: time of the training, over all its continuations; default: 300."
    ),
    loss: str | None = typer.Option(None, help="mesh: sds (default), or asd."),
    guidance: float | None = typer.Option(
        None, help="mesh: how far the text pulls beyond plain prediction; 1: not at all."
    ),
    stage_one: float | None = typer.Option(
        None, help="mesh: part of the time for volumes before meshes; default: 0.7, 0: none."
    ),
) -> None:
    """Train a small student that performs one edit of a teacher.

    Makes pairs, adapts the shipped base to them by low-rank factors, and writes student.pt2,
    weights, adapter, curves, a preview and a manifest. A run that was killed continues.

    With --student restorer it trains a network that restores a degraded portrait with the help of
    good ones of the same person, in one step; docs/restorer.md says more.

    With --student mesh it trains a network that turns a prompt into a mesh, by nothing but what
    --teacher (see `edgekit teacher train --kind views`) says of renders; docs/mesh.md says more.

    Example: edgekit distill --concept "make it night" --out runs/night
    """
    of_restorer = {
        "faces": faces,
        "form": form,
        "base": base,
        "encoder": encoder,
        "frozen_encoder": frozen_encoder,
        "phone": phone,
        "severity": severity,
        "places": places,
    }
    of_mesh = {
        "prompts": prompts,
        "unseen": unseen,
        "seconds": seconds,
        "loss": loss,
        "guidance": guidance,
        "stage_one": stage_one,
    }
    if student == "mesh":
        from edgekit.cli.generator import generator

        where = {"teacher": teacher, "recipe": recipe}
        trained = {"steps": steps, "batch": batch, "lr": lr, "seed": seed}
        generator(ctx, out, where | of_mesh, {"name": name, "profile": profile, **trained})
        return
    if wrong := [key for key, value in of_mesh.items() if value is not None]:
        raise EdgekitError(
            f"--{wrong[0].replace('_', '-')} is for a mesh generator",
            hint="add --student mesh, or leave it out",
        )
    if student == "restorer":
        from edgekit.cli.restorer import restorer

        shared = {
            "name": name,
            "profile": profile,
            "size_px": size,
            "steps": steps,
            "minutes": minutes,
            "batch": batch,
            "l1": l1,
            "perceptual": perceptual,
            "adversarial": adversarial,
            "rank": rank,
            "seed": seed,
        }
        restorer(ctx, out, {**of_restorer, "recipe": recipe}, shared)
        return
    if wrong := [key for key, value in of_restorer.items() if value]:
        raise EdgekitError(
            f"--{wrong[0].replace('_', '-')} is for a restorer",
            hint="add --student restorer, or leave it out",
        )
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
        "ranks": ranks,
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
    searching = {
        "mode": search,
        "budget": budget,
        "budget_kb": budget_kb,
        "trials": trials,
        "steps": trial_steps,
    }
    searched = _search(ctx, searching, seed=chosen.seed)
    plan: dict[str, Any] = {"step": "distill", "out": out, "photos": photos}
    plan["pairs_folder"] = pairs
    plan["search"] = searched and searched.values()
    if planned({**plan, **chosen.values()}):
        return
    from edgekit.distill.distill import distill as run

    manifest = run(chosen, out, photos=photos, pairs=pairs, search=searched, report=ConsoleReport())
    ours, source = manifest["quality"]["student"], manifest["quality"]["source"]
    adapter = manifest["adapter"]
    stored = f", adapter {adapter['bytes'] / 1000:.0f} kB" if adapter else ""
    show(
        {"out": str(out), **manifest},
        f"{_found(manifest)}{out}: {manifest['parameters'] / 1e6:.2f} M parameters, "
        f"{manifest['gmac']:.2f} GMAC{stored}; trained {manifest['seconds']:.0f} s; "
        f"{ours['psnr_db']:.1f} dB to the teacher (untouched source {source['psnr_db']:.1f}); "
        f"look at {out / 'preview.png'}; "
        f"next: edgekit export {out}",
    )


def _search(ctx: typer.Context, given: dict[str, Any], *, seed: int) -> Any:
    """Return the settings of the search that the options ask for, None if they ask for none."""
    from edgekit.distill.search.settings import SearchSettings, seconds_of

    asked = {name: value for name, value in given.items() if value is not None}
    typed = typed_options(ctx)
    if "mode" not in asked:
        # In a configuration or the environment they may wait for a search, on the line not.
        if idle := [
            name for name in ("budget", "budget_kb", "trials", "trial_steps") if name in typed
        ]:
            raise EdgekitError(
                f"--{idle[0].replace('_', '-')} is for a search", hint="add --search"
            )
        return None
    if "rank" in typed or "ranks" in typed:
        raise EdgekitError(
            "--search finds the ranks that --rank or --ranks would give", hint="leave one out"
        )
    asked["seed"] = seed
    if "budget" in asked:
        asked["budget_s"] = seconds_of(asked.pop("budget"))
    elif asked.get("trials"):
        asked["budget_s"] = float("inf")
    return SearchSettings(**asked)


def _found(manifest: dict[str, Any]) -> str:
    """Say what a search cost and found."""
    found = manifest.get("search")
    if not found:
        return ""
    ranks = ", ".join(f"{group} {rank}" for group, rank in found["ranks"].items())
    return (
        f"searched {found['seconds']:.0f} s, {found['trials']} trials ({found['pruned']} pruned): "
        f"ranks {ranks}, {found['bytes'] / 1000:.1f} kB\n"
    )
