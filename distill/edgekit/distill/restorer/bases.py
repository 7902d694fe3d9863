"""Where a one-step restorer starts: a base trained here, a folder of one, or a diffusers pipeline.

weights.safetensors   the U-Net that denoises faces
manifest.json         its shape and size, comes last
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as safetensors_values
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from edgekit.core.errors import BadInput
from edgekit.core.store import file_sha256, finish_folder, read_manifest, write_bytes
from edgekit.distill.program import WEIGHTS
from edgekit.distill.restorer.unet import UNet, UNetShape, fresh_unet, take_weights

KIND = "restorer base"


@dataclass(frozen=True, slots=True)
class Base:
    """A pretrained U-Net."""

    shape: UNetShape
    size_px: int
    weights: Mapping[str, Tensor]
    sha256: str


def write_base(
    folder: Path, network: UNet, *, size_px: int, recipe_sha256: str, facts: Mapping[str, Any]
) -> Base:
    """Write the weights of `network` as a base folder and return it."""
    state = {
        name: v.detach().float().cpu().contiguous() for name, v in network.state_dict().items()
    }
    write_bytes(folder / WEIGHTS, safetensors_bytes(state))
    values = {
        "shape": asdict(network.shape),
        "size_px": size_px,
        "weights_sha256": file_sha256(folder / WEIGHTS),
        **facts,
    }
    finish_folder(folder, kind=KIND, recipe_sha256=recipe_sha256, facts=values)
    return read_base(folder)


def read_base(folder: Path) -> Base:
    """Read a base folder.

    Raises BadInput for another kind of folder, and for weights that were changed.
    """
    facts = read_manifest(folder, kind=KIND)
    path = folder / WEIGHTS
    try:
        sha256 = file_sha256(path)
        if sha256 != facts["weights_sha256"]:
            raise ValueError("its sha256 is not the one in the manifest")
        shape = UNetShape(**{**facts["shape"], "widths": tuple(facts["shape"]["widths"])})
        weights = safetensors_values(path.read_bytes())
        take_weights(fresh_unet(shape, seed=0), weights)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{path} does not hold the base of its manifest: {error}",
            hint="copy the folder again, or leave --base out to train one",
        ) from error
    return Base(shape, int(facts["size_px"]), weights, sha256)
