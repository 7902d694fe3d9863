"""One step of a concept's training: a batch, losses, optimizers and the running average.

On a GPU the step is replayed as a CUDA graph (`graphs`): what changes from step to step (rows,
mirrors, rates) is copied into tensors that the graph reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.core.tensors import Photos
from edgekit.distill.fit_state import (
    FitSettings,
    device_bytes,
    fast_bfloat16,
    placed,
    rate_share,
    shuffled,
)
from edgekit.distill.graphs import Graphs, bfloat16
from edgekit.distill.lora import TEXT_ALONE
from edgekit.distill.losses.adversarial import discriminator_loss, generator_loss
from edgekit.distill.metrics import perceptual_distance
from edgekit.distill.students.discriminator import fresh_discriminator

BETAS = (0.5, 0.99)
RIVAL_LR = 4e-4
EMA = 0.98
"""Share of the old average kept a step: a memory of about 50 steps."""
SETTLED = 0.6
"""Share of the steps after which a fresh network's batch norms keep their statistics, so that what
is trained and averaged from there on is what ships."""
TEXT_TIMES = 4.0
"""Times the learning rate for biases that stand for a whole low-rank factor: a step of the factors
of rank 4 would move them about as far."""
TUNED_RANK = 4
"""Rank at which the default learning rate was found. A layer of a larger rank r has 4/r of it: one
step of Adam moves the product of the factors in proportion to r, and rank 16 at the whole rate
was lost within 130 steps on two of four concepts."""

Terms = dict[str, Tensor]


class TrainingStep:
    """The networks of one run, their optimizers, and the average of the trained weights."""

    def __init__(
        self,
        network: nn.Module,
        pairs: tuple[Photos, Photos],
        settings: FitSettings,
        context: Tensor | None,
        device: torch.device,
    ) -> None:
        """Place everything on `device`; `network` learns where it requires gradients."""
        self.settings, self.device = settings, device
        self.half = settings.half if settings.half is not None else fast_bfloat16(device)
        self.network = placed(network, device)
        self.context = None if context is None else context.to(device)[None]
        self.banks = [device_bytes(photos, device) for photos in pairs]
        self.trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.average = {n: p.detach().clone() for n, p in self.averaged()}
        self.optimizer = self._adam(_by_rate(self.trained), settings.lr)
        self.features = deepcopy(perceptual_distance()).to(device) if settings.perceptual else None
        self.judge: nn.Module | None = None
        self.rival: torch.optim.Optimizer | None = None
        if settings.adversarial:
            judge = fresh_discriminator(settings.discriminator_width, seed=settings.seed)
            self.judge = placed(judge, device)
            self.rival = self._adam([{"params": list(judge.parameters())}], RIVAL_LR)
        self._rows = torch.zeros(settings.batch, dtype=torch.int64, device=device)
        self._mirrored = torch.zeros(settings.batch, 1, 1, 1, dtype=torch.bool, device=device)
        self._keep = torch.zeros((), device=device)
        self.slowed = 0
        """How often the rate was halved."""
        self._graphs: Graphs[Terms] = Graphs(device, self._forget)

    def advance(self, step: int) -> Terms:
        """Train on the pairs of step number `step` and return its loss terms."""
        settled = self.settings.frozen_norms or step >= SETTLED * self.settings.steps
        self._prepare(step)
        return self._graphs(lambda: self._body(settled), settled)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, for a weight that moves at the plain rate."""
        return self.settings.lr * rate_share(step, self.settings.steps) * 0.5**self.slowed

    def painted(self, images: Tensor) -> Tensor:
        """Return the network's pictures of `images`, not clamped."""
        context = None if self.context is None else self.context.expand(len(images), -1, -1)
        painted: Tensor = cast(Any, self.network).painted(images, context)
        return painted

    def averaged(self) -> Iterator[tuple[str, Tensor]]:
        """Yield what the average covers: trained weights, and norm statistics that still move."""
        yield from self.trained.items()
        if not self.settings.frozen_norms:
            for name, value in self.network.named_buffers():
                if value.is_floating_point():
                    yield name, value

    def use(self, values: Mapping[str, Tensor]) -> None:
        """Put `values` into the network."""
        with torch.no_grad():
            for name, value in self.averaged():
                value.copy_(values[name])

    def step_back(self, values: Mapping[str, Tensor]) -> None:
        """Go on from `values` with half the rate and without the optimizer's memory of the way."""
        self.use(values)
        self.slowed += 1
        with torch.no_grad():
            for name, value in self.average.items():
                value.copy_(values[name])
            for memory in self.optimizer.state.values():
                for value in memory.values():
                    value.zero_()

    def weighted(self, terms: Mapping[str, Any]) -> Any:
        """Return the sum of the terms by the weights of the settings."""
        weights = {
            "l1": self.settings.l1,
            "perceptual": self.settings.perceptual,
            "adversarial": self.settings.adversarial,
        }
        return sum(weights[name] * terms[name] for name in weights if name in terms)

    def states(self) -> dict[str, Any]:
        """Return what a continued run needs besides the weights."""
        values: dict[str, Any] = {
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        if self.judge is not None and self.rival is not None:
            values["discriminator"] = self.judge.state_dict()
            values["rival"] = self.rival.state_dict()
        return values

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on from `states`."""
        self.average = dict(values["average"])
        self.optimizer.load_state_dict(values["optimizer"])
        if self.judge is not None and self.rival is not None:
            self.judge.load_state_dict(values["discriminator"])
            self.rival.load_state_dict(values["rival"])

    def _adam(self, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
        if self.device.type != "cuda":
            return torch.optim.Adam(groups, lr, BETAS)
        # A tensor of its own for each group: the graph reads the rate from it.
        groups = [{**group, "lr": torch.tensor(lr, device=self.device)} for group in groups]
        return torch.optim.Adam(groups, lr, BETAS, fused=True, capturable=True)

    def _prepare(self, step: int) -> None:
        """Write what is particular to this step where `_body` reads it."""
        settings = self.settings
        count, batch = len(self.banks[0]), settings.batch
        places = range(step * batch, (step + 1) * batch)
        rows = [_order(settings.seed, place // count, count)[place % count] for place in places]
        mirrored = np.random.default_rng((settings.seed, step, 1)).random(batch) < 0.5
        self._rows.copy_(torch.tensor(rows))
        self._mirrored.copy_(torch.from_numpy(mirrored)[:, None, None, None])
        self._keep.fill_(min(EMA, (1 + step) / (10 + step)))
        for group in self.optimizer.param_groups:
            rate = group["times"] * self.rate(step)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _body(self, settled: bool) -> Terms:
        self.network.train(not settled)
        source, edit = self._batch()
        with self._autocast():
            made = self.painted(source)
        made = made.float()
        terms: Terms = {}
        if self.judge is not None and self.rival is not None:
            terms["discriminator"] = self._rival_step(source, edit, made.detach())
            self.judge.requires_grad_(False)
            with self._autocast():
                terms["adversarial"] = generator_loss(self.judge(source, made)).float()
            self.judge.requires_grad_(True)
        terms["l1"] = F.l1_loss(made, edit)
        if self.features is not None:
            with self._autocast():
                terms["perceptual"] = self.features(made.clamp(-1, 1), edit).float()
        loss = self.weighted(terms)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
        self.optimizer.step()
        self._follow()
        return {name: value.detach() for name, value in {**terms, "loss": loss}.items()}

    def _rival_step(self, source: Tensor, edit: Tensor, made: Tensor) -> Tensor:
        assert self.judge is not None
        assert self.rival is not None
        with self._autocast():
            scores = self.judge(torch.cat((source, source)), torch.cat((edit, made))).float()
            loss = discriminator_loss(*scores.chunk(2))
        self.rival.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.rival.step()
        return loss.detach()

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Return the pairs of this step in [-1, 1], some of them mirrored."""
        pair = []
        for bank in self.banks:
            images = bank[self._rows].float().div_(127.5).sub_(1)
            images = torch.where(self._mirrored, images.flip(-1), images)
            pair.append(images.contiguous(memory_format=torch.channels_last))
        return pair[0], pair[1]

    @torch.no_grad()
    def _follow(self) -> None:
        mine = list(self.average.values())
        theirs = [value for _, value in self.averaged()]
        torch._foreach_mul_(mine, self._keep)
        torch._foreach_add_(mine, torch._foreach_mul(theirs, 1 - self._keep))

    def _forget(self) -> None:
        for optimizer in (self.optimizer, self.rival):
            if optimizer is not None:
                optimizer.zero_grad(set_to_none=True)

    def _autocast(self) -> torch.autocast:
        return bfloat16(self.device, enabled=self.half)


def _by_rate(trained: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
    """Return the groups of weights by how many times the learning rate they move."""
    adapter = any("lora_" in name for name in trained)  # else a bias stands for no factor
    groups: dict[float, list[nn.Parameter]] = {}
    for name, value in trained.items():
        times = 1.0
        if "lora_" in name:
            rank = value.shape[0] if "lora_A" in name else value.shape[1]
            times = min(1.0, TUNED_RANK / rank)
        elif adapter and name.endswith(f"{TEXT_ALONE}.bias"):
            times = TEXT_TIMES
        groups.setdefault(times, []).append(value)
    return [{"params": groups[times], "times": times} for times in sorted(groups)]


_order: Callable[[int, int, int], np.ndarray[Any, Any]] = lru_cache(maxsize=4)(shuffled)
"""The order of the pairs in one pass; a batch looks it up once a row."""
