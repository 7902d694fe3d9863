"""How well codes tell people apart: similarities of photos of one person and of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgekit.core.errors import BadInput
from edgekit.distill.faces.sets import Faces
from edgekit.distill.identity.encoder import IdentityEncoder

AT_ONCE = 256
MOST_PHOTOS = 4
"""Photos of a person that are compared, so that nobody with many decides alone."""
MOST_PAIRS = 200_000


@dataclass(frozen=True, slots=True)
class Separation:
    """Similarities of pairs, and the threshold that is wrong as often about one as about two."""

    same: np.ndarray[Any, Any]
    different: np.ndarray[Any, Any]
    threshold: float
    equal_error: float

    def facts(self) -> dict[str, float]:
        """Return what a manifest keeps."""
        return {
            "threshold": round(self.threshold, 6),
            "equal_error": round(self.equal_error, 4),
            "same_median": round(float(np.median(self.same)), 4),
            "different_median": round(float(np.median(self.different)), 4),
            "same_pairs": len(self.same),
        }


@torch.no_grad()
def single_codes(encoder: IdentityEncoder, faces: Faces, rows: Tensor) -> Tensor:
    """Return the code of each photo of `rows` alone, rows x (queries x width)."""
    made = []
    for first in range(0, len(rows), AT_ONCE):
        images = faces.images[rows[first : first + AT_ONCE].to(faces.images.device)]
        made.append(encoder.code(encoder.state(images.float() / 127.5 - 1)).flatten(1))
    return torch.cat(made)


def separation(encoder: IdentityEncoder, faces: Faces, *, seed: int = 0) -> Separation:
    """Compare codes of single photos of the people of `faces`.

    Raises BadInput unless there are two people of whom one has two photos.
    """
    generator = torch.Generator().manual_seed(seed)
    owner = faces.identities.cpu()
    order = torch.randperm(len(owner), generator=generator)
    kept, counts = [], dict.fromkeys(range(len(faces.people)), 0)
    for row in order.tolist():
        person = int(owner[row])
        if counts[person] < MOST_PHOTOS:
            counts[person] += 1
            kept.append(row)
    rows = torch.tensor(kept)
    codes = single_codes(encoder, faces, rows)
    unit = torch.nn.functional.normalize(codes.float(), dim=1)
    alike = (unit @ unit.T).cpu().numpy()
    one = owner[rows].numpy()
    above = np.triu_indices(len(rows), 1)
    equal = one[above[0]] == one[above[1]]
    return separated(alike[above][equal], alike[above][~equal], seed=seed)


def separated(
    same: np.ndarray[Any, Any], different: np.ndarray[Any, Any], *, seed: int = 0
) -> Separation:
    """Return the threshold of equal error between two lists of similarities."""
    if not len(same) or not len(different):
        raise BadInput(
            "the faces to measure on need two people, and two photos of one of them",
            hint="add photos of people for the split val",
        )
    if len(different) > MOST_PAIRS:
        different = np.random.default_rng(seed).choice(different, MOST_PAIRS, replace=False)
    bars = np.unique(np.concatenate([same, different]))
    missed = np.searchsorted(np.sort(same), bars, "left") / len(same)
    taken = 1 - np.searchsorted(np.sort(different), bars, "left") / len(different)
    best = int(np.abs(missed - taken).argmin())
    error = float(missed[best] + taken[best]) / 2
    return Separation(same, different, float(bars[best]), error)
