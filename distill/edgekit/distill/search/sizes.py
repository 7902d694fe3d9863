"""How many bytes an adapter's file will have, known before anything is trained."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from edgekit.distill.lora import (
    Adapter,
    adapted_layers,
    attach,
    factors,
    ranks_of_layers,
    save_adapter,
)
from edgekit.distill.ranks import GROUPS, Ranks, as_ranks

Sizes = Callable[[Ranks], int]
"""Ranks to the bytes of the file."""


def file_sizes(generator: nn.Module, *, prompt: str, base_sha256: str) -> Sizes:
    """Return a function that gives the exact bytes of `generator`'s adapter file at given ranks.

    It writes a file of zeros with the very function that will write the trained one, once for
    each ranks asked for, so that no estimate can be wrong.
    """
    plain = copy.deepcopy(generator)
    layers = adapted_layers(plain)
    shapes = _shapes(attach(copy.deepcopy(generator), rank=1, seed=0), layers)
    known: dict[tuple[int, ...], int] = {}

    def size(ranks: Ranks) -> int:
        wanted = as_ranks(ranks)
        key = tuple(wanted[group] for group in GROUPS)
        if key not in known:
            zeros = {}
            for layer, rank in ranks_of_layers(plain, wanted).items():
                for name, (shape, side) in shapes[layer].items():
                    made = tuple(rank if i == side else n for i, n in enumerate(shape))
                    zeros[name] = torch.zeros(made, dtype=torch.float16)
            with tempfile.TemporaryDirectory() as folder:
                adapter = Adapter(zeros, wanted, prompt, base_sha256)
                known[key] = save_adapter(Path(folder) / "adapter.safetensors", adapter)
        return known[key]

    return size


Shape = tuple[int, ...]


def _shapes(attached: nn.Module, layers: dict[str, str]) -> dict[str, dict[str, tuple[Shape, int]]]:
    """Return, for each layer, its factors' names, shapes at rank 1, and which side is the rank."""
    found: dict[str, dict[str, tuple[Shape, int]]] = {name: {} for name in layers}
    for name, value in factors(attached).items():
        layer = max((layer for layer in layers if f".{layer}." in f".{name}"), key=len)
        found[layer][name] = (tuple(value.shape), 0 if ".lora_A." in name else 1)
    return found
