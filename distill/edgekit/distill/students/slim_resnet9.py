"""The baseline of the field, compressed: pix2pix' ResNet-9 with separable residual blocks.

GAN Compression searched the widths in a once-for-all network; its authors publish them with the
networks that they trained again ("full pipeline, retrained"), and two of these are kept here. CAT
comes to the same size by pruning, with other blocks.

Source: Li et al. 2020, "GAN Compression: Efficient Architectures for Interactive Conditional GANs"
(arXiv:2003.08936), and ``--config_str`` and table of released networks in mit-han-lab's repository;
Jin et al. 2021, "Teachers Do More Than Teach" (CAT, arXiv:2103.03467). Batch norms take the place
of their instance norms, as in `resnet9`: same weights, one folds away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgekit.distill.students.spread import Doubling


@dataclass(frozen=True, slots=True)
class SlimWidths:
    """Widths as the authors write them: multiples of 1, 2 and 4 at the three resolutions."""

    full: int
    half: int
    quarter: int
    inner: tuple[int, int, int]
    """Inside the residual blocks, three blocks each."""
    up_half: int
    up_full: int


EDGES2SHOES = SlimWidths(32, 32, 48, (32, 48, 48), 16, 16)
"""4.99 GMAC at 256 px and 0.822 M weights, as published; transposed ones by output positions."""
HORSE2ZEBRA = SlimWidths(16, 16, 32, (16, 32, 32), 16, 16)
"""2.55 GMAC at 256 px and 0.357 M weights, as published."""


class _Separable(nn.Module):
    """A convolution a channel, then one a pixel."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(into, into, 3, groups=into, bias=False),
            nn.BatchNorm2d(into),
            nn.Conv2d(into, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.body(x)
        return made


class _Block(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _Separable(channels, inner), nn.ReLU(), _Separable(inner, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.body(x)
        return x + added


class SlimResNet9(nn.Module):
    """An image to its edit, both (n, 3, h, w) in [-1, 1]; sides must be multiples of 4."""

    def __init__(self, widths: SlimWidths) -> None:
        """Build it with random weights from torch's global generator; see `fresh_slim_resnet9`."""
        super().__init__()
        w = widths
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, w.full, 7, bias=False),
            *_normed(w.full),
            nn.Conv2d(w.full, 2 * w.half, 3, 2, padding=1, bias=False),
            *_normed(2 * w.half),
            nn.Conv2d(2 * w.half, 4 * w.quarter, 3, 2, padding=1, bias=False),
            *_normed(4 * w.quarter),
        ]
        layers += [_Block(4 * w.quarter, 4 * inner) for inner in w.inner for _ in range(3)]
        for into, out in ((4 * w.quarter, 2 * w.up_half), (2 * w.up_half, w.up_full)):
            layers += [Doubling(into, out), *_normed(out)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(w.up_full, 3, 7), nn.Tanh()]
        self.body = nn.Sequential(*layers)

    def forward(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the edit of `image`; the text is ignored, one network knows one concept."""
        edit: Tensor = self.body(image)
        return edit

    painted = forward


def _normed(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU()


def fresh_slim_resnet9(widths: SlimWidths = EDGES2SHOES, *, seed: int) -> SlimResNet9:
    """Return a compressed baseline with random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SlimResNet9(widths)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.groups == 1:
                nn.init.normal_(layer.weight, 0.0, 0.02)
    return network
