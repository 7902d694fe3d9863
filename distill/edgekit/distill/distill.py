"""The step from a concept to a student folder: pairs, a search if asked for, training, one program.

A run folder that is complete for the same recipe is left as it is; one that was interrupted goes
on where it stopped: finished pair shards and the last checkpoint are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.core.errors import BadInput, EdgekitError, QualityFailed
from edgekit.core.images import photo_files, resized
from edgekit.core.progress import Report, silent
from edgekit.core.store import (
    MANIFEST,
    complete,
    file_sha256,
    locked,
    prepared_folder,
    read_manifest,
    size_bytes,
    value_sha256,
)
from edgekit.core.tensors import Photos
from edgekit.distill.base import Base, load_base
from edgekit.distill.fit_gan import fit_gan
from edgekit.distill.fit_state import FitData, FitResult, FitSettings, fast_bfloat16
from edgekit.distill.lora import Adapter, attach, factors, merged, save_adapter, use_factors
from edgekit.distill.pairs.make import make_pairs
from edgekit.distill.pairs.settings import PairSettings
from edgekit.distill.pairs.store import PairSet, open_pairs
from edgekit.distill.program import ADAPTER, KIND, StudentFacts, write_student
from edgekit.distill.ranks import ranks_as_text
from edgekit.distill.recipe import Recipe
from edgekit.distill.search.judge import split
from edgekit.distill.search.run import check_search, search_ranks, trial_settings
from edgekit.distill.search.settings import SearchSettings
from edgekit.distill.students.cost import count_parameters
from edgekit.distill.students.gan import Generator, Shape, fresh_generator, specialized
from edgekit.distill.students.resnet9 import fresh_resnet9
from edgekit.distill.students.text_context import text_context
from edgekit.distill.teachers.folders import check_concept, describe_teacher
from edgekit.distill.teachers.loader import load_teacher

LEAST_HELDOUT = 12
"""Held-out pairs to ask for: some may be rejected, and 8 are wanted."""
LEAST_TRAINING = 4
FORMAT = 3
"""Raised when the same recipe would give another student than before."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A checked run before any work."""

    recipe: Recipe
    photos: Path | None
    pairs: Path | None
    sha256: str
    base: Base | None
    search: SearchSettings | None = None


def distill(
    recipe: Recipe,
    out: Path,
    *,
    photos: Path | None = None,
    pairs: Path | None = None,
    base: Path | None = None,
    search: SearchSettings | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Make the student of `recipe` in the folder `out` and return its manifest.

    `photos` is a folder of the user's photos (default: those in scikit-image and scikit-learn);
    `pairs` is a finished folder of pairs to train on instead of making new ones; `base` replaces
    the shipped base. With `search` the ranks are searched on validation pairs first, and the best
    take the place of the recipe's. A folder that holds this very student is left as it is.

    Raises BadInput for a concept that the bundled teacher does not know, unusable photos or pairs,
    or a changed base; EdgekitError if `out` holds another student; OutputError if it cannot be
    written; QualityFailed if too few pairs are good. All but the last come before any work.
    """
    plan = _planned(recipe, photos, pairs, base, search)
    out = prepared_folder(Path(out))
    if _finished(out, plan.sha256):
        return read_manifest(out, kind=KIND)
    if (out / MANIFEST).is_file():
        raise EdgekitError(
            f"{out} holds something made otherwise", hint="choose another --out, or delete it"
        )
    with locked(out):
        recipe.write(out / "recipe.toml")
        if pairs:
            found = open_pairs(pairs)
        else:
            found = pairs_for(recipe, out / "pairs", photos=photos, report=report)
        return _trained(plan, found, out, report)


def _planned(
    recipe: Recipe,
    photos: Path | None,
    pairs: Path | None,
    base_folder: Path | None,
    search: SearchSettings | None,
) -> _Plan:
    if photos and pairs:
        raise EdgekitError(
            "--photos and --pairs exclude each other", hint="pairs already hold their photos"
        )
    values: dict[str, Any] = {"format": FORMAT, "recipe": recipe.values()}
    if pairs:
        values["pairs"] = _checked_pairs(recipe, pairs)
    else:
        teacher = describe_teacher(recipe.teacher)
        if teacher.concepts:
            check_concept(recipe.concept)
        values["teacher"] = teacher.identity
        files = photo_files(photos) if photos else []
        values["photos"] = [[path.name, file_sha256(path)] for path in files]
    base = load_base(base_folder) if recipe.init == "base" else None
    values["base"] = base.sha256 if base else None
    if search is not None:
        if base is None:
            raise EdgekitError(
                "a student from scratch has no adapter whose ranks could be searched",
                hint="leave out --search, or --init scratch",
            )
        check_search(base.generator, search, prompt=recipe.concept, base_sha256=base.sha256)
        values["search"] = search.values()
    return _Plan(recipe, photos, pairs, value_sha256(values), base, search)


def _checked_pairs(recipe: Recipe, folder: Path) -> str:
    facts = read_manifest(folder, kind="pairs")
    if facts["prompt"] != recipe.concept:
        raise BadInput(
            f"{folder} holds pairs for {facts['prompt']!r}, not for {recipe.concept!r}",
            hint=f"write --concept {facts['prompt']!r}, or make other pairs",
        )
    if facts["size_px"] < recipe.size_px:
        raise BadInput(
            f"{folder} holds pairs of {facts['size_px']} pixels, fewer than {recipe.size_px}",
            hint=f"add --size {facts['size_px'] // 32 * 32}, or make larger pairs",
        )
    return str(facts["recipe_sha256"])


def _finished(out: Path, sha256: str) -> bool:
    if not complete(out, kind=KIND, recipe_sha256=sha256):
        return False
    listed = read_manifest(out, kind=KIND)["files"]
    return all(
        (out / name).is_file() and size_bytes(out / name) == fact["bytes"]
        for name, fact in listed.items()
    )


def pairs_for(
    recipe: Recipe, folder: Path, *, photos: Path | None = None, report: Report = silent
) -> PairSet:
    """Make the pairs that `distill` trains on, or open them if `folder` holds them already."""
    settings = PairSettings(
        prompt=recipe.concept,
        photos=photos,
        count=recipe.pairs,
        size_px=recipe.size_px,
        seed=recipe.seed,
        heldout=min(0.5, max(0.1, LEAST_HELDOUT / recipe.pairs)),
    )
    info = describe_teacher(recipe.teacher)
    teacher = load_teacher(
        recipe.teacher,
        steps=recipe.teacher_steps or None,
        # Half the time where the processor multiplies bfloat16; 0.3 of 255 grey levels apart.
        dtype="bfloat16" if info.concepts and fast_bfloat16(torch.device("cpu")) else None,
        pairs_px=recipe.size_px,
    )
    return make_pairs(settings, teacher, folder, report=report)


def _trained(plan: _Plan, pairs: PairSet, out: Path, report: Report) -> dict[str, Any]:
    data, heldout = _data(pairs, plan.recipe.size_px)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan, searched = _searched(plan, data, out, device, report)
    recipe = plan.recipe
    generator, context = _network(plan)
    result = fit_gan(
        generator,
        data,
        _settings(recipe),
        folder=out,
        context=context,
        device=device,
        fingerprint=f"{plan.sha256}/{recipe.ranks}" if searched else plan.sha256,
        report=report,
    )
    student, adapter = _shippable(plan, generator.cpu(), context, out)
    licences: Mapping[str, Any] = pairs.manifest.get("licences", {})
    return write_student(
        out,
        student,
        size_px=recipe.size_px,
        calibration=data.sources,
        heldout=heldout,
        facts=StudentFacts(
            name=recipe.name,
            prompt=recipe.concept,
            teacher=pairs.manifest["teacher"],
            recipe_sha256=plan.sha256,
            seed=recipe.seed,
            base_sha256=plan.base.sha256 if plan.base else None,
            adapter=adapter,
            losses=_losses(recipe, result),
            seconds=result.seconds,
            licences={**licences, "base": plan.base.card.get("licence") if plan.base else None},
            extra={
                "arch": recipe.arch,
                "init": recipe.init,
                "profile": recipe.profile,
                "training_pairs": len(data.sources),
                "validation_pairs": len(data.val_sources),
                **({"search": searched} if searched else {}),
            },
        ),
    )


def _searched(
    plan: _Plan, data: FitData, out: Path, device: str, report: Report
) -> tuple[_Plan, dict[str, Any] | None]:
    """Search the ranks on training pairs and put the best into the recipe, on disk too."""
    if plan.search is None or plan.base is None:
        return plan, None
    sources = np.concatenate([data.sources, data.val_sources])
    edits = np.concatenate([data.edits, data.val_edits])
    found = search_ranks(
        plan.base.generator,
        split(sources, edits, plan.search.validation),
        trial_settings(_settings(plan.recipe), plan.search),
        plan.search,
        folder=out,
        prompt=plan.recipe.concept,
        base_sha256=plan.base.sha256,
        context=text_context(plan.recipe.concept),
        device=device,
        report=report,
    )
    recipe = replace(plan.recipe, ranks=ranks_as_text(found.best.ranks))
    recipe.write(out / "recipe.toml")
    return replace(plan, recipe=recipe), found.facts(plan.search)


def _data(pairs: PairSet, size_px: int) -> tuple[FitData, tuple[Photos, Photos]]:
    training, heldout = pairs.split("train"), pairs.split("heldout")
    if len(training) < LEAST_TRAINING or not heldout:
        raise QualityFailed(
            f"{pairs.folder} holds {len(training)} good pairs to train on and {len(heldout)} held "
            "out, too few",
            hint="use more photos or ask for more --pairs; `edgekit pairs inspect` shows why",
        )
    # An eighth of the pairs chooses the best weights, at most about 16 of them.
    every = max(min(8, len(training) // 2), len(training) // 16)
    chosen = [i for i in range(len(training)) if i % every == every - 1]
    rest = [i for i in range(len(training)) if i % every != every - 1]
    sources, edits = (_sized(photos, size_px) for photos in pairs.load(training))
    held_sources, held_edits = (_sized(photos, size_px) for photos in pairs.load(heldout))
    data = FitData(sources[rest], edits[rest], sources[chosen], edits[chosen])
    return data, (held_sources, held_edits)


def _sized(photos: Photos, size_px: int) -> Photos:
    return np.stack([resized(photo, size_px, size_px) for photo in photos])


def _network(plan: _Plan) -> tuple[nn.Module, Tensor | None]:
    """Return what is trained and the concept's text."""
    recipe = plan.recipe
    if recipe.arch == "resnet9":
        return fresh_resnet9(recipe.width, seed=recipe.seed), None
    context = text_context(recipe.concept)
    if plan.base is not None:
        return attach(plan.base.generator, rank=recipe.adapter_ranks, seed=recipe.seed), context
    shape = Shape(width=recipe.width, context_dim=context.shape[1])
    return fresh_generator(shape, seed=recipe.seed), context


def _settings(recipe: Recipe) -> FitSettings:
    return FitSettings(
        steps=recipe.steps,
        batch=recipe.batch,
        lr=recipe.lr,
        l1=recipe.l1,
        perceptual=recipe.perceptual,
        adversarial=recipe.adversarial,
        seed=recipe.seed,
        minutes=recipe.minutes,
        frozen_norms=recipe.init == "base",
        discriminator_width=64 if recipe.profile == "gpu" else 32,
    )


def _shippable(
    plan: _Plan, network: nn.Module, context: Tensor | None, out: Path
) -> tuple[nn.Module, dict[str, Any] | None]:
    """Return the network that ships and, of an adapted one, the facts of its adapter file."""
    if not isinstance(network, Generator):
        return network, None
    assert context is not None
    if plan.base is None:
        return specialized(network, context, size_px=plan.recipe.size_px), None
    stored = Adapter(
        factors(network), plan.recipe.adapter_ranks, plan.recipe.concept, plan.base.sha256
    )
    save_adapter(out / ADAPTER, stored)
    use_factors(network, stored.factors)  # what ships is what was stored, rounding included
    facts = {
        "ranks": plan.recipe.adapter_ranks,
        "trainable": count_parameters(network, trainable_only=True),
    }
    return specialized(merged(network), context, size_px=plan.recipe.size_px), facts


def _losses(recipe: Recipe, result: FitResult) -> dict[str, Any]:
    weights = {name: getattr(recipe, name) for name in ("l1", "perceptual", "adversarial")}
    return {"weights": weights, **asdict(result)}
