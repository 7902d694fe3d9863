"""Faces regenerated from codes, and who independent recognizers say they are.

Every arm has a generator of its own, trained on its frozen codes with the same budget, and is asked
for the same photo of the same person with the same points, pose and noise, from one, three, five
and seven other photos. Judges: dlib's recognizer, which trained on other people and is in no loss,
and a CosFace network of another kind and seed than any arm.

Angles are between dlib's descriptors. The copy-paste measure is that of WithAnyone
(arXiv:2510.14975): (angle to the truth - angle to the nearest input) / angle between these two;
1 is a copy of an input, and what lies below the value of a real photo is no copy.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.core.tensors import Photos
from edgekit.distill.faces import recognition
from edgekit.distill.faces.sets import Faces
from edgekit.distill.identity.decoders import FlowDecoder
from edgekit.distill.identity.encoder import IdentityEncoder
from edgekit.distill.identity.heads import reduced
from edgekit.distill.identity.sampling import Batch, Draw, Few, IdentitySampler, batch_of
from edgekit.distill.metrics import as_photos

COUNTS = (1, 3, 5, 7)
USUAL = 3
"""Inputs of the controls: a code of a stranger, and no code at all."""
AT_ONCE = 128
STEPS = 20
"""Midpoint steps of the generator."""


@dataclass(frozen=True, slots=True)
class Tested:
    """Test people of one folder: the target of each, and inputs of which the first few are used."""

    name: str
    batch: Batch
    counts: tuple[int, ...]


class Judge:
    """Holds test people and scores what is regenerated of them."""

    def __init__(
        self,
        sets: dict[str, Faces],
        held_out: nn.Module,
        *,
        people: int,
        least: int,
        workers: int,
        target_px: int,
        steps: int = STEPS,
    ) -> None:
        """`people` are tested of each folder, if `least` of them have enough photos."""
        self.held_out, self.target_px, self.steps = held_out, target_px, steps
        self.tested = [_tested(name, faces, people, least) for name, faces in sets.items()]
        self.pool: ProcessPoolExecutor | None = None
        if recognition.installed():
            spawn = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(max(1, workers), mp_context=spawn)
        self._known: dict[str, dict[str, Any]] = {}

    def close(self) -> None:
        """End the processes that describe faces."""
        if self.pool is not None:
            self.pool.shutdown()

    def scores(self, encoder: IdentityEncoder, generator: FlowDecoder) -> dict[str, Any]:
        """Return the scores of an arm, by folder and condition."""
        found: dict[str, Any] = {}
        for tested in self.tested:
            usual = min(USUAL, max(tested.counts))
            rows = {str(k): self.made(encoder, generator, tested, k) for k in tested.counts}
            rows["stranger"] = self.made(encoder, generator, tested, usual, stranger=True)
            rows["no code"] = self.made(encoder, generator, tested, 0)
            found[tested.name] = {
                name: self.scored(made, tested, int(name) if name.isdigit() else usual)
                for name, made in rows.items()
            }
        return found

    def real(self) -> dict[str, Any]:
        """Return the same scores of the true photos, whole and as small as a generator paints."""
        found: dict[str, Any] = {}
        for tested in self.tested:
            whole = tested.batch.targets[:, 0]
            small = reduced(whole, self.target_px)
            usual = min(USUAL, max(tested.counts))
            found[tested.name] = {
                "true photo": self.scored(whole, tested, usual),
                "true photo, small": self.scored(small, tested, usual),
                "another photo": self.scored(tested.batch.inputs[:, -1], tested, usual),
            }
        return found

    @torch.no_grad()
    def made(
        self,
        encoder: IdentityEncoder,
        generator: FlowDecoder,
        tested: Tested,
        count: int,
        *,
        stranger: bool = False,
    ) -> Tensor:
        """Return the faces regenerated from codes of `count` inputs; 0 gives the mean person."""
        batch, device = tested.batch, tested.batch.inputs.device
        dice = torch.Generator().manual_seed(11)
        size = (len(batch.people), 3, self.target_px, self.target_px)
        noise = torch.randn(size, generator=dice).to(device)
        parts = []
        for first in range(0, len(batch.people), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            if count:
                mask = batch.mask[part].clone()
                mask[:, count:] = False
                codes = encoder(batch.inputs[part], mask)
                codes = codes.roll(1, 0) if stranger else codes
            else:
                codes = torch.zeros(len(noise[part]), *encoder.shape.code, device=device)
            points, poses = batch.points[part, 0], batch.poses[part, 0]
            kind = torch.bfloat16 if device.type == "cuda" else torch.float32
            with torch.autocast(device.type, kind, enabled=device.type == "cuda"):
                made = generator.sampled(codes, points, poses, noise[part], steps=self.steps)
            parts.append(made.float())
        return torch.cat(parts)

    def scored(self, made: Tensor, tested: Tested, count: int) -> dict[str, Any]:
        """Return mean scores of pictures; those of dlib are missing if it is not installed."""
        batch = tested.batch
        truth, inputs = batch.targets[:, 0], batch.inputs[:, :count]
        small = reduced(truth, self.target_px)
        known = reduced(made, self.target_px)
        found: dict[str, Any] = {
            "people": len(made),
            "l1": float((known - small).abs().mean()) / 2,
            "held_out": float(self._alike(made, truth).mean()),
            "held_out_input": float(
                torch.stack([self._alike(made, inputs[:, i]) for i in range(count)]).mean()
            ),
        }
        if self.pool is not None:
            true = self._described(f"{tested.name}/truth", truth)
            seen = [self._described(f"{tested.name}/{i}", inputs[:, i]) for i in range(count)]
            found |= dlib_scores(self._described("", made), true, np.stack(seen, 1))
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in found.items()}

    @torch.no_grad()
    def _alike(self, one: Tensor, two: Tensor) -> Tensor:
        """Return the cosine of each pair by the held-out recognizer."""
        sides = (one.shape[-1], two.shape[-1])
        size = (max(sides), max(sides))
        a, b = (F.interpolate(x, size, mode="bilinear") for x in (one, two))
        alike: Tensor = (self.held_out(a) * self.held_out(b)).sum(1)
        return alike

    def _described(self, key: str, pictures: Tensor) -> np.ndarray[Any, Any]:
        assert self.pool is not None
        if key and key in self._known:
            known: np.ndarray[Any, Any] = self._known[key]["found"]
            return known
        photos = as_photos(pictures.cpu())
        parts = [photos[i : i + 8] for i in range(0, len(photos), 8)]
        found = np.concatenate(list(self.pool.map(_descriptors, parts)))
        if key:
            self._known[key] = {"found": found}
        return found


def dlib_scores(
    made: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], inputs: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Return what descriptors say: `made` and `truth` are people x 128, `inputs` people x k x 128.

    >>> one, two = np.eye(2, 128)[:1], np.eye(2, 128)[1:]
    >>> dlib_scores(one, two, one[:, None])["copy_paste"]
    1.0
    """
    apart = np.linalg.norm(made - truth, axis=1)
    to_truth = _angle(made, truth)
    to_inputs = _angle(made[:, None], inputs)
    nearest = to_inputs.argmin(1)
    rows = np.arange(len(made))
    between = _angle(truth, inputs[rows, nearest])
    copied = (to_truth - to_inputs[rows, nearest]) / np.maximum(between, 1e-6)
    return {
        "dlib": float(apart.mean()),
        "dlib_input": float(np.linalg.norm(made[:, None] - inputs, axis=2).mean()),
        "recognized": float((apart < recognition.SAME).mean()),
        "copy_paste": float(copied.mean()),
        "dlib_each": [round(float(value), 3) for value in apart],
    }


def _angle(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    sizes = np.linalg.norm(one, axis=-1) * np.linalg.norm(two, axis=-1)
    return np.asarray(np.arccos(np.clip((one * two).sum(-1) / np.maximum(sizes, 1e-9), -1, 1)))


def _descriptors(photos: Photos) -> np.ndarray[Any, Any]:
    return recognition.descriptors(list(photos))


def _tested(name: str, faces: Faces, people: int, least: int) -> Tested:
    """Return a target and the most inputs that enough people of `faces` allow."""
    sampler = IdentitySampler(faces, Few(1, 1, 1), mirror=False)
    counts = tuple(k for k in COUNTS if len(sampler.with_photos(k + 1)) >= least) or (1,)
    most = max(counts)
    sampler = IdentitySampler(faces, Few(most, most, 1), mirror=False)
    able = sampler.with_photos(most + 1)
    chosen = able[torch.linspace(0, len(able) - 1, min(people, len(able))).round().long()]
    draw = sampler.of(chosen, torch.Generator().manual_seed(5))
    draw = Draw(*(value.to(faces.images.device) for value in draw))
    return Tested(name, batch_of(faces, draw), counts)
