"""Students that ship: a few megabytes of weights and a card, made student folders where needed.

    card.json             what it is, its data, scores and limits; sha256 of the other files
    weights.safetensors   `edgekit.distill.compact`
    calibration.webp      portraits of rendered people below each other (not of a mesh generator)
    heldout.webp          the same of other people
    codes.safetensors     of a restorer that takes codes: those that go with them

`edgekit.distill.ship` writes such folders, this module reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_values
from torch import Tensor, nn

from edgekit.core.assets import SHIPPED_SHA256
from edgekit.core.errors import BadInput
from edgekit.core.store import (
    complete,
    file_sha256,
    locked,
    prepared_folder,
    read_json,
    read_manifest,
    value_sha256,
)
from edgekit.core.tensors import Batch, Photos
from edgekit.distill.base import AGAIN, CARD, WEIGHTS
from edgekit.distill.compact import unpacked
from edgekit.distill.faces.store import decoded
from edgekit.distill.identity.encoder import IdentityEncoder, fresh_encoder
from edgekit.distill.identity.shape import IdentityShape
from edgekit.distill.identity.student import write_encoder_of
from edgekit.distill.mesh.generator import Generator, fresh_generator
from edgekit.distill.mesh.shape import MeshShape
from edgekit.distill.mesh.student import Prompts, write_generator
from edgekit.distill.program import KIND, StudentFacts, write_ported
from edgekit.distill.restorer.phone import PhoneRestorer, alone, fresh_phone
from edgekit.distill.restorer.ship import image_port, input_ports, output_port
from edgekit.distill.students.shape import Shape
from edgekit.distill.teachers.card import changed_files

FORMAT = 1
"""Counts up when the same asset would give another student folder."""
SPLITS = ("calibration", "heldout")
CODES = "codes.safetensors"
IDENTITY = "identity"
ALONE = "alone"
"""How `references` of a card call a restorer without a port for what is known of the person."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A shipped student: its network with the weights of the asset, and what the card says."""

    folder: Path
    card: Mapping[str, Any]
    network: nn.Module

    @property
    def recipe_sha256(self) -> str:
        """Hash of all that decides the student folder made of it, but its encoder."""
        return value_sha256({"format": FORMAT, "card": file_sha256(self.folder / CARD)})

    def facts(self) -> StudentFacts:
        """Return what the student's manifest repeats of the card."""
        card = self.card
        return StudentFacts(
            name=str(card["student"]),
            recipe_sha256=self.recipe_sha256,
            form=str(card["form"]),
            seed=int(card["seed"]),
            quality=card["quality"],
            seconds=float(card["training"]["seconds"]),
            licences={"weights": card["licence"], **card["data"]["licences"]},
            extra={SHIPPED_SHA256: card["sha256"]},
        )


def read_shipped(folder: Path) -> Shipped:
    """Load the asset in `folder`.

    Raises BadInput if a file of it is missing or was changed since its card was written.
    """
    card = read_json(folder / CARD)
    try:
        if changed := changed_files(folder):
            raise BadInput(f"{folder / changed[0]} is not the file of its card", hint=AGAIN)
        network = fresh_network(card)
        load(network, unpacked(safetensors_values((folder / WEIGHTS).read_bytes())))
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{folder} does not hold what its card says: {error}", hint=AGAIN) from error
    return Shipped(folder, card, network.eval().requires_grad_(False))


def fresh_network(card: Mapping[str, Any]) -> nn.Module:
    """Return a network of the form and shape of a card, its weights random."""
    form, shape = card["form"], card["shape"]
    if form == "identity":
        return fresh_encoder(IdentityShape(**shape), seed=0)
    if form == "restorer":
        return fresh_phone(Shape(**shape), seed=0)
    if form == "mesh":
        return fresh_generator(MeshShape(**shape), len(card["words"]), seed=0)
    raise ValueError(f"no student of the form {form!r} ships")


def needs_encoder(card: Mapping[str, Any]) -> bool:
    """Tell whether a card is of a restorer that takes identity codes."""
    return bool(card["form"] == "restorer" and card["references"]["form"] != ALONE)


def load(network: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Put weights into `network`; ValueError if one is missing, RuntimeError if one is strange."""
    state = network.state_dict()
    missing = [name for name, v in state.items() if v.is_floating_point() and name not in values]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    network.load_state_dict({**state, **values})


def write_shipped(
    shipped: Shipped, folder: Path, *, encoder: Shipped | None = None
) -> dict[str, Any]:
    """Make the student folder of `shipped` and return its manifest.

    A restorer that takes codes needs the `encoder` that makes them, which becomes a part of it. A
    folder that is complete for the same asset is left as it is. Raises BadInput for another encoder
    or damaged samples, OutputError if `folder` cannot be written.
    """
    prepared_folder(folder)
    with locked(folder):
        if complete(folder, kind=KIND, recipe_sha256=shipped.recipe_sha256):
            return read_manifest(folder, kind=KIND)
        network, facts = shipped.network, shipped.facts()
        if isinstance(network, Generator):
            told, words = shipped.card["prompts"], tuple(shipped.card["words"])
            prompts = Prompts(train=tuple(told["train"]), unseen=tuple(told["unseen"]), words=words)
            return write_generator(folder, network, prompts, facts)
        if isinstance(network, IdentityEncoder):
            train, heldout = (
                torch.from_numpy(_pictures(shipped, split).transpose(0, 3, 1, 2).copy())
                for split in SPLITS
            )
            return write_encoder_of(folder, network, train, heldout, facts)
        assert isinstance(network, PhoneRestorer)
        return _write_restorer(shipped, network, folder, encoder)


def _write_restorer(
    shipped: Shipped, network: PhoneRestorer, folder: Path, encoder: Shipped | None
) -> dict[str, Any]:
    card = shipped.card
    size_px, facts = int(card["size_px"]), shipped.facts()
    samples = {split: {"image": _pictures(shipped, split)} for split in SPLITS}
    inputs, parts, references = [image_port(size_px)], {}, dict(card["references"])
    program: nn.Module = network
    if not needs_encoder(card):
        program = alone(network, size_px=size_px)
    else:
        if encoder is None or encoder.card["sha256"] != card["encoder_sha256"]:
            raise BadInput(
                f"{shipped.folder} does not understand the codes of the identity encoder that "
                "ships",
                hint=AGAIN,
            )
        write_shipped(encoder, folder / IDENTITY)
        for split, codes in _codes(shipped).items():
            samples[split]["code"] = codes
        inputs, parts = list(input_ports(network, size_px)), {IDENTITY: IDENTITY}
        references["encoder_sha256"] = card["encoder_sha256"]
    return write_ported(
        folder,
        program,
        inputs=inputs,
        outputs=[output_port(size_px)],
        calibration=samples["calibration"],
        heldout=samples["heldout"],
        facts=replace(
            facts,
            prompt="restore the portrait",
            parts=parts,
            extra={**facts.extra, "references": references},
        ),
    )


def _pictures(shipped: Shipped, split: str) -> Photos:
    """Return the sample pictures of a split, which stand below each other in one file."""
    size_px = int(shipped.card["size_px"])
    tall = decoded((shipped.folder / f"{split}.webp").read_bytes())
    if tall.shape[1] != size_px or len(tall) % size_px:
        raise BadInput(f"{shipped.folder}: {split}.webp has another size", hint=AGAIN)
    return tall.reshape(-1, size_px, size_px, 3)


def _codes(shipped: Shipped) -> dict[str, Batch]:
    values = safetensors_values((shipped.folder / CODES).read_bytes())
    return {split: np.asarray(values[split].float().numpy()) for split in SPLITS}
