"""A views teacher as the guide of a mesh generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from edgekit.distill.render.views import Cameras
from edgekit.distill.teachers.networks import token_ids
from edgekit.distill.teachers.views.networks import Networks, new_scheduler, read_networks


class ViewsGuide:
    """The guide that `edgekit teacher train --kind views` makes; see `mesh.guide.Guide`."""

    def __init__(self, networks: Networks) -> None:
        """Take trained networks; they stay on their device."""
        self.networks = networks
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
        velocity = self.networks.velocity(noisy, step, text, cameras)
        return share.sqrt() * velocity + (1 - share).sqrt() * noisy


def load_views(folder: Path, device: torch.device | str = "cpu") -> ViewsGuide:
    """Return the guide of a folder that `edgekit teacher train --kind views` wrote.

    Raises BadInput if the folder is missing, unfinished or damaged.
    """
    return ViewsGuide(read_networks(folder, torch.device(device)))
