"""A tiny base, runs on it, and its exported bundle, for tests of several parts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tests.students import smooth_photos

from edgekit.core.manifest import AdapterEntry
from edgekit.core.store import finish_folder
from edgekit.distill.adapters import AdaptedStudent, adapted_student
from edgekit.distill.base import Base, load_base
from edgekit.distill.lora import (
    Adapter,
    attach,
    attach_adapter,
    factors,
    merged,
    save_adapter,
    use_factors,
)
from edgekit.distill.program import KIND
from edgekit.distill.ranks import as_ranks
from edgekit.distill.students.gan import Student, specialized
from edgekit.distill.students.text_context import text_context

SIZE = 64


def random_adapter(
    base: Base, prompt: str, *, ranks: int | Mapping[str, int] = 4, seed: int = 0
) -> Adapter:
    """An adapter whose every factor is random and large enough to be seen."""
    generator = attach(copy.deepcopy(base.generator), rank=ranks, seed=seed)
    random = torch.Generator().manual_seed(seed)
    values = {
        name: value + 0.1 * torch.randn(value.shape, generator=random)
        for name, value in factors(generator).items()
    }
    use_factors(generator, values)
    return Adapter(factors(generator), as_ranks(ranks), prompt, base.sha256)


def merged_student(base: Base, adapter: Adapter, *, size_px: int = SIZE) -> Student:
    """What `edgekit distill` ships for this adapter."""
    attached = attach_adapter(copy.deepcopy(base.generator), adapter, base_sha256=base.sha256)
    return specialized(merged(attached), text_context(adapter.prompt), size_px=size_px)


def adapted(
    base: Base, *, capacity: int | Mapping[str, int] = 4, size_px: int = SIZE
) -> tuple[AdaptedStudent, AdapterEntry]:
    """The base with a second input, and the manifest's description of that input."""
    student = adapted_student(base.generator, size_px=size_px, capacity=capacity)
    return student, AdapterEntry.model_validate(student.layout.entry(base.sha256))


def edit(student: torch.nn.Module, *inputs: object) -> np.ndarray:
    """Call a student on arrays."""
    with torch.no_grad():
        made = student(*(torch.from_numpy(np.asarray(value)) for value in inputs))
    return made.numpy()


def image(*, seed: int = 0, size_px: int = SIZE) -> np.ndarray:
    """One picture as a student takes it."""
    photo = smooth_photos(1, size_px, seed=seed).transpose(0, 3, 1, 2)
    return (photo.astype(np.float32) / 127.5 - 1).astype(np.float32)


def tiny_run(folder: Path, base_folder: Path, prompt: str, *, seed: int, ranks: int = 4) -> Path:
    """Write what a concept is packed from: a run's adapter (random, on that base) and manifest."""
    base = load_base(base_folder)
    adapter = random_adapter(base, prompt, ranks=ranks, seed=seed)
    save_adapter(folder / "adapter.safetensors", adapter)
    facts = {"name": folder.name, "adapter": {"ranks": dict(adapter.ranks)}}
    finish_folder(folder, kind=KIND, recipe_sha256="0" * 64, facts=facts)
    return folder
