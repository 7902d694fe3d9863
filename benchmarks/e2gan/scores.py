"""What is measured on the test pairs: L1, perceptual distance, Fréchet distance, MS-SSIM."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import torch
from pytorch_msssim import ms_ssim
from torch import Tensor, nn

from edgekit.core.tensors import Photos
from edgekit.distill.frechet import Rows, embedded, frechet_distance
from edgekit.distill.metrics import as_photos, as_tensor, perceptual_distance

SCORES = ("l1", "perceptual", "frechet")
"""The scores that the claim is about; lower is better."""


class Judge:
    """The test pairs of one task on the device, with the answers' features."""

    def __init__(self, pairs: tuple[Photos, Photos], context: Tensor, device: str) -> None:
        """Move everything there once."""
        sources, answers = pairs
        self.device = device
        self.sources, self.answers = (as_tensor(photos).to(device) for photos in pairs)
        self.untouched, self.photos = sources, answers
        self.context = context.to(device)[None]
        self.features = deepcopy(perceptual_distance()).to(device)
        self.rows: Rows = embedded(answers, device=device, batch=100)

    @torch.no_grad()
    def made(self, network: nn.Module) -> Photos:
        """Return the network's pictures of the test sources, rounded to bytes."""
        parts = []
        for part in torch.split(self.sources, 50):
            context = self.context.expand(len(part), -1, -1)
            parts.append(cast(Any, network).painted(part, context))
        return as_photos(torch.cat(parts))

    def scored(self, photos: Photos) -> dict[str, float]:
        """Return the three scores of pictures."""
        images = as_tensor(photos).to(self.device)
        with torch.no_grad():
            parts = zip(torch.split(images, 50), torch.split(self.answers, 50), strict=True)
            distances = [float(self.features(a, b)) * len(a) for a, b in parts]
        rows = embedded(photos, device=self.device, batch=100)
        return {
            "l1": float((images - self.answers).abs().mean()) / 2,
            "perceptual": sum(distances) / len(images),
            "frechet": frechet_distance(rows, self.rows),
        }

    def more(self, photos: Photos) -> dict[str, float]:
        """Return MS-SSIM and PSNR, which no training term sees."""
        images = as_tensor(photos).to(self.device)
        error = ((images - self.answers) ** 2).mean((1, 2, 3)) / 4
        similar = ms_ssim((images + 1) / 2, (self.answers + 1) / 2, data_range=1.0, win_size=7)
        return {"ms_ssim": float(similar), "psnr_db": float((-10 * torch.log10(error)).mean())}
