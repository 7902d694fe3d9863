"""What a finished run leaves: its programs with samples, scores on test people, and a preview."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.core.assets import student_sha256
from edgekit.core.seams import Port
from edgekit.core.store import (
    complete,
    file_sha256,
    finish_folder,
    prepared_folder,
    read_manifest,
    size_bytes,
)
from edgekit.distill.faces.sets import FaceBatch, Faces, FaceSampler
from edgekit.distill.identity.judging import separation
from edgekit.distill.identity.student import write_encoder_of
from edgekit.distill.metrics import as_photos, quality
from edgekit.distill.preview import write_preview
from edgekit.distill.program import (
    KIND,
    PROGRAM,
    StudentFacts,
    copy_student,
    host,
    write_ported,
)
from edgekit.distill.restorer.bases import Base
from edgekit.distill.restorer.one_step import OneStep, Restorer, memory_bytes
from edgekit.distill.restorer.phone import PhoneRestorer
from edgekit.distill.restorer.recipe import RestorerRecipe
from edgekit.distill.restorer.recognizer import identity_distance
from edgekit.distill.restorer.ship import (
    Enroller,
    Program,
    feeds_of,
    input_ports,
    memory_ports,
    output_port,
)
from edgekit.distill.restorer.stages import CodeEncoder, least_references
from edgekit.distill.restorer.turbo import ADAPTER, TurboRestorer, save_turbo
from edgekit.distill.students.cost import count_parameters
from edgekit.distill.students.shape import shape_facts

JUDGED = 64
"""Portraits of test people that the manifest's scores are means of, at most."""
TURBO_KIND = "restorer"
ENCODED = 24
"""Faces that a tuned encoder's files are calibrated and compared with."""
SAMPLES = {"memory": 6}
"""Calibration and held-out samples of a form; 24 of any other: a memory is megabytes."""


@dataclass(frozen=True, slots=True)
class KnownEncoder:
    """An identity encoder and the student folder that holds it."""

    network: CodeEncoder
    folder: Path
    sha256: str
    """Of its program: only codes made by it mean anything to its restorer."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """A checked run before any work."""

    recipe: RestorerRecipe
    train: tuple[Faces, ...]
    """One a folder."""
    test: Faces
    base: Base | None
    turbo: TurboRestorer | None
    base_name: str
    encoder: KnownEncoder | None
    """Of the codes that this restorer takes."""
    sha256: str
    licences: dict[str, Any]


def drawn(sampler: FaceSampler, count: int, seed: int) -> FaceBatch:
    """Return up to `count` of the faces that can be a target, spread over all of them."""
    rows = sampler.targets()
    picks = torch.linspace(0, len(rows) - 1, min(count, len(rows))).round().long()
    return sampler.of(rows[picks], torch.Generator().manual_seed(seed))


def _sampler(recipe: RestorerRecipe, faces: Faces) -> FaceSampler:
    return FaceSampler(
        faces,
        references=(least_references(faces), recipe.places),
        wrong_share=0.0,
        severity=recipe.severity,
        mirror=False,
    )


def _feeds(
    inputs: Inputs, network: OneStep | PhoneRestorer, batch: FaceBatch
) -> dict[str, np.ndarray[Any, Any]]:
    code = None
    if inputs.encoder is not None:
        coder = inputs.encoder.network.cpu()
        code = coder(batch.references.cpu(), batch.reference_mask.cpu())
    feeds = feeds_of(network, batch.references, batch.reference_mask, code)
    return {"image": as_photos(batch.degraded), **feeds}


def ship_restorer(
    inputs: Inputs,
    network: OneStep | PhoneRestorer,
    folder: Path,
    base_sha256: str | None,
    recognizer: nn.Module | None,
) -> dict[str, Any]:
    """Write the student folder of a trained network and return its manifest."""
    recipe = inputs.recipe
    alone = recipe.conditioning == "phone"
    network = network.cpu()
    program = network if isinstance(network, PhoneRestorer) else Program(network)
    kind = "phone" if isinstance(network, PhoneRestorer) else recipe.conditioning
    samples = SAMPLES.get(kind, 24)
    calibration = drawn(_sampler(recipe, inputs.train[0]), samples, recipe.seed)
    heldout = drawn(_sampler(recipe, inputs.test), samples, recipe.seed)
    judged = drawn(_sampler(recipe, inputs.test), JUDGED, recipe.seed + 1)
    scores, made = _scores(inputs, network, judged, recognizer)
    _previewed(folder, judged, made)
    ports = input_ports(network, recipe.size_px)
    references: dict[str, Any] = {"form": kind, "places": recipe.places, "code_bytes": 2 * 32 * 256}
    parts = {}
    if kind in ("code", "phone"):
        assert inputs.encoder is not None
        references["encoder_sha256"] = inputs.encoder.sha256
        copy_student(inputs.encoder.folder, folder / "identity")
        parts = {"identity": "identity"}
    if isinstance(network, PhoneRestorer):
        references["shape"] = shape_facts(network.generator.shape)
    if kind == "memory":
        assert isinstance(network, OneStep)
        one = memory_bytes(network.network.shape, recipe.size_px)
        references |= {"memory_bytes_per_reference": one}
        parts = {"enroller": "enroller"}
    return write_ported(
        folder,
        program,
        inputs=ports,
        outputs=[output_port(recipe.size_px)],
        calibration=_feeds(inputs, network, calibration),
        heldout={**_feeds(inputs, network, heldout), "teacher": as_photos(heldout.target)},
        facts=StudentFacts(
            form="restorer",
            name=recipe.name if kind != "phone" or alone else f"{recipe.name}-phone",
            prompt="restore the portrait",
            teacher="none" if kind != "phone" or alone else recipe.name,
            recipe_sha256=inputs.sha256,
            seed=recipe.seed,
            base_sha256=base_sha256,
            quality=scores,
            seconds=60 * recipe.minutes,
            licences=inputs.licences,
            parts=parts,
            extra={"references": references},
        ),
    )


def tuned_encoder(inputs: Inputs, folder: Path) -> Inputs:
    """Write the encoder that was trained on as a student, and return the inputs with it."""
    assert inputs.encoder is not None
    encoder = inputs.encoder.network.encoder.cpu()
    side = encoder.shape.size_px
    if not complete(folder, kind=KIND, recipe_sha256=inputs.sha256):
        train = drawn(_sampler(inputs.recipe, inputs.train[0]), ENCODED, 0).rows.cpu()
        samples = _resized(inputs.train[0].images[train], side)
        test = replace(inputs.test, images=_resized(inputs.test.images, side))
        found = {**separation(encoder, test).facts(), "people": len(test.people)}
        facts = StudentFacts(
            name="identity",
            recipe_sha256=inputs.sha256,
            seed=inputs.recipe.seed,
            seconds=60 * inputs.recipe.minutes,
            quality={"identity": found},
            licences=inputs.licences,
        )
        write_encoder_of(folder, encoder, samples, test.images, facts)
    sha256 = student_sha256(folder / PROGRAM, read_manifest(folder, kind=KIND))
    return replace(inputs, encoder=replace(inputs.encoder, folder=folder, sha256=sha256))


def _resized(images: Tensor, side: int) -> Tensor:
    """Return faces (n x 3 x S x S, uint8) at another side, on the processor."""
    images = images.cpu()
    if images.shape[-1] == side:
        return images
    small = F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8)


def ship_turbo(
    inputs: Inputs,
    network: TurboRestorer,
    folder: Path,
    base_sha256: str,
    recognizer: nn.Module | None,
) -> dict[str, Any]:
    """Write what was trained on a diffusers base and return the manifest.

    The folder is no student: such a network is a teacher for one that fits on a phone.
    """
    recipe = inputs.recipe
    judged = drawn(_sampler(recipe, inputs.test), JUDGED, recipe.seed + 1)
    scores, made = _scores(inputs, network.cpu(), judged, recognizer)
    _previewed(folder, judged, made)
    facts = {"base": inputs.base_name, "form": recipe.conditioning, "rank": recipe.rank}
    path = save_turbo(folder, network, facts)
    manifest = {
        **facts,
        "name": recipe.name,
        "size_px": recipe.size_px,
        "parameters": count_parameters(network.unet) + count_parameters(network.vae),
        "trained": count_parameters(network, trainable_only=True),
        "base_sha256": base_sha256,
        "files": {ADAPTER: {"sha256": file_sha256(path), "bytes": size_bytes(path)}},
        "quality": scores,
        "licences": inputs.licences,
        "host": host(),
    }
    finish_folder(folder, kind=TURBO_KIND, recipe_sha256=inputs.sha256, facts=manifest)
    return read_manifest(folder, kind=TURBO_KIND)


def _previewed(folder: Path, judged: FaceBatch, made: np.ndarray[Any, Any]) -> None:
    prepared_folder(folder)
    first = as_photos(judged.references[:6, 0])
    columns = (as_photos(judged.degraded[:6]), made[:6], as_photos(judged.target[:6]), first)
    write_preview(folder / "preview.png", columns)


@torch.no_grad()
def _scores(
    inputs: Inputs,
    network: Restorer,
    batch: FaceBatch,
    recognizer: nn.Module | None,
) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """Return scores on test people, and the pictures."""
    batch = FaceBatch(*(part.cpu() for part in batch))
    code = None
    if inputs.encoder is not None:
        code = inputs.encoder.network.cpu()(batch.references, batch.reference_mask)
    made = []
    for i in range(0, len(batch.target), 8):
        part = slice(i, i + 8)
        given = network.given(
            batch.references[part],
            batch.reference_mask[part],
            None if code is None else code[part],
        )
        made.append(network.restored(batch.degraded[part], given).clamp(-1, 1))
    pictures = torch.cat(made)
    found = quality(as_photos(batch.degraded), as_photos(batch.target), as_photos(pictures))
    if recognizer is not None:
        judge = recognizer.cpu().eval()
        for name, shown in (("student", pictures), ("source", batch.degraded)):
            distance = float(identity_distance(judge, shown, batch.target).mean())
            found[name]["trained_identity"] = round(distance, 5)
    return found, as_photos(pictures)


def ship_enroller(inputs: Inputs, network: OneStep, folder: Path, base_sha256: str) -> None:
    """Write the student folder of the reference branch."""
    recipe = inputs.recipe
    assert network.branch is not None
    samples = [
        drawn(_sampler(recipe, faces), 16, recipe.seed) for faces in (inputs.train[0], inputs.test)
    ]
    calibration, heldout = (as_photos(batch.target) for batch in samples)
    write_ported(
        folder,
        Enroller(network.branch),
        inputs=[Port("image", (1, 3, recipe.size_px, recipe.size_px))],
        outputs=memory_ports(network.branch.shape, recipe.size_px, 1),
        calibration={"image": calibration},
        heldout={"image": heldout},
        facts=StudentFacts(
            form="enroller",
            name=f"{recipe.name}-enroller",
            recipe_sha256=inputs.sha256,
            seed=recipe.seed,
            base_sha256=base_sha256,
            licences=inputs.licences,
        ),
    )
