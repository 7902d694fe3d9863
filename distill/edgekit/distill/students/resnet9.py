"""The baseline of the field: the 9-block ResNet generator of pix2pix and CycleGAN.

Source: Johnson et al. 2016 (arXiv:1603.08155) as used by Zhu et al. 2017 (arXiv:1703.10593),
section 7.2, with the batch norm that is pix2pix's default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgekit.distill.students.spread import Doubling


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.body(x)
        return x + added


class ResNet9(nn.Module):
    """An image to its edit, both (n, 3, h, w) in [-1, 1]; 11.4 M parameters at width 64."""

    def __init__(self, width: int = 64) -> None:
        """`width` is the number of channels at full resolution."""
        super().__init__()
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, width, 7, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        for factor in (1, 2):
            layers += [
                nn.Conv2d(factor * width, 2 * factor * width, 3, 2, padding=1, bias=False),
                nn.BatchNorm2d(2 * factor * width),
                nn.ReLU(),
            ]
        layers += [_Block(4 * width) for _ in range(9)]
        for factor in (4, 2):
            layers += [
                Doubling(factor * width, factor * width // 2),
                nn.BatchNorm2d(factor * width // 2),
                nn.ReLU(),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.body = nn.Sequential(*layers)

    def forward(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the edit of `image`; the text is ignored, one network knows one concept."""
        edit: Tensor = self.body(image)
        return edit

    painted = forward


def fresh_resnet9(width: int = 64, *, seed: int) -> ResNet9:
    """Return a baseline with random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ResNet9(width)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
    return network
