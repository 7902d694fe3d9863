"""The step from faces to a restorer: pretraining, training, a student folder for each program.

    RUN/                student: the one-step restorer, references as ports
    RUN/enroller/       student: one reference photo to its keys and values (form "memory")
    RUN/identity/       student: a copy of the encoder whose codes it understands (form "code")
    RUN/phone/          student: the network for phones, an identity code as its second port; the
                        form "phone" is that network alone, in RUN itself
    RUN/base/           the pretrained diffusion U-Net, for other runs
    RUN/adapter.safetensors instead, for a base of diffusers: what was trained, no program
    RUN/checkpoint/     state of each stage; a run that was killed continues from it

A folder that is complete for the same recipe, faces, base and encoder is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekit.core.assets import student_sha256
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
from edgekit.distill.faces.sets import load_faces
from edgekit.distill.identity.student import read_encoder
from edgekit.distill.program import KIND, PROGRAM
from edgekit.distill.restorer.bases import Base, read_base, write_base
from edgekit.distill.restorer.one_step import Form, OneStep, one_step
from edgekit.distill.restorer.recipe import RestorerRecipe, stage_seconds
from edgekit.distill.restorer.result import (
    TURBO_KIND,
    Inputs,
    KnownEncoder,
    ship_enroller,
    ship_restorer,
    ship_turbo,
    tuned_encoder,
)
from edgekit.distill.restorer.stages import (
    CodeEncoder,
    Place,
    Plan,
    base_stage,
    phone_of,
    recognizer_stage,
    restorer_stage,
)
from edgekit.distill.restorer.tasks import Codes
from edgekit.distill.restorer.terms import TermWeights
from edgekit.distill.restorer.turbo import TurboRestorer, turbo_restorer
from edgekit.distill.restorer.unet import UNet

FORMAT = 4
"""Raised when the same recipe would give another student than before."""


def distill_restorer(
    recipe: RestorerRecipe,
    faces: Sequence[Path],
    out: Path,
    *,
    base: str | Path | None = None,
    encoder: Path | None = None,
    stop_at: float = float("inf"),
    report: Report = silent,
) -> dict[str, Any]:
    """Make the restorer of `recipe` in the folder `out` and return its manifest.

    `faces` are folders of `edgekit pairs faces`, each drawn from as often as any other; people of
    their test splits judge and are never trained on. `base` is a base of an earlier run, or a
    diffusers folder or hub id, instead of a base trained here; `encoder` is an identity encoder,
    which the form "code" and the network for phones need. At `stop_at` (of `time.monotonic`) the
    run saves itself and raises EdgekitError; the same call continues it.

    Raises BadInput for unusable folders, EdgekitError for what does not go together or if `out`
    holds something else, OutputError if it cannot be written.
    """
    inputs = _checked(recipe, faces, base, encoder)
    out = prepared_folder(Path(out))
    kind = TURBO_KIND if inputs.turbo is not None else KIND
    if complete(out, kind=kind, recipe_sha256=inputs.sha256):
        return read_manifest(out, kind=kind)
    if (out / MANIFEST).is_file():
        raise EdgekitError(
            f"{out} holds something made otherwise", hint="choose another --out, or delete it"
        )
    with locked(out):
        recipe.write(out / "recipe.toml")
        return _made(inputs, out, stop_at, report)


def _checked(
    recipe: RestorerRecipe, faces: Sequence[Path], base: str | Path | None, encoder: Path | None
) -> Inputs:
    alone = recipe.conditioning == "phone"
    if alone and base is not None:
        raise EdgekitError(
            "the network for phones starts from no base",
            hint="leave --base out, or distil a larger network with --phone",
        )
    needs_code = recipe.conditioning == "code" or recipe.phone or alone
    if needs_code and encoder is None:
        raise EdgekitError(
            "an identity code needs an encoder",
            hint="add --encoder FOLDER, written by `edgekit identity train`",
        )
    if not faces:
        raise EdgekitError(
            "no faces are given", hint="add --faces FOLDER, written by `edgekit pairs faces`"
        )
    manifests = [read_manifest(folder, kind="faces") for folder in faces]
    found, turbo, base_name = _found_base(recipe, base)
    if found is not None and found.size_px != recipe.size_px:
        raise BadInput(
            f"{base} was trained at {found.size_px} pixels, not {recipe.size_px}",
            hint=f"add --size {found.size_px}, or leave --base out",
        )
    coder = None
    if encoder is not None and needs_code:
        network, facts = read_encoder(encoder)
        sha256 = student_sha256(encoder / PROGRAM, facts)
        coder = KnownEncoder(CodeEncoder(network), encoder, sha256)
    values = {
        "format": FORMAT,
        "recipe": recipe.values(),
        "faces": [manifest["recipe_sha256"] for manifest in manifests],
        "base": base_name,
        "encoder": None if coder is None else coder.sha256,
    }
    licences: dict[str, Any] = {}
    for folder, manifest in zip(faces, manifests, strict=True):
        licences[folder.name] = manifest.get("licences")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train = [load_faces(one, split="train", size_px=recipe.size_px) for one in faces]
    test = load_faces(faces, split="test", size_px=recipe.size_px)
    if coder is not None and recipe.tuned:
        photos = torch.bincount(test.identities)
        if len(photos) < 2 or int(photos.max()) < 2:
            raise BadInput(
                "the encoder cannot be measured again: that needs two people of the split test, "
                "and two photos of one of them",
                hint="add people with several photos",
            )
    return Inputs(
        recipe,
        tuple(one.to(device) for one in train),
        test.to(device),
        found,
        turbo,
        base_name,
        coder,
        value_sha256(values),
        licences,
    )


def _found_base(
    recipe: RestorerRecipe, base: str | Path | None
) -> tuple[Base | None, TurboRestorer | None, str]:
    """Return a base of ours, or a restorer of a pipeline, or neither, and its name."""
    if base is None:
        return None, None, "trained here"
    if (Path(base) / "model_index.json").is_file() or not Path(base).is_dir():
        turbo, name = turbo_restorer(str(base), form_of(recipe), rank=recipe.rank, seed=recipe.seed)
        return None, turbo, name
    found = read_base(Path(base))
    return found, None, found.sha256


def _plan(recipe: RestorerRecipe) -> Plan:
    return Plan(
        size_px=recipe.size_px,
        batch=recipe.batch,
        seed=recipe.seed,
        references=recipe.references,
        wrong_share=recipe.wrong_share,
        severity=recipe.severity,
        toy=recipe.toy,
        weights=TermWeights(
            l1=recipe.l1,
            perceptual=recipe.perceptual,
            ms_ssim=recipe.ms_ssim,
            identity=recipe.identity,
            adversarial=recipe.adversarial,
            landmark=recipe.landmark,
        ),
    )


def _made(inputs: Inputs, out: Path, stop_at: float, report: Report) -> dict[str, Any]:
    recipe, plan = inputs.recipe, _plan(inputs.recipe)
    place = Place(
        folder=out / "checkpoint",
        device=inputs.test.images.device,
        fingerprint=inputs.sha256,
        steps=recipe.steps,
        stop_at=stop_at,
    )
    alone = recipe.conditioning == "phone"
    wanted = {
        "base": inputs.base is None and inputs.turbo is None and not alone,
        "recognizer": recipe.identity > 0,
        "restorer": not alone,
        "phone": recipe.phone or alone,
    }
    stages = tuple(stage for stage, needed in wanted.items() if needed)
    seconds = stage_seconds(recipe, stages)

    def tell(stage: str) -> None:
        report(stage, stages.index(stage), len(stages))

    network: OneStep | TurboRestorer | None = None
    base_sha256 = None
    if inputs.turbo is not None:
        network = inputs.turbo
        base_sha256 = value_sha256(inputs.base_name)
    elif not alone:
        if inputs.base is None:
            tell("base")
        base = inputs.base or _trained_base(inputs, plan, place, out, seconds["base"])
        network = one_step(base.shape, base.weights, form_of(recipe), seed=recipe.seed)
        base_sha256 = base.sha256
    recognizer = None
    if "recognizer" in seconds:
        tell("recognizer")
        recognizer = _or_end(recognizer_stage(place, plan, inputs.train, seconds["recognizer"]))

    def trained(one: nn.Module, stage: str, **more: Any) -> None:
        tell(stage)
        left = restorer_stage(
            place, plan, inputs.train, one, recognizer, seconds[stage], stage=stage, **more
        )
        _or_end(left or None)
        one.eval()

    known = inputs.encoder
    codes = None if known is None else Codes(known.network, recipe.tuned)
    if network is not None:
        first = codes if recipe.conditioning == "code" else None
        trained(network, "restorer", codes=first)
        if first is not None:  # the second network takes the codes that the first one learned
            codes = replace(first, tuned=False)
    if wanted["phone"]:
        phone = phone_of(plan)
        trained(phone, "phone", codes=codes, teacher=network)
    if known is not None and recipe.tuned:
        inputs = tuned_encoder(inputs, out / "checkpoint" / "identity")
    made: dict[str, Any] = {}
    if wanted["phone"]:
        where = out if alone else out / "phone"
        made = ship_restorer(inputs, phone, where, base_sha256, recognizer)
    if isinstance(network, TurboRestorer):
        assert base_sha256 is not None
        made = ship_turbo(inputs, network, out, base_sha256, recognizer)
    elif network is not None:
        assert base_sha256 is not None
        if recipe.conditioning == "memory":
            ship_enroller(inputs, network, out / "enroller", base_sha256)
        made = ship_restorer(inputs, network, out, base_sha256, recognizer)
    report("restorer", len(stages), len(stages))
    return made


def form_of(recipe: RestorerRecipe) -> Form:
    """Return the form of the one-step network."""
    if recipe.conditioning == "phone":
        raise ValueError("the network for phones has no form of the one-step network")
    return Form(
        conditioning=recipe.conditioning,
        adain=recipe.adain,
        gate=recipe.gate,
        places=recipe.places,
    )


def _trained_base(inputs: Inputs, plan: Plan, place: Place, out: Path, seconds: float) -> Base:
    network: UNet = _or_end(base_stage(place, plan, inputs.train, seconds))
    if complete(out / "base", kind="restorer base", recipe_sha256=inputs.sha256):
        return read_base(out / "base")
    return write_base(
        out / "base",
        network,
        size_px=plan.size_px,
        recipe_sha256=inputs.sha256,
        facts={"seconds": seconds, "licences": inputs.licences},
    )


def _or_end(made: Any) -> Any:
    if made is None:
        raise EdgekitError(
            "the time is over before the training is", hint="run the same command again"
        )
    return made
