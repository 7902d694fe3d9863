"""The training loop of one concept: pairs in, the best weights on a validation split out.

What step 317 does follows from the seed and the number 317 alone, so a run that was killed and
continued computes what an undisturbed one computes. A `Checkpoint` is written every few checks,
at once or not at all; `log.jsonl` is cut back to it on resume.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
)
from edgekit.distill.fit_step import Terms, TrainingStep
from edgekit.distill.metrics import as_photos, as_tensor
from edgekit.distill.preview import write_preview

LOG = "log.jsonl"
PREVIEW = "preview.png"
CHECKPOINT = "checkpoint/state.pt"
PREVIEW_S = 5.0
"""Seconds between two previews at least."""
LEAST_GAIN = 0.003
"""Training ends when `FitSettings.patience` checks in a row improve the best score by less."""
LOST = 1.5
"""Two checks in a row that score this many times the best (or one that is no number) show that the
rate is too high: the run goes back to its best weights and halves it. Usual checks are a few
percent apart, and a single bad one may mend by itself."""
Watch = Callable[[nn.Module, int, float], bool]
"""Called after every check with the network (its average weights in it, in eval mode), the step and
the training seconds so far; its own time is not counted. True ends the run."""


def never(network: nn.Module, step: int, seconds: float) -> bool:
    """Let the run go on."""
    return False


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
    watch: Watch = never,
) -> FitResult:
    """Train the weights of `network` that require gradients, and leave the best average in it.

    `network` has a method ``painted(image, context)``. `context` is the concept's text (tokens,
    dim). Progress, curves, previews and checkpoints go to `folder`; a checkpoint there that
    carries the same `fingerprint` is continued. Products run in bfloat16 where that is faster.
    `watch` is called after every check.
    """
    trainer = _Trainer(network, data, settings, folder, context, torch.device(device), fingerprint)
    return trainer.run(report, watch)


class _Trainer:
    """A run: steps, checks on the validation pairs, and the files in the folder."""

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
        self.started = time.monotonic()
        self.step = TrainingStep(network, (data.sources, data.edits), settings, context, device)
        self.network = self.step.network
        self.val_sources = as_tensor(data.val_sources).to(device)
        self.val_edits = as_tensor(data.val_edits).to(device)
        self.kept = {name: value.clone() for name, value in self.step.average.items()}
        self.state = FitState()
        self.previewed = -math.inf

    def run(self, report: Report, watch: Watch) -> FitResult:
        """Train until the steps, the minutes, the gains or the watcher's patience run out."""
        settings, state = self.settings, self.state
        if not self._resume():
            state.first_scores = state.scores = self._scores()
            state.best = self._objective(state.scores)
            self._log({"step": 0, "seconds": 0.0, **_prefixed(state.scores)}, fresh=True)
        saved_s = time.monotonic()
        stopped = "steps"
        terms: Terms = {}
        while state.step < settings.steps:
            if self._seconds() > settings.minutes * 60:
                stopped = "minutes"
                break
            if state.stale >= settings.patience:
                stopped = "plateau"
                break
            terms = self.step.advance(state.step)
            state.step += 1
            due = state.step % settings.check_every == 0 or state.step == settings.steps
            if due:
                enough = self._check(terms, watch)
                report("train", state.step, settings.steps, _note(state))
                if time.monotonic() - saved_s >= settings.checkpoint_s:
                    self._save()
                    saved_s = time.monotonic()
                if enough:
                    stopped = "watch"
                    break
        if state.step % settings.check_every and stopped == "minutes":
            self._check(terms, watch)
        state.seconds = self._seconds()
        self.step.use(self.kept)
        self._save()
        self._preview()
        return FitResult(
            state.step,
            state.best_step,
            state.seconds,
            stopped,
            state.slowed,
            state.scores,
            state.first_scores,
        )

    def _check(self, terms: Mapping[str, Any], watch: Watch) -> bool:
        """Score the average, keep it if it is the best so far, write curves, ask the watcher."""
        state = self.state
        mine = {name: value.detach().clone() for name, value in self.step.averaged()}
        with WeightsSwap(self.step.use, mine, self.step.average):
            scores = self._scores()
            score = self._objective(scores)
            if score < state.best * (1 - LEAST_GAIN):
                state.stale = 0
            else:
                state.stale += 1
            if score < state.best:
                state.best, state.best_step, state.scores = score, state.step, scores
                self.kept = {name: value.clone() for name, value in self.step.average.items()}
            if time.monotonic() - self.previewed >= PREVIEW_S:
                self._preview()
            row = {"step": state.step, "seconds": round(self._seconds(), 2)}
            row |= {name: round(float(value), 6) for name, value in terms.items()}
            row["lr"] = self.step.rate(state.step - 1)
            self._log({**row, **_prefixed(scores)})
            training = self.network.training
            self.network.eval()
            enough = watch(self.network, state.step, self._seconds())
            self.network.train(training)
            self.started = time.monotonic()
        state.astray = 0 if score <= state.best * LOST else state.astray + 1
        if state.astray == 2 or math.isnan(score):
            self.step.step_back(self.kept)
            state.slowed, state.astray = self.step.slowed, 0
        return enough

    def _scores(self) -> dict[str, float]:
        """Return the validation terms of the weights in the network."""
        training = self.network.training
        self.network.eval()
        sums = {"l1": 0.0, "perceptual": 0.0}
        batch = 64 if self.device.type == "cuda" else 8
        features = self.step.features
        with torch.no_grad():
            for start in range(0, len(self.val_sources), batch):
                source = self.val_sources[start : start + batch]
                edit = self.val_edits[start : start + batch]
                made = self.step.painted(source).clamp(-1, 1)
                sums["l1"] += float(F.l1_loss(made, edit)) * len(source)
                if features is not None:
                    sums["perceptual"] += float(features(made, edit)) * len(source)
        self.network.train(training)
        if features is None:
            del sums["perceptual"]
        return {name: value / len(self.val_sources) for name, value in sums.items()}

    def _objective(self, scores: Mapping[str, float]) -> float:
        return float(self.step.weighted(scores))

    def _preview(self) -> None:
        with torch.no_grad():
            training = self.network.training
            self.network.eval()
            shown = min(4, len(self.val_sources))
            made = as_photos(self.step.painted(self.val_sources[:shown]))
            self.network.train(training)
        columns = (as_photos(self.val_sources[:shown]), as_photos(self.val_edits[:shown]), made)
        write_preview(self.folder / PREVIEW, columns)
        self.previewed = time.monotonic()

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
            "weights": {name: value.detach() for name, value in self.step.averaged()},
            "kept": self.kept,
            **self.step.states(),
        }
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
        self.kept = dict(values["kept"])
        self.step.use(values["weights"])
        self.step.restore(values)
        self.step.slowed = self.state.slowed
        self.started = time.monotonic()
        cut_log(self.folder / LOG, self.state.step)
        return True


def _prefixed(scores: Mapping[str, float]) -> dict[str, float]:
    return {f"val_{name}": round(value, 6) for name, value in scores.items()}


def _note(state: FitState) -> str:
    slowed = f", rate halved {state.slowed}x" if state.slowed else ""
    return f"best {state.best:.4f} at step {state.best_step}{slowed}"
