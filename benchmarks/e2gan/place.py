"""Where a process of the experiment works, and what every run of it trains with."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from arms import Arm
from tasks import Task
from torch import nn

from edgekit.distill.fit_gan import fit_gan
from edgekit.distill.fit_state import FitData, FitSettings

BATCH = 32
ADVERSARIAL = 0.01
"""Against the mean absolute difference of weight 1: pix2pix's 1 to 100."""
CHECKS = 25


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process works and until when."""

    out: Path
    device: str
    ends: float
    small: bool
    pool: int
    judged: int
    batch: int
    adversarial: float

    def left_s(self) -> float:
        """Return the seconds until the end."""
        return self.ends - time.monotonic()


WARM: set[str] = set()


def warm_up(place: Place, task: Task, arm: Arm, network: nn.Module) -> None:
    """Let libraries load and choose kernels for this kind of network, so that no curve pays it."""
    kind = f"{arm.network} {arm.start} {bool(arm.adapter)}"
    if kind in WARM:
        return
    WARM.add(kind)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        data = FitData(*task.train, *task.val)
        settings = settings_of(place, replace(arm, steps=8), 0)
        fit_gan(
            deepcopy(network),
            data,
            settings,
            folder=Path(folder),
            context=task.context,
            device=place.device,
        )
    say(place, "warm", kind=kind, seconds=round(time.monotonic() - started, 1))


def settings_of(place: Place, arm: Arm, seed: int) -> FitSettings:
    """Return the settings of a run: the same for all arms but for steps and learning rate."""
    steps = 8 if place.small else arm.steps
    return FitSettings(
        steps=steps,
        batch=place.batch,
        lr=arm.lr,
        adversarial=place.adversarial,
        seed=seed,
        check_every=max(1, steps // (2 if place.small else CHECKS)),
        patience=10**9,
        checkpoint_s=1e9,
        frozen_norms=arm.start != "scratch",
        discriminator_width=16 if place.small else 64,
    )


def device_name(device: str) -> str:
    """Return the name that a table can show."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"


def say(place: Place, stage: str, **values: Any) -> None:
    """Log one line."""
    row = {"left_s": round(place.left_s()), "stage": stage, **values}
    print(json.dumps(row), file=sys.stderr, flush=True)
