"""The generator as a student folder with a part, so that everything after training can take it.

student.pt2            ``text`` (1, L, W) -> ``planes`` (1, 3C, R, R)
words.safetensors      ``table`` (V, W); its metadata: ``words`` (JSON list), ``length`` (L)
weights.safetensors    all weights: what training goes on from
field/                 the part: ``features`` (1, N, C) -> ``field`` (1, N, 7)
manifest.json          also ``lattice`` (cells, deform) and ``prompts`` (train, unseen)
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as safetensors_values
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from edgekit.core.errors import BadInput
from edgekit.core.seams import Port
from edgekit.core.store import file_sha256, prepared_folder, read_manifest, write_bytes
from edgekit.distill.mesh.generator import Generator, features_at, fresh_generator
from edgekit.distill.mesh.shape import OUTPUTS, MeshShape
from edgekit.distill.mesh.words import tokens
from edgekit.distill.program import KIND, WEIGHTS, StudentFacts, write_ported

FIELD = "field"
WORDS = "words.safetensors"
SAMPLES = 24
"""Prompts in calibration.npz and in heldout.npz."""
FIELD_SAMPLES = 3
"""Calls of the field in its own: of 4096 points each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What a generator is trained on, and what it is asked without having seen it."""

    train: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    words: tuple[str, ...] = field(default=())
    """All that is known, in the order of the table."""


def write_generator(
    folder: Path, generator: Generator, prompts: Prompts, facts: StudentFacts
) -> dict[str, Any]:
    """Write the student folder of `generator` and its part, and return its manifest.

    Raises OutputError if `folder` cannot be written.
    """
    prepared_folder(folder)
    generator = generator.float().cpu().eval().requires_grad_(False)
    shape = generator.shape
    state = {name: value.contiguous() for name, value in generator.state_dict().items()}
    known = {"words": json.dumps(list(prompts.words)), "length": str(shape.length)}
    table = generator.table.weight[1:].contiguous()
    write_bytes(folder / WORDS, safetensors_bytes({"table": table}, metadata=known))
    train = _texts(generator, prompts.train, prompts.words)
    heldout = _texts(generator, prompts.unseen or prompts.train, prompts.words)
    planes = [generator.planes(texts) for texts in (train, heldout)]
    features = [_features(one, shape, seed=facts.seed) for one in planes]
    _write_field(folder / FIELD, generator, features, facts)
    text = Port("text", (1, shape.length, shape.word_width), layout="flat", **_range(train))
    out = Port("planes", (1, *planes[0].shape[1:]))
    more = {
        "mesh_shape": asdict(shape),
        "lattice": {"cells": shape.cells, "deform": shape.deform},
        "prompts": {"train": list(prompts.train), "unseen": list(prompts.unseen)},
    }
    return write_ported(
        folder,
        generator.planes,
        inputs=[text],
        outputs=[out],
        calibration={"text": train.numpy()},
        heldout={"text": heldout.numpy()},
        facts=replace(
            facts,
            form="mesh",
            parts={FIELD: FIELD},
            assets={"words": WORDS},
            extra={**facts.extra, **more},
        ),
        size_px=shape.plane_px,
        weights=state,
    )


def read_generator(folder: Path) -> tuple[Generator, Prompts, dict[str, Any]]:
    """Return the generator of a student folder, in eval mode, its prompts and the manifest.

    Raises BadInput for a folder that holds something else, or whose weights were changed.
    """
    manifest = read_manifest(folder, kind=KIND)
    if "mesh_shape" not in manifest:
        raise BadInput(
            f"{folder} holds a student that makes no meshes",
            hint="name a folder written by `edgekit distill --student mesh`",
        )
    path = folder / WEIGHTS
    try:
        if file_sha256(path) != manifest["files"][WEIGHTS]["sha256"]:
            raise ValueError("its sha256 is not the one in the manifest")
        with safe_open(folder / WORDS, "np") as stored:
            words = tuple(json.loads(stored.metadata()["words"]))
        generator = fresh_generator(MeshShape(**manifest["mesh_shape"]), len(words), seed=0)
        generator.load_state_dict(safetensors_values(path.read_bytes()))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"{path} does not hold the generator of its manifest: {error}",
            hint="copy the folder again, or train the generator anew",
        ) from error
    told = manifest["prompts"]
    prompts = Prompts(train=tuple(told["train"]), unseen=tuple(told["unseen"]), words=words)
    return generator.eval().requires_grad_(False), prompts, manifest


def _write_field(
    folder: Path, generator: Generator, features: Sequence[Tensor], facts: StudentFacts
) -> None:
    shape = generator.shape
    count = (1, shape.points)
    write_ported(
        folder,
        generator.head,
        inputs=[Port("features", (*count, shape.channels), layout="flat", **_range(features[0]))],
        outputs=[Port("field", (*count, OUTPUTS), layout="flat")],
        calibration={"features": features[0].numpy()},
        heldout={"features": features[1].numpy()},
        facts=replace(facts, name=f"{facts.name}-field", form="field", quality={}, extra={}),
        size_px=shape.plane_px,
    )


@torch.no_grad()
def _texts(generator: Generator, prompts: Sequence[str], words: Sequence[str]) -> Tensor:
    """Return what the planes are given for up to `SAMPLES` of `prompts`, spread over all."""
    picks = torch.linspace(0, len(prompts) - 1, min(SAMPLES, len(prompts))).round().long()
    some = [prompts[i] for i in picks.tolist()]
    text: Tensor = generator.table(tokens(some, words, generator.shape.length))
    return text


@torch.no_grad()
def _features(planes: Tensor, shape: MeshShape, *, seed: int) -> Tensor:
    """Return features of random points of up to `FIELD_SAMPLES` prompts, spread over all."""
    picks = torch.linspace(0, len(planes) - 1, min(FIELD_SAMPLES, len(planes))).round().long()
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(len(picks), shape.points, 3, generator=generator) * 2 - 1
    return features_at(planes[picks], points)


def _range(values: Tensor) -> Mapping[str, Any]:
    """Return bounds of a port whose values are these: the next power of two."""
    bound = float(2.0 ** math.ceil(math.log2(max(float(values.abs().max()), 1e-3))))
    return {"low": -bound, "high": bound}
