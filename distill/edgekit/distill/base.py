"""The shipped base: a generator trained on many concepts, frozen, shared by all adapters.

weights.safetensors   the generator's weights
card.json             sha256 and shape of it; data, licences, training and quality
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_values

from edgekit.core.assets import asset_folder
from edgekit.core.errors import BadInput
from edgekit.core.store import file_sha256, read_json
from edgekit.distill.compact import unpacked
from edgekit.distill.students.gan import Generator, Shape, fresh_generator

CARD = "card.json"
WEIGHTS = "weights.safetensors"
AGAIN = "install edgekit-toolchain again from its wheel or source tree"


@dataclass(frozen=True, slots=True)
class Base:
    """A loaded base and what its card says."""

    generator: Generator
    sha256: str
    card: Mapping[str, Any]


def load_base(folder: Path | None = None, *, teacher: Path | None = None) -> Base:
    """Load the base in `folder`, by default the shipped one, in eval mode.

    Its weights must have the hash in its card, and the text encoder of `teacher` (by default the
    bundled one, not looked at if its folder is missing) the hash it was trained with: other
    weights would load and paint other pictures. Raises BadInput if one of them has changed.
    """
    folder = folder or asset_folder("base")
    card = read_json(folder / CARD)
    path = folder / WEIGHTS
    if not path.is_file():
        raise BadInput(f"{path} is missing", hint=AGAIN)
    sha256 = file_sha256(path)
    if sha256 != card["sha256"]:
        raise BadInput(
            f"{path} has changed: its sha256 is {sha256[:12]}, its card says {card['sha256'][:12]}",
            hint=AGAIN,
        )
    encoder = (teacher or asset_folder("teacher")) / "text_encoder"
    if encoder.is_dir() and card["text_encoder_sha256"] != file_sha256(encoder):
        raise BadInput(
            f"{encoder} is not the text encoder that the base was trained with", hint=AGAIN
        )
    try:
        values = safetensors_values(path.read_bytes())
        generator = fresh_generator(Shape(**card["shape"]), seed=0)
        generator.load_state_dict(unpacked(values))
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{path} does not hold the generator of its card", hint=AGAIN) from error
    return Base(generator.eval().requires_grad_(False), sha256, card)


def untrained(like: Generator, *, seed: int) -> Generator:
    """Return a generator of the shape of `like` with random weights: the control of every base.

    A fresh generator's head and modulations are zero, which would hide its features from every
    gradient of an adapter; here they are small random numbers, so that the control gets its chance.
    """
    generator = fresh_generator(like.shape, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in generator.named_parameters():
            if name.startswith("head") or "modulation" in name:
                value.normal_(0, 0.05, generator=draw)
    return generator.eval().requires_grad_(False)
