"""How many bytes an adapter's file will have, known before anything is trained."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import nn

from edgekit.distill.lora import Adapter, attach, factors, save_adapter
from edgekit.distill.ranks import GROUPS, Ranks, as_ranks

Sizes = Callable[[Ranks], int]
"""Ranks to the bytes of the file."""


def file_sizes(generator: nn.Module, *, prompt: str, base_sha256: str) -> Sizes:
    """Return a function that gives the exact bytes of `generator`'s adapter file at given ranks.

    It attaches a fresh adapter and saves it with the very functions that will save the trained
    one, once for each ranks asked for, so that no estimate can be wrong.
    """
    known: dict[tuple[int, ...], int] = {}

    def size(ranks: Ranks) -> int:
        wanted = as_ranks(ranks)
        key = tuple(wanted[group] for group in GROUPS)
        if key not in known:
            attached = attach(copy.deepcopy(generator), rank=wanted, seed=0)
            adapter = Adapter(factors(attached), wanted, prompt, base_sha256)
            with tempfile.TemporaryDirectory() as folder:
                known[key] = save_adapter(Path(folder) / "adapter.safetensors", adapter)
        return known[key]

    return size
