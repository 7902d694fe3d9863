"""What the training loop of one concept keeps, is told and needs, apart from the loop itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.core.store import write_bytes
from edgekit.core.tensors import Photos

WARMUP_STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """What the loop needs to know; see `Recipe` for the meaning of the shared names."""

    steps: int
    batch: int
    lr: float
    l1: float = 1.0
    perceptual: float = 1.0
    adversarial: float = 0.0
    seed: int = 0
    minutes: float = math.inf
    check_every: int = 25
    patience: int = 6
    """Checks without a gain after which training ends."""
    checkpoint_s: float = 20.0
    """Seconds between two checkpoints; 0 writes one at every check."""
    frozen_norms: bool = True
    """Keep batch-norm statistics (adapters); False trains them for the first part of a run."""
    discriminator_width: int = 32
    half: bool | None = None
    """Compute products in bfloat16; None does so where the processor is faster with it."""


@dataclass(frozen=True, slots=True)
class FitData:
    """uint8 pairs: those to train on and those that choose the best weights."""

    sources: Photos
    edits: Photos
    val_sources: Photos
    val_edits: Photos


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a run went; the best weights are in the network."""

    step: int
    """Steps done."""
    best_step: int
    seconds: float
    """Training time over all continuations, without loading or the last evaluation."""
    stopped: str
    """"steps", "plateau", "minutes" or "watch"."""
    slowed: int = 0
    """How often the run was lost, went back to its best weights and halved the rate."""
    scores: dict[str, float] = field(default_factory=dict)
    """Validation terms of the best weights."""
    first_scores: dict[str, float] = field(default_factory=dict)
    """The same before any step."""


@dataclass(slots=True)
class FitState:
    """How far a run is and what its best weights scored; part of a checkpoint."""

    step: int = 0
    seconds: float = 0.0
    best: float = math.inf
    best_step: int = 0
    stale: int = 0
    astray: int = 0
    """Checks in a row that were far worse than the best."""
    slowed: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    first_scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WeightsSwap:
    """Puts other weights into the network for the length of a with block."""

    use: Callable[[Mapping[str, Tensor]], None]
    before: Mapping[str, Tensor]
    values: Mapping[str, Tensor]

    def __enter__(self) -> None:
        """Put the other weights in."""
        self.use(self.values)

    def __exit__(self, *problem: object) -> None:
        """Put the weights back."""
        self.use(self.before)


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """Return `network` on `device`, its convolutions channels-last."""
    moved: nn.Module = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def fast_bfloat16(device: torch.device) -> bool:
    """Tell whether `device` multiplies bfloat16 in hardware: then a step takes half the time."""
    if device.type == "cuda":
        return True
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    tells = (getattr(torch.cpu, name, None) for name in names)
    return any(tell() for tell in tells if tell is not None)


def use_fast_products(device: torch.device) -> None:
    """On a GPU, multiply float32 in TF32 and let each convolution try which kernel is fastest.

    Both hold for the whole process.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True


def rate_share(step: int, steps: int) -> float:
    """Return the share of the learning rate: a short warm-up, then half a cosine down to 2 %."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / max(1, steps))))


def shuffled(seed: int, round_: int, count: int) -> np.ndarray[Any, Any]:
    """Return the order of `count` pairs in pass `round_`: a function of its arguments alone."""
    return np.random.default_rng((seed, round_)).permutation(count)


def device_bytes(photos: Photos, device: torch.device) -> Tensor:
    """Return photos as a uint8 tensor (n, 3, height, width) on `device`."""
    return torch.from_numpy(np.ascontiguousarray(photos.transpose(0, 3, 1, 2))).to(device)


def cut_log(path: Path, step: int) -> None:
    """Drop the lines after `step`, also a half-written one: the run computes them again."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            break
    write_bytes(path, "".join(line + "\n" for line in kept).encode())
