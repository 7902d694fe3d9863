"""Guides of a mesh generator: the views teacher, and whatever else draws pictures from text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from edgekit.core.store import MANIFEST, file_sha256, value_sha256
from edgekit.distill.render.views import Cameras
from edgekit.distill.teachers.networks import token_ids
from edgekit.distill.teachers.views.networks import Networks, new_scheduler, read_networks
from edgekit.distill.teachers.views.pipeline_guide import PipelineGuide, load_pipeline


class ViewsGuide:
    """The guide that `edgekit teacher train --kind views` makes; see `mesh.guide.Guide`."""

    def __init__(self, networks: Networks, *, identity: str) -> None:
        """Take trained networks; they stay on their device. `identity` tells them from others."""
        self.networks, self.identity = networks, identity
        self.device = next(networks.unet.parameters()).device
        self.size_px = networks.size.size_px
        self.alphas: Tensor = new_scheduler().alphas_cumprod.to(self.device)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return n x 24 x C; the empty prompt stands for any picture."""
        ids = token_ids(self.networks.tokenizer, prompts).to(self.device)
        states: Tensor = self.networks.text_encoder(ids).last_hidden_state
        return states

    def latents(self, pictures: Tensor) -> Tensor:
        """Return the pictures (B x 3 x S x S in [-1, 1]): this teacher works on pixels."""
        return pictures

    @torch.no_grad()
    def noise(self, noisy: Tensor, step: Tensor, text: Tensor, cameras: Cameras) -> Tensor:
        """Return the noise seen in `noisy` at `step` (B, int64) from `cameras`."""
        share = self.alphas[step][:, None, None, None]
        clean = self.networks.clean(noisy, step, text, cameras)
        return (noisy - share.sqrt() * clean) / (1 - share).sqrt()


def load_views(folder: Path, device: torch.device | str = "cpu") -> ViewsGuide:
    """Return the guide of a folder that `edgekit teacher train --kind views` wrote.

    Raises BadInput if the folder is missing, unfinished or damaged.
    """
    networks = read_networks(folder, torch.device(device))
    digest = value_sha256([file_sha256(folder / part) for part in ("unet", "text_encoder")])
    return ViewsGuide(networks, identity=f"{folder.resolve().name}@{digest[:12]}")


def load_guide(where: str, device: torch.device | str = "cpu") -> ViewsGuide | PipelineGuide:
    """Return the guide of a views teacher, a folder of a text-to-image pipeline, or its hub id.

    Raises as `load_views` and `load_pipeline` do.
    """
    folder = Path(where)
    if (folder / MANIFEST).is_file():
        return load_views(folder, device)
    return load_pipeline(where, device)
