"""The encoder as a student folder, so that `edgekit export` and all that follows can take it.

student.pt2            ``image`` (1, 3, S, S), ``sums`` (1, Q, S) -> ``sums_out``, ``code``
weights.safetensors    what training goes on from
calibration.npz        image, sums: faces of training people, with the sums of earlier photos
heldout.npz            the same of people that no training saw
manifest.json          ports, shape, how alike codes of one person and of two are
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_values
from torch import Tensor

from edgekit.core.errors import BadInput
from edgekit.core.seams import Port
from edgekit.core.store import file_sha256, read_manifest
from edgekit.distill.faces.sets import Faces
from edgekit.distill.identity.encoder import IdentityEncoder, OnePhoto, fresh_encoder
from edgekit.distill.identity.layers import with_convolutions
from edgekit.distill.identity.shape import IdentityShape
from edgekit.distill.program import KIND, WEIGHTS, StudentFacts, write_ported

SAMPLES = 24
"""Faces in calibration.npz and in heldout.npz."""
CODE_RANGE = 4.0
"""Almost all values of a code are smaller; differences of exported files are measured by it."""


def ports(
    shape: IdentityShape, *, state_range: float = 1.0
) -> tuple[tuple[Port, Port], tuple[Port, Port]]:
    """Return the input and the output ports of an encoder whose states reach `state_range`."""
    image = Port("image", (1, 3, shape.size_px, shape.size_px))
    state, state_out = (
        Port(name, (1, *shape.state), layout="flat", low=-state_range, high=state_range)
        for name in ("sums", "sums_out")
    )
    code = Port("code", (1, *shape.code), layout="flat", low=-CODE_RANGE, high=CODE_RANGE)
    return (image, state), (state_out, code)


def write_encoder(
    folder: Path, encoder: IdentityEncoder, train: Faces, heldout: Faces, facts: StudentFacts
) -> dict[str, Any]:
    """Write the student folder of `encoder` and return its manifest.

    `train` and `heldout` have faces of the encoder's size. Raises OutputError if `folder` cannot be
    written.
    """
    return write_encoder_of(folder, encoder, train.images, heldout.images, facts)


def write_encoder_of(
    folder: Path, encoder: IdentityEncoder, train: Tensor, heldout: Tensor, facts: StudentFacts
) -> dict[str, Any]:
    """Do what `write_encoder` does with faces alone: n x 3 x S x S, uint8."""
    shape = encoder.shape
    encoder = encoder.float().cpu().eval().requires_grad_(False)
    encoder.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    samples = _samples(encoder, train)
    inputs, outputs = ports(shape, state_range=_rounded_up(np.abs(samples["sums"]).max()))
    return write_ported(
        folder,
        with_convolutions(OnePhoto(encoder)),
        inputs=inputs,
        outputs=outputs,
        calibration=samples,
        heldout=_samples(encoder, heldout),
        weights=encoder.state_dict(),
        facts=replace(
            facts, form="identity", extra={**facts.extra, "identity_shape": asdict(shape)}
        ),
    )


def read_encoder(folder: Path) -> tuple[IdentityEncoder, dict[str, Any]]:
    """Return the encoder of a student folder, in eval mode, and the folder's manifest.

    Raises BadInput for a folder that holds something else, or whose weights were changed.
    """
    manifest = read_manifest(folder, kind=KIND)
    if "identity_shape" not in manifest:
        raise BadInput(
            f"{folder} holds a student that makes pictures, not an identity encoder",
            hint="name a folder written by `edgekit identity train`",
        )
    path = folder / WEIGHTS
    try:
        if file_sha256(path) != manifest["files"][WEIGHTS]["sha256"]:
            raise ValueError("its sha256 is not the one in the manifest")
        encoder = fresh_encoder(IdentityShape(**manifest["identity_shape"]), seed=0)
        encoder.load_state_dict(safetensors_values(path.read_bytes()))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"{path} does not hold the encoder of its manifest: {error}",
            hint="copy the folder again, or train the encoder anew",
        ) from error
    return encoder.eval().requires_grad_(False), manifest


@torch.no_grad()
def _samples(encoder: IdentityEncoder, faces: Tensor) -> dict[str, np.ndarray[Any, Any]]:
    """Return faces, and for every second one the state of the photos before it."""
    rows = torch.linspace(0, len(faces) - 1, min(SAMPLES, len(faces))).long()
    images = faces[rows.to(faces.device)].cpu()
    added = encoder.state(images.float() / 127.5 - 1)
    states = torch.zeros_like(added)
    for i in range(1, len(rows), 2):
        states[i] = added[max(0, i - 1 - i % 6) : i].sum(0)
    return {"image": images.permute(0, 2, 3, 1).numpy(), "sums": _float(states)}


def _rounded_up(value: float) -> float:
    """Return the next power of two."""
    return float(2.0 ** math.ceil(math.log2(max(float(value), 1e-6))))


def _float(values: Tensor) -> np.ndarray[Any, Any]:
    return values.float().numpy()
