"""Portraits, and codes of them, that go with shipped weights of the faces."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save as safetensors_bytes
from torch import nn

from edgekit.core.store import write_bytes
from edgekit.core.tensors import Photos
from edgekit.distill.faces.sets import FaceSampler, load_faces
from edgekit.distill.faces.store import Split, open_faces
from edgekit.distill.identity.encoder import IdentityEncoder
from edgekit.distill.metrics import as_photos
from edgekit.distill.restorer.phone import PhoneRestorer
from edgekit.distill.restorer.result import drawn
from edgekit.distill.restorer.ship import feeds_of
from edgekit.distill.restorer.stages import CodeEncoder, least_references
from edgekit.distill.shipped import CODES, SPLITS, Shipped

SAMPLED: Mapping[str, int] = {"calibration": 8, "heldout": 4}
FROM: Mapping[str, Split] = {"calibration": "train", "heldout": "test"}
WEBP_QUALITY = 90


def write_samples(
    folder: Path, network: nn.Module, encoder: Shipped | None, faces: Path, card: Mapping[str, Any]
) -> dict[str, Any]:
    """Write what files of `network` are calibrated and compared with; return the card's words.

    A restorer that takes codes gets those of the `encoder`; `faces` are rendered people.
    """
    size_px, seed = int(card["size_px"]), int(card["seed"])
    codes = {}
    for split in SPLITS:
        found = load_faces(faces, split=FROM[split], size_px=size_px)
        if isinstance(network, IdentityEncoder):
            count = min(SAMPLED[split], len(found.images))
            rows = torch.linspace(0, len(found.images) - 1, count).long()
            pictures = found.images[rows].permute(0, 2, 3, 1).numpy()
        else:
            least = least_references(found)
            sampler = FaceSampler(
                found, references=(least, 4), wrong_share=0.0, severity="mixed", mirror=False
            )
            batch = drawn(sampler, SAMPLED[split], seed)
            if encoder is not None:
                assert isinstance(network, PhoneRestorer)
                assert isinstance(encoder.network, IdentityEncoder)
                code = CodeEncoder(encoder.network)(batch.references, batch.reference_mask)
                given = feeds_of(network, batch.references, batch.reference_mask, code)
                codes[split] = torch.from_numpy(given["code"]).half()
            pictures = as_photos(batch.degraded)
        write_bytes(folder / f"{split}.webp", _webp(pictures))
    if codes:
        write_bytes(folder / CODES, safetensors_bytes(codes))
    licences = sorted({entry.licence for entry in open_faces(faces).entries})
    return {"what": "rendered people", "of": faces.name, "licence": ", ".join(licences)}


def _webp(pictures: Photos) -> bytes:
    buffer = io.BytesIO()
    tall = np.ascontiguousarray(pictures).reshape(-1, *pictures.shape[2:])
    Image.fromarray(tall).save(buffer, "WEBP", quality=WEBP_QUALITY, method=6)
    return buffer.getvalue()
