"""Faces to a student folder that holds an identity encoder: train, measure, write."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from edgekit.core.store import complete, locked, read_manifest, value_sha256
from edgekit.distill.faces.sets import load_faces
from edgekit.distill.faces.store import open_faces
from edgekit.distill.identity.fit import faces_sha256, fit_identity
from edgekit.distill.identity.judging import separation
from edgekit.distill.identity.recipe import IdentityRecipe
from edgekit.distill.identity.student import write_encoder
from edgekit.distill.program import KIND, StudentFacts

WORK = "work"


def train_identity(
    folders: Sequence[Path],
    recipe: IdentityRecipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    stop_at: float | None = None,
) -> dict[str, Any] | None:
    """Train on the split train of `folders`, measure on val, and write the student folder `out`.

    A folder that is complete for this recipe is returned as it is; None if `stop_at` (of
    `time.monotonic`) came first: the same call goes on later.

    Raises BadInput for folders without people to train on or to measure on.
    """
    folders = [Path(folder) for folder in folders]
    train = load_faces(folders, split="train", size_px=recipe.shape.size_px)
    val = load_faces(folders, split="val", size_px=recipe.shape.size_px)
    sha256 = value_sha256([recipe.values(), faces_sha256(train), faces_sha256(val)])
    with locked(out):
        if complete(out, kind=KIND, recipe_sha256=sha256):
            return read_manifest(out, kind=KIND)
        began = time.monotonic()
        encoder = fit_identity(recipe, train.to(device), out / WORK, stop_at=stop_at)
        if encoder is None:
            return None
        found = separation(encoder.cpu(), val)
        facts = StudentFacts(
            name="identity",
            recipe_sha256=sha256,
            seed=recipe.seed,
            seconds=time.monotonic() - began,
            quality={"identity": {**found.facts(), "people": len(val.people)}},
            licences=licences(folders),
        )
        return write_encoder(out, encoder, train, val, facts)


def licences(folders: Sequence[Path]) -> dict[str, str]:
    """Return under which licences the faces are, by folder."""
    found = {}
    for folder in folders:
        names = sorted({entry.licence for entry in open_faces(folder).entries})
        found[f"faces {folder.resolve().name}"] = ", ".join(names)
    return found
