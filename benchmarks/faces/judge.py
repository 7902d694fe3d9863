"""Test portraits under every condition, and the scores of what an arm makes of them.

A condition is a set of people, a severity, and which references are given. All arms see the same
degraded pixels and the same references. Identity is judged by dlib's recognizer, which is in no
loss; without its package that score is missing, and said to be.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.core.tensors import Photos
from edgekit.distill.faces import recognition
from edgekit.distill.faces.sets import FaceBatch, Faces, FaceSampler
from edgekit.distill.metrics import as_photos, perceptual_distance
from edgekit.distill.restorer.recognizer import identity_distance
from edgekit.distill.restorer.terms import MultiScaleSSIM

SEVERITIES = ("mild", "medium", "severe", "extreme")
HARD = SEVERITIES[2:]
"""Severities that a reference could help with: wrong and no references are tested there too."""
COUNTS = (0, 1, 2, 4, 8)
MOST = COUNTS[-1]
USUAL = 4
"""References of a condition that is not about their number, if the person has as many."""
KEPT = 12
"""Pictures of a condition that are kept to look at."""

Restored = Callable[[FaceBatch], Tensor]
"""Pictures of a batch."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Which portraits, how degraded, helped by what."""

    people: str
    """Name of the test set: "real" or "rendered"."""
    severity: str
    references: int
    wrong: bool = False
    """The references show another person."""

    @property
    def name(self) -> str:
        """A key for tables."""
        whose = "wrong" if self.wrong else "right"
        return f"{self.people}/{self.severity}/{self.references} {whose}"


def conditions(people: Sequence[str]) -> list[Condition]:
    """Return what every arm is tested on; the first ones are those that a slow arm is tested on."""
    hard = [(who, level) for level in HARD for who in people]
    main = [Condition(*where, USUAL) for where in hard]
    wrong = [Condition(*where, USUAL, wrong=True) for where in hard]
    none = [Condition(*where, 0) for where in hard]
    more = [Condition(who, level, USUAL) for who in people for level in SEVERITIES[:2]]
    counts = [Condition("rendered", HARD[-1], n) for n in COUNTS if n not in (0, USUAL)]
    return [*main, *wrong, *none, *more, *(counts if "rendered" in people else [])]


class Judge:
    """Holds test people and scores pictures of them."""

    def __init__(
        self,
        sets: Mapping[str, Faces],
        device: torch.device,
        *,
        judged: int,
        recognizer: nn.Module | None,
        workers: int,
    ) -> None:
        """`sets` are the test splits by name; `recognizer` is the one of the loss, for its bias."""
        self.device, self.sets, self.judged = device, sets, judged
        self.recognizer = recognizer
        self.features = perceptual_distance().to(device)
        size_px = next(iter(sets.values())).size_px
        self.ssim = MultiScaleSSIM(size_px).to(device)
        self.seen = {who: int(torch.bincount(f.identities.cpu()).max()) for who, f in sets.items()}
        self.pool: ProcessPoolExecutor | None = None
        if recognition.installed():
            spawn = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(max(1, workers), mp_context=spawn)
        self._true: dict[str, np.ndarray[Any, Any]] = {}

    def close(self) -> None:
        """End the processes that describe faces."""
        if self.pool is not None:
            self.pool.shutdown()

    def conditions(self) -> list[Condition]:
        """Return the conditions that these sets allow."""
        return conditions([who for who in ("real", "rendered") if who in self.sets])

    def batch(self, condition: Condition) -> FaceBatch:
        """Return the test portraits of a condition; degraded pixels depend on the severity alone.

        Rendered people have enough photos for `MOST` references; of them the first few are given,
        so that a larger number adds to a smaller one.
        """
        faces = self.sets[condition.people]
        most = min(MOST, self.seen[condition.people] - 1)
        places = MOST if condition.references > USUAL else USUAL
        least = most if condition.people == "rendered" else min(1, most)
        sampler = FaceSampler(
            faces,
            references=(least, max(1, most)),
            places=MOST,
            wrong_share=1.0 if condition.wrong else 0.0,
            severity=condition.severity,
            mirror=False,
        )
        rows = sampler.targets()
        picks = torch.linspace(0, len(rows) - 1, min(self.judged, len(rows))).round().long()
        drawn = sampler.of(rows[picks], torch.Generator().manual_seed(7))
        mask = drawn.reference_mask[:, :places].clone()
        mask[:, condition.references :] = False
        return drawn._replace(
            references=drawn.references[:, :places],
            reference_mask=mask,
            reference_landmarks=drawn.reference_landmarks[:, :places],
        )

    def made(self, restored: Restored, batch: FaceBatch, *, rows: int = 16) -> Tensor:
        """Return what an arm makes of a batch, on the device."""
        count = len(batch.target)
        with torch.no_grad():
            parts = [
                restored(FaceBatch(*(v[i : i + rows].to(self.device) for v in batch)))
                for i in range(0, count, rows)
            ]
        return torch.cat(parts).float().clamp(-1, 1)

    def scored(self, made: Tensor, batch: FaceBatch) -> dict[str, Any]:
        """Return mean scores, and the recognizer's distance of each portrait."""
        target = batch.target.to(self.device)
        error = ((made - target) ** 2).mean((1, 2, 3)).clamp(min=1e-10)
        rows = range(0, len(made), 16)
        parts = [(made[i : i + 16], target[i : i + 16]) for i in rows]
        with torch.no_grad():
            found: dict[str, Any] = {
                "portraits": len(made),
                "psnr_db": float((10 * torch.log10(4 / error)).mean()),
                "perceptual": _mean([float(self.features(a, b)) for a, b in parts], parts),
                "ms_ssim": _mean([float(self.ssim(a, b)) for a, b in parts], parts),
            }
            if self.recognizer is not None:
                near = [float(identity_distance(self.recognizer, a, b).mean()) for a, b in parts]
                found["trained_identity"] = _mean(near, parts)
        if self.pool is not None:
            mine, true = self._described(made), self._described(target, kept=True)
            distances = np.linalg.norm(mine - true, axis=1)
            found["identity"] = float(distances.mean())
            found["identities"] = [round(float(value), 3) for value in distances]
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in found.items()}

    def _described(self, pictures: Tensor, *, kept: bool = False) -> np.ndarray[Any, Any]:
        """Return the recognizer's vectors; those of true portraits are kept for other arms."""
        assert self.pool is not None
        photos = as_photos(pictures)
        key = sha256(photos.tobytes()).hexdigest()
        if key in self._true:
            return self._true[key]
        parts = [photos[i : i + 8] for i in range(0, len(photos), 8)]
        found = np.concatenate(list(self.pool.map(_descriptors, parts)))
        if kept:
            self._true[key] = found
        return found


def _descriptors(photos: Photos) -> np.ndarray[Any, Any]:
    return recognition.descriptors(list(photos))


def _mean(values: Sequence[float], parts: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the mean over pictures of means over parts."""
    return float(np.average(values, weights=[len(part[0]) for part in parts]))


def strips(made: Tensor, batch: FaceBatch) -> Iterator[Photos]:
    """Yield the columns of a picture to look at: degraded, made, true, first reference."""
    for column in (batch.degraded, made, batch.target, batch.references[:, 0]):
        yield as_photos(column[:KEPT])
