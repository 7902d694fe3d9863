"""Time budgets, log lines, rates and averaged weights, shared by all that is trained on a clock."""

import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn


@dataclass(slots=True)
class Clock:
    """Seconds and steps spent on a stage, over all its runs, against its budget."""

    budget: float
    """Seconds."""
    step_budget: int | None = None
    """Steps; the stage is over when either budget is used up."""
    step: int = 0
    spent_before: float = 0.0
    stop_at: float = math.inf
    """A time of `time.monotonic` at which this run ends, whatever the budget."""
    started: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        """Seconds spent so far."""
        return self.spent_before + time.monotonic() - self.started

    def forgive(self, seconds: float) -> None:
        """Do not count these seconds."""
        self.started += seconds

    @property
    def share(self) -> float:
        """Part of the budget that is used up, 0 to 1."""
        seconds = self.spent / self.budget if self.budget > 0 else 1.0
        steps = 0.0 if self.step_budget is None else self.step / max(1, self.step_budget)
        return min(1.0, max(seconds, steps))

    @property
    def over(self) -> bool:
        """Whether this run has to end now."""
        return self.share >= 1 or time.monotonic() >= self.stop_at


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes one human line to stderr and one JSON line to `log.jsonl`."""

    folder: Path

    def write(self, stage: str, values: Mapping[str, float | int | str]) -> None:
        """Log `values` under the name of a stage."""
        shown = "  ".join(
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()
        )
        print(f"[{time.strftime('%H:%M:%S')}] {stage}: {shown}", file=sys.stderr, flush=True)
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps({"stage": stage, **values}) + "\n")


def learning_rate(share: float, step: int, *, peak: float, warmup: int = 200) -> float:
    """Linear warm-up over steps, then a cosine that reaches 1 % of `peak` when the time is over."""
    ramp = min(1.0, (step + 1) / warmup)
    return peak * ramp * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


@torch.no_grad()
def averaged(target: list[Tensor], source: list[Tensor], step: int, decay: float = 0.999) -> None:
    """Move the running average `target` towards `source`; early steps move it faster."""
    keep = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(target, source, 1 - keep)


def weights(*modules: nn.Module) -> list[Tensor]:
    """The parameters of all modules, detached, in a fixed order."""
    return [parameter.detach() for module in modules for parameter in module.parameters()]
