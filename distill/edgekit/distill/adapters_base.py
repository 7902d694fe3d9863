"""The base as a student folder with two inputs: what `edgekit export --base` lowers.

Its pictures come with concepts: those that the base knows, and for every second calibration picture
and every held-out one with random factors of the size that trained ones have, at full capacity, so
that ranges are measured and files are compared with every part of the second input in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.errors import EdgekitError
from edgekit.core.progress import Report, silent
from edgekit.core.store import (
    complete,
    locked,
    prepared_folder,
    read_manifest,
    value_sha256,
)
from edgekit.core.tensors import Batch, Photos
from edgekit.distill.adapters import AdaptedStudent, Block, adapted_student, ports
from edgekit.distill.adapters_pack import concept_of_text, known_concepts
from edgekit.distill.base import Base
from edgekit.distill.pairs.sources import draw_crop, open_sources
from edgekit.distill.program import KIND, StudentFacts, write_ported
from edgekit.distill.ranks import Ranks, as_ranks

NAME = "base"
FORMAT = 1
"""Raised when the same base would give other files than before."""
CALIBRATION_PHOTOS = 32
HELDOUT_PHOTOS = 8
TYPICAL_B = 0.018
"""Standard deviation of B in trained adapters (0.004 to 0.038 over their layers); that of A stays
near where training starts it, 1 / sqrt(3 * inputs)."""


@dataclass(frozen=True, slots=True)
class _Plan:
    base: Base
    size_px: int
    capacity: Ranks
    sha256: str


def write_base(
    folder: Path,
    base: Base,
    *,
    size_px: int,
    capacity: int | Ranks,
    photos: Path | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Write `base` at this size and capacity to `folder` as a student, and return its manifest.

    `photos` replaces the photos of scikit-image and scikit-learn that calibrate and check it. A
    folder that holds just this is left as it is. Raises EdgekitError for a size that is no multiple
    of 32 or a folder that holds something else, BadInput for unusable photos, OutputError.
    """
    if size_px % 32 or not 32 <= size_px <= 1024:
        raise EdgekitError(
            f"size {size_px} of the base", hint="choose a multiple of 32 from 32 to 1024"
        )
    ranks = as_ranks(capacity)
    values = {"format": FORMAT, "base": base.sha256, "size_px": size_px, "capacity": ranks}
    sources = open_sources(photos, size_px=size_px, limit=200, seed=0, heldout=0.3, report=report)
    values["photos"] = list(sources.hashes)
    plan = _Plan(base, size_px, ranks, value_sha256(values))
    prepared_folder(folder)
    if complete(folder, kind=KIND, recipe_sha256=plan.sha256):
        return read_manifest(folder, kind=KIND)
    if (folder / "manifest.json").is_file():
        raise EdgekitError(
            f"{folder} holds something made otherwise", hint="choose another --out, or delete it"
        )
    with locked(folder):
        student = adapted_student(base.generator, size_px=size_px, capacity=ranks)
        samples = []
        for turn, (count, regions) in enumerate(
            ((CALIBRATION_PHOTOS, sources.train), (HELDOUT_PHOTOS, sources.heldout))
        ):
            pictures = [
                draw_crop(regions, i, sources.load, size_px=size_px, seed=1000 * turn + i)[1]
                for i in range(count)
            ]
            samples.append(samples_of(np.stack(pictures), plan.base, student, every=2 - turn))
        inputs, outputs = ports(size_px, student.layout)
        return write_ported(
            folder,
            student,
            inputs=inputs,
            outputs=outputs,
            calibration=samples[0],
            heldout=samples[1],
            weights={},
            facts=StudentFacts(
                name=NAME,
                form="base",
                recipe_sha256=plan.sha256,
                base_sha256=base.sha256,
                licences={"base": base.card.get("licence"), "photos": sources.licence},
                extra={"adapter_input": student.layout.entry(base.sha256)},
            ),
        )


def samples_of(
    photos: Photos, base: Base, student: AdaptedStudent, *, every: int
) -> dict[str, Batch]:
    """Return `photos` with a concept each; every `every`-th one gets random factors."""
    prompts = known_concepts(base) or ("make it night",)
    random = np.random.default_rng(len(photos))
    vectors = [
        _vector(
            student, base, prompts[i % len(prompts)], random if i % every == every - 1 else None
        )
        for i in range(len(photos))
    ]
    return {"image": photos, "adapter": np.concatenate(vectors)}


def _vector(
    student: AdaptedStudent, base: Base, prompt: str, random: np.random.Generator | None
) -> Batch:
    concept = concept_of_text(prompt, base)
    parts = {"norms": concept.norms, "text": concept.text}
    starts = dict.fromkeys(parts, 0)
    vector = np.zeros((1, student.layout.length), np.float32)
    for offset, block in student.layout.ordered():
        size = block.rows * block.columns
        if block.part == "factors":
            values = _typical(block, random) if random is not None else np.zeros(size)
        else:
            start = starts[block.part]
            values = parts[block.part][start : start + size]
            starts[block.part] += size
        vector[0, offset : offset + size] = values
    return vector


def _typical(block: Block, random: np.random.Generator) -> Batch:
    deviation = TYPICAL_B if block.name.endswith(".B") else (3 * block.columns) ** -0.5
    values: Batch = random.normal(0.0, deviation, block.rows * block.columns)
    return values
