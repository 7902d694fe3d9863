"""The arms of the experiment: which network starts where, and what of it is trained."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.torch import save
from torch import Tensor, nn

from edgekit.distill.base import untrained
from edgekit.distill.lora import (
    Adapter,
    attach,
    factors,
    ranks_of_layers,
    save_adapter,
)
from edgekit.distill.ranks import GROUPS, Ranks, as_ranks
from edgekit.distill.students.e2gan import E2GAN, fresh_e2gan
from edgekit.distill.students.gan import Generator, fresh_generator
from edgekit.distill.students.resnet9 import fresh_resnet9
from edgekit.distill.students.slim_resnet9 import fresh_slim_resnet9

CHOICES = (0, 1, 2, 3, 4, 6, 8, 12, 16)
"""Ranks from which arm E draws."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to a student of a concept."""

    name: str
    what: str
    network: str = "edgekit"
    start: str = "base"
    """"base", "random base" (untrained weights in its place) or "scratch"."""
    adapter: str = ""
    """"searched", "random", or a rank for all groups; empty trains every weight."""
    steps: int = 1500
    lr: float = 2e-3
    pairs: int = 800
    method: str = "random"
    """How the pairs were chosen from the pool, see `edgekit.distill.pairs.clusters`."""


ARMS = (
    Arm("A", "pix2pix ResNet-9 from scratch", "resnet9", "scratch", "", 2500, 5e-4),
    Arm("B", "our generator from scratch", start="scratch", steps=2500, lr=2e-3),
    Arm("C", "base, every weight tuned", lr=1e-3),
    Arm("D", "base + LoRA of searched ranks", adapter="searched", lr=8e-3),
    Arm("E", "base + LoRA of random ranks, no fewer weights", adapter="random", lr=8e-3),
    Arm("F", "base + LoRA of rank 1", adapter="1", lr=8e-3),
    Arm("G", "random base + LoRA of searched ranks", "edgekit", "random base", "searched", lr=8e-3),
    Arm("U", "base + LoRA of rank 4 everywhere", adapter="4", lr=8e-3),
    Arm("U8", "base + LoRA of rank 8 everywhere", adapter="8", lr=8e-3),
    Arm("U16", "base + LoRA of rank 16 everywhere", adapter="16", lr=8e-3),
    Arm("P", "paper-size E2GAN from scratch", "e2gan", "scratch", "", 2500, 5e-4),
    Arm("PC", "paper-size base, every weight tuned", "e2gan", lr=5e-4),
    Arm("PD", "paper-size base + LoRA of rank 4", "e2gan", adapter="4", lr=8e-3),
    Arm("PD16", "paper-size base + LoRA of rank 16", "e2gan", adapter="16", lr=8e-3),
    Arm("S", "compressed ResNet-9 from scratch", "slim", "scratch", "", 2500, 1e-3),
)
FEWER = tuple(
    Arm(
        f"H-{method}-{pairs}",
        f"D with {pairs} pairs",
        adapter="searched",
        lr=8e-3,
        steps=800,
        pairs=pairs,
        method=method,
    )
    for pairs in (1000, 400, 160, 100, 40, 10)
    for method in ("kmeans", "random")
    if pairs < 1000 or method == "random"
)


def named(name: str) -> Arm:
    """Return an arm; ``A@0.001`` is arm A at another learning rate, ``A*200`` at other steps."""
    name, _, steps = name.partition("*")
    name, _, lr = name.partition("@")
    arm = next(arm for arm in (*ARMS, *FEWER) if arm.name == name)
    return replace(arm, lr=float(lr) if lr else arm.lr, steps=int(steps) if steps else arm.steps)


@dataclass(frozen=True, slots=True)
class Built:
    """A network ready to train, and the ranks of its adapter."""

    network: nn.Module
    ranks: Ranks | None


def built(
    arm: Arm, base: Generator, searched: Ranks, *, seed: int, paper: E2GAN | None = None
) -> Built:
    """Return the network of an arm; `base` and the paper-size base `paper` are left as they are."""
    dim = base.shape.context_dim
    if arm.network == "resnet9":
        return Built(fresh_resnet9(seed=seed), None)
    if arm.network == "slim":
        return Built(fresh_slim_resnet9(seed=seed), None)
    if arm.network == "e2gan" and arm.start == "base":
        assert paper is not None, "--paper-base is missing"
        if not arm.adapter:
            return Built(deepcopy(paper).requires_grad_(True), None)
        ranks = as_ranks(int(arm.adapter))
        return Built(attach(deepcopy(paper), rank=ranks, seed=seed), ranks)
    if arm.network == "e2gan":
        return Built(fresh_e2gan(seed=seed, context_dim=dim), None)
    if arm.start == "scratch":
        return Built(fresh_generator(base.shape, seed=seed), None)
    network = deepcopy(base) if arm.start == "base" else untrained(base, seed=seed)
    if not arm.adapter:
        return Built(network.requires_grad_(True), None)
    if arm.adapter == "searched":
        ranks = dict(searched)
    elif arm.adapter == "random":
        ranks = random_ranks(base, least=weights_of(base, searched), seed=seed)
    else:
        ranks = as_ranks(int(arm.adapter))
    return Built(attach(network, rank=ranks, seed=seed), ranks)


def weights_of(base: Generator, ranks: Ranks) -> int:
    """Return the number of weights of an adapter."""
    layers = dict(base.named_modules())
    total = 0
    for name, rank in ranks_of_layers(base, ranks).items():
        weight = layers[name].weight
        assert isinstance(weight, Tensor)
        total += rank * (weight[0].numel() + len(weight))
    return total


def random_ranks(base: Generator, *, least: int, seed: int) -> dict[str, int]:
    """Draw ranks by lot until they have from `least` to 1.3 times as many weights."""
    random = np.random.default_rng(seed + 1)
    while True:
        ranks = {group: int(random.choice(CHOICES)) for group in GROUPS}
        if any(ranks.values()) and least <= weights_of(base, ranks) <= 1.3 * least:
            return ranks


def saved_bytes(folder: Path, built_: Built) -> int:
    """Return the bytes of the file that a concept needs: its adapter, or its whole network."""
    if built_.ranks is None:
        path = folder / "weights.safetensors"
        state = built_.network.state_dict()
        path.write_bytes(save({n: v.half().contiguous().cpu() for n, v in state.items() if v.ndim}))
        return path.stat().st_size
    adapter = Adapter(factors(built_.network), built_.ranks, "x", "0" * 64)
    return save_adapter(folder / "adapter.safetensors", adapter)


def frozen_sha256(network: nn.Module) -> str:
    """Return a hash over every weight that does not train: a base must keep it."""
    digest = hashlib.sha256()
    learned = {name for name, value in network.named_parameters() if value.requires_grad}
    for name, value in sorted(network.state_dict().items()):
        if name not in learned:
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
