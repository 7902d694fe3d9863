"""How a trial is scored: validation pairs alone, by pictures and by their distribution.

Held-out pairs never come here: the function that splits is given the training pairs only.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.core.errors import BadInput
from edgekit.core.tensors import Photos
from edgekit.distill.fit_state import FitData
from edgekit.distill.frechet import Rows, embedded, frechet_distance
from edgekit.distill.metrics import as_photos, as_tensor, perceptual_distance
from edgekit.distill.teachers.features import PerceptualDistance

PROTOCOL = "search-1/validation pairs/uint8/EfficientNet-Lite0"
BATCH = 16
LEAST = 4
"""Validation pairs below which a Fréchet distance says nothing."""


@dataclass(frozen=True, slots=True)
class Scores:
    """A network's pictures of the validation sources beside the teacher's."""

    frechet: float
    """Fréchet distance on EfficientNet-Lite0 features; depends on the number of pairs."""
    perceptual: float
    """Mean EfficientNet-Lite0 feature distance of the pictures."""
    l1: float
    """Mean absolute difference, 0 to 1; reported, not searched for."""


@dataclass(frozen=True, slots=True)
class Judge:
    """The validation pairs, ready to score any network; `untouched` are the sources' own scores."""

    sources: Tensor
    edits: Photos
    features: Rows
    context: Tensor | None
    network: PerceptualDistance
    device: str
    untouched: Scores


def judge_of(data: FitData, *, context: Tensor | None, device: str = "cpu") -> Judge:
    """Prepare the validation pairs of `data`; `context` is the concept's text (tokens, dim).

    Raises BadInput for too few of them, or if the edits are the sources.
    """
    if len(data.val_sources) < LEAST:
        raise BadInput(
            f"{len(data.val_sources)} validation pairs are too few for a search",
            hint=f"ask for more pairs: at least {LEAST} must be left for validation",
        )
    features = embedded(data.val_edits, device=device)
    network = copy.deepcopy(perceptual_distance()).to(device)
    judge = Judge(
        as_tensor(data.val_sources).to(device),
        data.val_edits,
        features,
        None if context is None else context.to(device)[None],
        network,
        device,
        Scores(math.nan, math.nan, math.nan),
    )
    untouched = _compared(judge, data.val_sources)
    if min(untouched.frechet, untouched.perceptual) < 1e-9:
        raise BadInput("the teacher's edits are the sources", hint="use another concept or teacher")
    return replace(judge, untouched=untouched)


def scored(judge: Judge, network: nn.Module) -> Scores:
    """Return the scores of `network`, which has a method ``painted(image, context)``."""
    training = network.training
    network.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(judge.sources), BATCH):
            image = judge.sources[start : start + BATCH]
            context = None if judge.context is None else judge.context.expand(len(image), -1, -1)
            parts.append(as_photos(cast(Any, network).painted(image, context)))
    network.train(training)
    return _compared(judge, np.concatenate(parts))


def distance(judge: Judge, scores: Scores) -> float:
    """Return one distance to the teacher: 0 is the teacher, 1 is the untouched source.

    It is the geometric mean of the Fréchet and the feature distance, each as a share of the
    source's own: the two have different units, and neither may be bought with the other.
    """
    shares = (
        scores.frechet / judge.untouched.frechet,
        scores.perceptual / judge.untouched.perceptual,
    )
    return math.sqrt(shares[0] * shares[1])


def _compared(judge: Judge, made: Photos) -> Scores:
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(made), BATCH):
            first = as_tensor(made[start : start + BATCH]).to(judge.device)
            second = as_tensor(judge.edits[start : start + BATCH]).to(judge.device)
            total += float(judge.network(first, second)) * len(first)
    difference = np.abs(made.astype(np.float32) - judge.edits.astype(np.float32))
    return Scores(
        frechet=frechet_distance(embedded(made, device=judge.device), judge.features),
        perceptual=total / len(made),
        l1=float(difference.mean() / 255),
    )


def split(sources: Photos, edits: Photos, share: float) -> FitData:
    """Return training pairs split anew for a search: every so many-th is for validation.

    A larger share validates than in the final training, because a Fréchet distance needs pictures;
    the final training gets its pairs back. The pairs given must be training pairs.
    """
    count = len(sources)
    wanted = min(max(LEAST, round(share * count)), count // 2)
    places = {math.floor((i + 0.5) * count / wanted) for i in range(wanted)} if wanted else set()
    chosen = sorted(places)
    rest = [i for i in range(count) if i not in places]
    return FitData(sources[rest], edits[rest], sources[chosen], edits[chosen])
