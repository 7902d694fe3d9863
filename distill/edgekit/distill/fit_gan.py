"""The training loop of one concept: pairs in, the best weights on a validation split out.

What step 317 does follows from the seed and the number 317 alone, so a run that was killed and
continued computes what an undisturbed one computes. A `Checkpoint` is written every few checks,
at once or not at all; `log.jsonl` is cut back to it on resume.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.core.progress import Report, silent
from edgekit.core.store import write_bytes
from edgekit.distill.fit_state import (
    FitData,
    FitResult,
    FitSettings,
    FitState,
    WeightsSwap,
    cut_log,
    device_bytes,
    fast_bfloat16,
    placed,
    rate_share,
    shuffled,
)
from edgekit.distill.losses.adversarial import discriminator_loss, generator_loss
from edgekit.distill.metrics import as_photos, as_tensor, perceptual_distance
from edgekit.distill.preview import write_preview
from edgekit.distill.students.discriminator import fresh_discriminator

LOG = "log.jsonl"
PREVIEW = "preview.png"
CHECKPOINT = "checkpoint/state.pt"
BETAS = (0.5, 0.99)
EMA = 0.98
"""Share of the old average kept a step: a memory of about 50 steps."""
SETTLED = 0.6
"""Share of the steps after which a fresh network's batch norms keep their statistics, so that what
is trained and averaged from there on is what ships."""
PATIENCE = 6
LEAST_GAIN = 0.003
"""Training ends when `PATIENCE` checks in a row improve the best score by less than this share."""


def fit_gan(
    network: nn.Module,
    data: FitData,
    settings: FitSettings,
    *,
    folder: Path,
    context: Tensor | None = None,
    device: str = "cpu",
    fingerprint: str = "",
    report: Report = silent,
) -> FitResult:
    """Train the weights of `network` that require gradients, and leave the best average in it.

    `network` has a method ``painted(image, context)``. `context` is the concept's text (tokens,
    dim). Progress, curves, previews and checkpoints go to `folder`; a checkpoint there that
    carries the same `fingerprint` is continued. Products run in bfloat16 where
    that is faster.
    """
    trainer = _Trainer(network, data, settings, folder, context, torch.device(device), fingerprint)
    return trainer.run(report)


class _Trainer:
    """The state of one run: weights, their average, optimizers, and the files in the folder."""

    def __init__(
        self,
        network: nn.Module,
        data: FitData,
        settings: FitSettings,
        folder: Path,
        context: Tensor | None,
        device: torch.device,
        fingerprint: str,
    ) -> None:
        self.settings, self.folder, self.device = settings, folder, device
        self.fingerprint = fingerprint
        self.half = settings.half if settings.half is not None else fast_bfloat16(device)
        self.network = placed(network, device)
        self.context = None if context is None else context.to(device)[None]
        self.sources, self.edits = (device_bytes(x, device) for x in (data.sources, data.edits))
        self.val_sources = as_tensor(data.val_sources).to(device)
        self.val_edits = as_tensor(data.val_edits).to(device)
        self.trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.average = {n: p.detach().clone() for n, p in self._averaged()}
        self.kept = {n: value.clone() for n, value in self.average.items()}
        self.optimizer = torch.optim.Adam(self.trained.values(), settings.lr, BETAS)
        self.features = deepcopy(perceptual_distance()).to(device) if settings.perceptual else None
        self.discriminator: nn.Module | None = None
        self.rival: torch.optim.Optimizer | None = None
        if settings.adversarial:
            judge = fresh_discriminator(settings.discriminator_width, seed=settings.seed)
            self.discriminator = placed(judge, device)
            self.rival = torch.optim.Adam(judge.parameters(), 4e-4, BETAS)
        self.state = FitState()
        self.started = time.monotonic()

    def run(self, report: Report) -> FitResult:
        """Train until the steps, the minutes or the gains run out."""
        settings, state = self.settings, self.state
        if not self._resume():
            state.first_scores = state.scores = self._scores()
            state.best = self._objective(state.scores)
            self._log({"step": 0, "seconds": 0.0, **_prefixed(state.scores)}, fresh=True)
        saved_s = time.monotonic()
        stopped = "steps"
        terms: dict[str, Tensor] = {}
        while state.step < settings.steps:
            if self._seconds() > settings.minutes * 60:
                stopped = "minutes"
                break
            if state.stale >= PATIENCE:
                stopped = "plateau"
                break
            terms = self._step(state.step)
            state.step += 1
            due = state.step % settings.check_every == 0 or state.step == settings.steps
            if due:
                self._check(terms)
                report("train", state.step, settings.steps, _note(state))
                if time.monotonic() - saved_s >= settings.checkpoint_s:
                    self._save()
                    saved_s = time.monotonic()
        if state.step % settings.check_every and stopped == "minutes":
            self._check(terms)
        state.seconds = self._seconds()
        self._use(self.kept)
        self._save()
        self._preview()
        return FitResult(
            state.step,
            state.best_step,
            state.seconds,
            stopped,
            state.scores,
            state.first_scores,
        )

    def _step(self, step: int) -> dict[str, Tensor]:
        settings = self.settings
        settled = settings.frozen_norms or step >= SETTLED * settings.steps
        self.network.train(not settled)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * rate_share(step, settings.steps)
        source, edit = self._batch(step)
        with self._autocast():
            made = self._painted(source)
        made = made.float()
        terms: dict[str, Tensor] = {}
        if self.discriminator is not None and self.rival is not None:
            terms["discriminator"] = self._rival_step(source, edit, made.detach())
            with self._autocast():
                terms["adversarial"] = generator_loss(self.discriminator(source, made)).float()
        terms["l1"] = F.l1_loss(made, edit)
        if self.features is not None:
            with self._autocast():
                terms["perceptual"] = self.features(made.clamp(-1, 1), edit).float()
        loss = self._weighted(terms)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
        self.optimizer.step()
        keep = min(EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self._averaged():
                self.average[name].lerp_(value, 1 - keep)
        terms["loss"] = loss
        return {name: value.detach() for name, value in terms.items()}

    def _rival_step(self, source: Tensor, edit: Tensor, made: Tensor) -> Tensor:
        assert self.discriminator is not None
        assert self.rival is not None
        with self._autocast():
            real, fake = self.discriminator(source, edit), self.discriminator(source, made)
            loss = discriminator_loss(real.float(), fake.float())
        self.rival.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.rival.step()
        return loss.detach()

    def _weighted(self, terms: Mapping[str, Any]) -> Any:
        weights = {
            "l1": self.settings.l1,
            "perceptual": self.settings.perceptual,
            "adversarial": self.settings.adversarial,
        }
        return sum(weights[name] * terms[name] for name in weights if name in terms)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the pairs of one step: the next ones in this round's order, half mirrored."""
        count, batch = len(self.sources), self.settings.batch
        rows: list[int] = []
        for place in range(step * batch, (step + 1) * batch):
            order = shuffled(self.settings.seed, place // count, count)
            rows.append(int(order[place % count]))
        rng = np.random.default_rng((self.settings.seed, step, 1))
        mirrored = torch.from_numpy(rng.random(batch) < 0.5).to(self.device)[:, None, None, None]
        index = torch.tensor(rows, device=self.device)
        pair = []
        for bank in (self.sources, self.edits):
            images = bank[index].float().div_(127.5).sub_(1)
            images = torch.where(mirrored, images.flip(-1), images)
            pair.append(images.contiguous(memory_format=torch.channels_last))
        return pair[0], pair[1]

    def _painted(self, images: Tensor) -> Tensor:
        context = None if self.context is None else self.context.expand(len(images), -1, -1)
        painted: Tensor = cast(Any, self.network).painted(images, context)
        return painted

    def _check(self, terms: Mapping[str, Any]) -> None:
        """Score the average, keep it if it is the best so far, and write the curves."""
        state = self.state
        with self._swapped(self.average):
            scores = self._scores()
            score = self._objective(scores)
            if score < state.best * (1 - LEAST_GAIN):
                state.stale = 0
            else:
                state.stale += 1
            if score < state.best:
                state.best, state.best_step, state.scores = score, state.step, scores
                self.kept = {n: value.clone() for n, value in self.average.items()}
            self._preview()
        state.seconds = self._seconds()
        row = {"step": state.step, "seconds": round(state.seconds, 2)}
        row |= {name: round(float(value), 6) for name, value in terms.items()}
        row["lr"] = self.optimizer.param_groups[0]["lr"]
        self._log({**row, **_prefixed(scores)})

    def _scores(self) -> dict[str, float]:
        """Return the validation terms of the weights in the network."""
        training = self.network.training
        self.network.eval()
        sums = {"l1": 0.0, "perceptual": 0.0}
        with torch.no_grad():
            for start in range(0, len(self.val_sources), 8):
                source = self.val_sources[start : start + 8]
                edit = self.val_edits[start : start + 8]
                made = self._painted(source).clamp(-1, 1)
                sums["l1"] += float(F.l1_loss(made, edit)) * len(source)
                if self.features is not None:
                    sums["perceptual"] += float(self.features(made, edit)) * len(source)
        self.network.train(training)
        if self.features is None:
            del sums["perceptual"]
        return {name: value / len(self.val_sources) for name, value in sums.items()}

    def _objective(self, scores: Mapping[str, float]) -> float:
        return float(self._weighted(scores))

    def _preview(self) -> None:
        with torch.no_grad():
            training = self.network.training
            self.network.eval()
            shown = min(4, len(self.val_sources))
            made = as_photos(self._painted(self.val_sources[:shown]))
            self.network.train(training)
        columns = (as_photos(self.val_sources[:shown]), as_photos(self.val_edits[:shown]), made)
        write_preview(self.folder / PREVIEW, columns)

    def _averaged(self) -> Iterator[tuple[str, Tensor]]:
        """Yield what the average covers: trained weights, and norm statistics that still move."""
        yield from self.trained.items()
        if not self.settings.frozen_norms:
            for name, value in self.network.named_buffers():
                if value.is_floating_point():
                    yield name, value

    def _use(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in self._averaged():
                value.copy_(values[name])

    def _swapped(self, values: Mapping[str, Tensor]) -> WeightsSwap:
        return WeightsSwap(
            self._use, {n: value.detach().clone() for n, value in self._averaged()}, values
        )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    def _seconds(self) -> float:
        now = time.monotonic()
        spent, self.started = now - self.started, now
        self.state.seconds += spent
        return self.state.seconds

    def _log(self, row: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOG).open("w" if fresh else "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _save(self) -> None:
        state = self.state
        values: dict[str, Any] = {
            "fingerprint": self.fingerprint,
            "state": {name: getattr(state, name) for name in FitState.__slots__},
            "weights": {n: value.detach() for n, value in self._averaged()},
            "average": self.average,
            "kept": self.kept,
            "optimizer": self.optimizer.state_dict(),
        }
        if self.discriminator is not None and self.rival is not None:
            values["discriminator"] = self.discriminator.state_dict()
            values["rival"] = self.rival.state_dict()
        buffer = io.BytesIO()
        torch.save(values, buffer)
        write_bytes(self.folder / CHECKPOINT, buffer.getvalue())

    def _resume(self) -> bool:
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return False
        values = torch.load(path, map_location=self.device, weights_only=True)
        if values["fingerprint"] != self.fingerprint:
            return False
        for name, value in values["state"].items():
            setattr(self.state, name, value)
        self.average, self.kept = dict(values["average"]), dict(values["kept"])
        self._use(values["weights"])
        self.optimizer.load_state_dict(values["optimizer"])
        if self.discriminator is not None and self.rival is not None:
            self.discriminator.load_state_dict(values["discriminator"])
            self.rival.load_state_dict(values["rival"])
        self.started = time.monotonic()
        cut_log(self.folder / LOG, self.state.step)
        return True


def _prefixed(scores: Mapping[str, float]) -> dict[str, float]:
    return {f"val_{name}": round(value, 6) for name, value in scores.items()}


def _note(state: FitState) -> str:
    return f"best {state.best:.4f} at step {state.best_step}"
