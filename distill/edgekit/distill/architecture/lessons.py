"""What every network of a search is trained on: finished pairs, or edits that are made now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgekit.core.errors import BadInput
from edgekit.core.images import resized
from edgekit.distill.architecture.quality import Lessons
from edgekit.distill.base_pairs import (
    BaseSettings,
    at_all_sizes,
    heldout_pairs,
    sampled_pairs,
    sampler,
)
from edgekit.distill.fit_state import device_bytes
from edgekit.distill.pairs.store import PairSet, open_pairs
from edgekit.distill.students.text_context import text_context
from edgekit.distill.teachers.corpus import read_corpus, test_bank, train_bank
from edgekit.distill.teachers.loader import PAIR_STEPS, load_teacher
from edgekit.distill.teachers.sampling import Editor

TEACHER_PX = 256
"""Side at which the bundled teacher draws best; pairs are reduced from it."""


def lessons_of_pairs(folder: Path, *, size_px: int, device: str = "cpu") -> Lessons:
    """Return the pairs of one concept in `folder`, which `edgekit pairs make` wrote.

    Raises BadInput for a folder without pairs to train on or held out.
    """
    pairs = open_pairs(folder)
    banks: list[Tensor] = []
    for split in ("train", "heldout"):
        banks += _loaded(pairs, split, size_px, torch.device(device))
    context = text_context(pairs.manifest["prompt"])[None].to(device)
    return Lessons(banks[0], banks[1], banks[2], banks[3], context)


def _loaded(pairs: PairSet, split: str, size_px: int, device: torch.device) -> list[Tensor]:
    entries = [entry for entry in pairs.entries if entry.split == split]
    if not entries:
        raise BadInput(
            f"{pairs.folder} holds no {split} pair",
            hint="make more pairs with `edgekit pairs make`",
        )
    return [
        device_bytes(np.stack([resized(photo, size_px, size_px) for photo in photos]), device)[None]
        for photos in pairs.load(entries)
    ]


def sampled_lessons(
    photos: Path,
    concepts: tuple[str, ...],
    *,
    size_px: int,
    pairs: int,
    heldout: int,
    device: str = "cpu",
    seed: int = 0,
    steps: int = PAIR_STEPS,
    batch: int = 128,
) -> Lessons:
    """Return `pairs` pairs of each concept that the bundled teacher makes of `photos` on `device`.

    `photos` is a corpus folder; `heldout` photos of each of its sets are kept for scoring. The
    teacher works at 256 px and `size_px` is reduced from that.
    """
    settings = BaseSettings(
        concepts=concepts,
        sizes_px=(max(TEACHER_PX, size_px), size_px),
        pairs=pairs,
        crops=max(heldout, min(2500, 2 * pairs)),
        heldout=heldout,
        teacher_batch=batch,
        seed=seed,
    )
    place = torch.device(device)
    loaded = load_teacher("bundled", device=place.type, dtype="float32")
    parts = loaded.pipeline
    editor = Editor(parts.vae.eval(), parts.unet.eval(), parts.text_encoder.eval(), parts.tokenizer)
    sample = sampler(editor, settings, {"steps": steps, "guidance": 1.0})
    corpus = read_corpus(photos)
    size = settings.sizes_px[0]
    bank = train_bank(corpus, size=size, per_set=settings.crops, seed=seed, device=place)
    made = at_all_sizes(sampled_pairs(bank, settings, sample), settings)[-1]
    held_bank = test_bank(corpus, size=size, device=place)
    held = at_all_sizes(heldout_pairs(held_bank, settings, sample), settings)[-1]
    contexts = torch.stack([text_context(concept) for concept in concepts]).to(place)
    return Lessons(made.sources, made.edits, held.sources, held.edits, contexts)


def one_concept(lessons: Lessons, number: int) -> Lessons:
    """Return the pairs of concept `number` alone, for networks that hear no text."""
    part = slice(number, number + 1)
    return Lessons(
        lessons.sources[part],
        lessons.edits[part],
        lessons.held_sources[part],
        lessons.held_edits[part],
        None if lessons.contexts is None else lessons.contexts[part],
    )
