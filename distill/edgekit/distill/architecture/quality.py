"""How good a network becomes in a short distillation from nothing: the other axis of the search.

Every network gets the same pairs in the same order, the same steps and the same losses. A short
training ranks networks; it does not say how good they get in a long one.

Shape key: C concepts   N pairs of each   S side in pixels   T text tokens   D width of a token
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.fit_state import fast_bfloat16, placed, rate_share
from edgekit.distill.graphs import Graphs, bfloat16
from edgekit.distill.metrics import perceptual_distance
from edgekit.distill.teachers.features import PerceptualDistance

EMA = 0.98
BETAS = (0.5, 0.99)
EVALUATED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Lessons:
    """Pairs of some concepts, uint8 on the device, those held out apart."""

    sources: Tensor
    """(C, N, 3, S, S)"""
    edits: Tensor
    held_sources: Tensor
    held_edits: Tensor
    contexts: Tensor | None = None
    """(C, T, D); None for a network that knows one concept and hears no text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortSettings:
    """The training that every network gets."""

    steps: int = 1000
    batch: int = 32
    lr: float = 2e-3
    l1: float = 1.0
    perceptual: float = 1.0
    checks: int = 5
    """Times that the held-out pairs are scored, the last one at the end."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a short distillation gave."""

    score: float
    """Weighted held-out terms of the average weights at the last check; lower is better."""
    terms: Mapping[str, float]
    """``l1`` in [0, 1], ``perceptual`` and ``psnr_db`` (mean over pictures) at the last check."""
    curve: tuple[tuple[int, float], ...]
    """Step and score of every check."""
    steps: int
    seconds: float
    """Training time, checks included, the first step's start-up included."""
    stopped: bool
    """Whether the watcher ended it."""


Watch = Callable[[int, float], bool]
"""Told the number of a check, from 0, and the score; True ends the training."""


def never(check: int, score: float) -> bool:
    """Let the training go on."""
    return False


def short_distillation(
    network: nn.Module,
    lessons: Lessons,
    settings: ShortSettings,
    *,
    device: str | torch.device = "cpu",
    watch: Watch = never,
) -> Outcome:
    """Train `network` (``painted(image, context)``) on `lessons`, and score its average weights.

    The average weights are left in it. On a GPU the step is replayed as a CUDA graph.
    """
    course = _Course(network, lessons, settings, torch.device(device))
    started = time.monotonic()
    every = max(1, settings.steps // settings.checks)
    curve: list[tuple[int, float]] = []
    terms: dict[str, float] = {}
    stopped = False
    for step in range(1, settings.steps + 1):
        course.advance()
        left = settings.steps - step
        if (step % every == 0 and left >= every) or left == 0:
            terms = course.scored()
            score = settings.l1 * terms["l1"] + settings.perceptual * terms["perceptual"]
            if not math.isfinite(score):
                score = math.inf
            curve.append((step, score))
            stopped = left > 0 and watch(len(curve) - 1, score)
            if stopped:
                break
    course.use_average()
    return Outcome(
        curve[-1][1],
        terms,
        tuple(curve),
        curve[-1][0],
        round(time.monotonic() - started, 3),
        stopped,
    )


class _Course:
    """One training: weights, their average, and the order of all pairs, fixed in advance."""

    def __init__(
        self, network: nn.Module, lessons: Lessons, settings: ShortSettings, device: torch.device
    ) -> None:
        self.settings, self.device, self.lessons = settings, device, lessons
        self.network = placed(network, device).train()
        self.features = _features(str(device))
        self.half = fast_bfloat16(device)
        self.weights = [value for value in self.network.parameters() if value.requires_grad]
        moving = [b for b in self.network.buffers() if b is not None and b.is_floating_point()]
        self.followed = [value.data for value in (*self.weights, *moving)]
        self.average = [value.clone() for value in self.followed]
        order = torch.Generator().manual_seed(settings.seed)
        concepts, count = lessons.sources.shape[:2]
        shape = (settings.steps, settings.batch)
        self.concepts = torch.randint(concepts, shape, generator=order).to(device)
        self.rows = torch.randint(count, shape, generator=order).to(device)
        self.mirrored = (torch.rand(shape, generator=order) < 0.5).to(device)
        steps = range(settings.steps)
        rates = [settings.lr * rate_share(step, settings.steps) for step in steps]
        self.rates = torch.tensor(rates, device=device)
        self.keeps = torch.tensor([min(EMA, (1 + s) / (10 + s)) for s in steps], device=device)
        self.at = torch.zeros(1, dtype=torch.int64, device=device)
        self.rate: Any = torch.tensor(rates[0], device=device)
        gpu = device.type == "cuda"
        self.optimizer = torch.optim.Adam(
            self.weights, self.rate if gpu else rates[0], BETAS, fused=gpu, capturable=gpu
        )
        self.rates_listed = rates
        self.done = 0
        self.graphs: Graphs[None] = Graphs(device, self.optimizer.zero_grad)

    def advance(self) -> None:
        """Take one step."""
        if self.device.type != "cuda":
            self.optimizer.param_groups[0]["lr"] = self.rates_listed[self.done]
        self.graphs(self._body)
        self.done += 1

    def _body(self) -> None:
        """Read step number `at`, train on its pairs, and count on: all of it on the device."""
        source, edit, context = self._batch()
        gpu = self.device.type == "cuda"
        with bfloat16(self.device, enabled=self.half):
            made = cast(Any, self.network).painted(source, context)
            felt = self.features(made.clamp(-1, 1), edit)
        loss = self.settings.l1 * F.l1_loss(made.float(), edit)
        loss = loss + self.settings.perceptual * felt.float()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        if gpu:
            self.rate.copy_(self.rates[self.at][0])
        self.optimizer.step()
        with torch.no_grad():
            keep = self.keeps[self.at][0]
            torch._foreach_mul_(self.average, keep)
            torch._foreach_add_(self.average, torch._foreach_mul(self.followed, 1 - keep))
            self.at += 1

    def _batch(self) -> tuple[Tensor, Tensor, Tensor | None]:
        concepts, rows = self.concepts[self.at][0], self.rows[self.at][0]
        mirrored = self.mirrored[self.at][0][:, None, None, None]
        pair = []
        for bank in (self.lessons.sources, self.lessons.edits):
            images = bank[concepts, rows].float().div_(127.5).sub_(1)
            images = torch.where(mirrored, images.flip(-1), images)
            pair.append(images.contiguous(memory_format=torch.channels_last))
        contexts = self.lessons.contexts
        return pair[0], pair[1], None if contexts is None else contexts[concepts]

    @torch.no_grad()
    def scored(self) -> dict[str, float]:
        """Return the held-out terms of the average weights, in float32."""
        now = [value.clone() for value in self.followed]
        torch._foreach_copy_(self.followed, self.average)
        self.network.eval()
        sums = {"l1": 0.0, "perceptual": 0.0, "psnr_db": 0.0}
        count = 0
        for source, edit, context in self._held():
            made = cast(Any, self.network).painted(source, context).clamp(-1, 1)
            errors = (made - edit).square().flatten(1).mean(1).clamp_min(1e-10)
            sums["l1"] += float(F.l1_loss(made, edit)) / 2 * len(source)
            sums["perceptual"] += float(self.features(made, edit)) * len(source)
            sums["psnr_db"] += float((10 * torch.log10(4 / errors)).sum())
            count += len(source)
        self.network.train()
        torch._foreach_copy_(self.followed, now)
        return {name: value / count for name, value in sums.items()}

    def _held(self) -> Sequence[tuple[Tensor, Tensor, Tensor | None]]:
        lessons = self.lessons
        concepts, count = lessons.held_sources.shape[:2]
        which = torch.arange(concepts, device=self.device).repeat_interleave(count)
        sources, edits = (
            bank.flatten(0, 1).float().div_(127.5).sub_(1)
            for bank in (lessons.held_sources, lessons.held_edits)
        )
        parts = [slice(i, i + EVALUATED_AT_ONCE) for i in range(0, len(which), EVALUATED_AT_ONCE)]
        contexts = lessons.contexts
        return [
            (sources[part], edits[part], None if contexts is None else contexts[which[part]])
            for part in parts
        ]

    def use_average(self) -> None:
        """Leave the average weights in the network, in eval mode."""
        with torch.no_grad():
            torch._foreach_copy_(self.followed, self.average)
        self.network.eval()


@lru_cache(maxsize=2)
def _features(device: str) -> PerceptualDistance:
    return deepcopy(perceptual_distance()).to(device)
