"""Student folders for tests of other parts, made in a second: `tiny_student`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edgekit.core.tensors import Photos
from edgekit.distill.program import StudentFacts, write_student
from edgekit.distill.students.gan import Generator, Shape, fresh_generator, specialized

WIDTH = 16
CONTEXT_DIM = 16


def tiny_generator(
    *, seed: int = 0, width: int = WIDTH, context_dim: int = CONTEXT_DIM
) -> Generator:
    """A text-conditioned generator whose every weight and norm statistic is random, not zero."""
    generator = fresh_generator(Shape(width=width, context_dim=context_dim), seed=seed).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in generator.named_parameters():
            if "modulation" in name or name.startswith("head"):
                value.normal_(0, 0.1, generator=random)
        for name, value in generator.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(0, 0.3, generator=random)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 2.0, generator=random)
    return generator


def tiny_context(*, seed: int = 0) -> torch.Tensor:
    return torch.randn(8, CONTEXT_DIM, generator=torch.Generator().manual_seed(seed))


def smooth_photos(count: int, size_px: int, *, seed: int = 0) -> Photos:
    """Pictures with large and small structure, unlike noise: what an edit can be learned on."""
    from edgekit.core.images import resized

    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        coarse = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        fine = random.integers(0, 256, (16, 16, 3)).astype(np.uint8)
        mixed = 0.7 * resized(coarse, size_px, size_px) + 0.3 * resized(fine, size_px, size_px)
        made.append(mixed.astype(np.uint8))
    return np.stack(made)


def tiny_student(folder: Path, *, size_px: int = 64, name: str = "negative") -> Path:
    """Write a complete student folder: an untrained but fully used network of width 16."""
    photos = smooth_photos(20, size_px)
    student = specialized(tiny_generator(), tiny_context(), size_px=size_px)
    write_student(
        folder,
        student,
        size_px=size_px,
        calibration=photos[:12],
        heldout=(photos[12:], 255 - photos[12:]),
        facts=StudentFacts(
            name=name,
            prompt="make it negative",
            teacher="negative@000000000000",
            recipe_sha256="0" * 64,
            licences={"weights": "Apache-2.0"},
        ),
    )
    return folder


def tiny_base(folder: Path) -> Path:
    """Write a base folder: the tiny generator, for the texts of the bundled teacher."""
    from safetensors.torch import save

    from edgekit.core.assets import asset_folder
    from edgekit.core.store import file_sha256, write_bytes, write_json
    from edgekit.distill.base import CARD, WEIGHTS
    from edgekit.distill.students.gan import shape_facts

    generator = tiny_generator(context_dim=128)
    state = {name: value.contiguous() for name, value in generator.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(state))
    write_json(
        folder / CARD,
        {
            "sha256": file_sha256(folder / WEIGHTS),
            "shape": shape_facts(generator.shape),
            "text_encoder_sha256": file_sha256(asset_folder("teacher") / "text_encoder"),
            "licence": "Apache-2.0",
        },
    )
    return folder
