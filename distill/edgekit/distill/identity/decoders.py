"""What rebuilds photos from a code in training, and is dropped afterwards.

Two decoders after Omni-ID (arXiv:2412.09694): one sees a twentieth of the target's patches and
paints the rest (after MAE, arXiv:2111.06377), one turns noise into the target by flow matching
(arXiv:2210.02747). The latter, trained anew on frozen codes, is also the generator by which codes
are compared.

Shape key, used as name suffixes in this file:
    P pictures   T patches   W width   D numbers of a patch   Q queries   C channels of a code
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.identity.layers import Attention, Block

HIDDEN = 0.95
"""Share of a target's patches that the masked decoder does not see."""
SPREAD = 0.03
"""Radius of the spot that marks a point of the face, as a share of the side."""


class MaskedDecoder(nn.Module):
    """Paints a face from its code and a few of its patches."""

    def __init__(
        self,
        code_channels: int,
        *,
        size_px: int = 64,
        patch_px: int = 8,
        width: int = 256,
        heads: int = 8,
        layers: int = 4,
    ) -> None:
        """Make the layers for pictures of `size_px`."""
        super().__init__()
        self.size_px, self.patch_px = size_px, patch_px
        self.num_patches = (size_px // patch_px) ** 2
        self.num_seen = max(1, round((1 - HIDDEN) * self.num_patches))
        numbers = 3 * patch_px**2
        self.embed = nn.Linear(numbers, width)
        self.unseen = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, self.num_patches, width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(width, heads, 2, source=code_channels) for _ in range(layers)
        )
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, numbers)

    def forward(self, code_PQC: Tensor, pictures: Tensor, lots_PT: Tensor) -> Tensor:
        """Return the mean absolute difference over the patches that were hidden.

        The patches with the smallest of the random numbers `lots_PT` are seen.
        """
        patches_PTD = F.pixel_unshuffle(pictures, self.patch_px).flatten(2).transpose(1, 2)
        bar_P1 = lots_PT.topk(self.num_seen, dim=1, largest=False).values[:, -1:]
        seen_PT1 = (lots_PT <= bar_P1)[..., None]
        x_PTW = torch.where(seen_PT1, self.embed(patches_PTD), self.unseen) + self.places
        for block in self.blocks:
            x_PTW = block(x_PTW, code_PQC)
        off_PTD = (self.out(self.norm(x_PTW)).float() - patches_PTD).abs()
        hidden_PT1 = (~seen_PT1).float()
        loss: Tensor = (off_PTD * hidden_PT1).sum() / (hidden_PT1.sum() * off_PTD.shape[-1])
        return loss


class FlowDecoder(nn.Module):
    """A small U-Net that predicts the velocity from noise to a face of a code, at given points.

    The five points enter as five spots beside the picture, the pose beside the time: the code need
    not know where the face looks, and every code that is compared is told the same.
    """

    def __init__(
        self,
        code_channels: int,
        *,
        size_px: int = 64,
        channels: tuple[int, ...] = (64, 128, 256, 256),
        attended: int = 2,
        heads: int = 8,
    ) -> None:
        """One level for each of `channels`, each half as large; the last `attended` see codes."""
        super().__init__()
        self.size_px = size_px
        time = 2 * channels[-1]
        self.time_width = channels[0]
        self.time = nn.Sequential(
            nn.Linear(self.time_width + 3, time), nn.SiLU(), nn.Linear(time, time)
        )
        sees = [i >= len(channels) - attended for i in range(len(channels))]
        self.stem = nn.Conv2d(3 + 5, channels[0], 3, 1, 1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        wide = channels[0]
        for i, out in enumerate(channels):
            source = code_channels if sees[i] else None
            self.down.append(Level(wide, out, time, heads, source))
            wide = out
        self.middle = Level(wide, wide, time, heads, code_channels)
        for i, out in reversed(list(enumerate(channels))):
            source = code_channels if sees[i] else None
            self.up.append(Level(wide + out, channels[max(0, i - 1)], time, heads, source))
            wide = channels[max(0, i - 1)]
        self.norm = nn.GroupNorm(min(16, wide), wide)
        self.out = nn.Conv2d(wide, 3, 3, 1, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(cast(Tensor, self.out.bias))

    def forward(
        self, noised: Tensor, times: Tensor, points: Tensor, poses: Tensor, code_PQC: Tensor
    ) -> Tensor:
        """Return the velocity; `times` run from 0 (noise) to 1 (picture)."""
        angles = times[:, None] * 1000 * _frequencies(self.time_width // 2, times.device)
        clock = torch.cat((angles.sin(), angles.cos(), poses), 1)
        told = self.time(clock)
        x = self.stem(torch.cat((noised, spots(points, self.size_px)), 1))
        kept = []
        for i, level in enumerate(self.down):
            x = level(x if i == 0 else F.avg_pool2d(x, 2), told, code_PQC)
            kept.append(x)
        x = self.middle(x, told, code_PQC)
        for i, level in enumerate(self.up):
            x = x if i == 0 else F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = level(torch.cat((x, kept.pop()), 1), told, code_PQC)
        velocity: Tensor = self.out(F.silu(self.norm(x)))
        return velocity

    def loss(
        self,
        code_PQC: Tensor,
        pictures: Tensor,
        points: Tensor,
        poses: Tensor,
        noise: Tensor,
        times: Tensor,
    ) -> Tensor:
        """Return the squared difference of the velocity on the straight way from noise to picture.

        Source: conditional flow matching with optimal-transport paths (Lipman et al. 2022).
        """
        share = times[:, None, None, None]
        noised = (1 - share) * noise + share * pictures
        found = self(noised, times, points, poses, code_PQC)
        return F.mse_loss(found.float(), pictures - noise)

    @torch.no_grad()
    def sampled(
        self, code_PQC: Tensor, points: Tensor, poses: Tensor, noise: Tensor, *, steps: int = 20
    ) -> Tensor:
        """Return pictures in [-1, 1] that follow from `noise`, by `steps` midpoint steps."""
        x = noise
        for i in range(steps):
            start = torch.full((len(x),), i / steps, device=x.device)
            half = x + self(x, start, points, poses, code_PQC).float() / (2 * steps)
            x = x + self(half, start + 0.5 / steps, points, poses, code_PQC).float() / steps
        return x.clamp(-1, 1)


class Level(nn.Module):
    """Two residual convolutions that hear the time, and attention to the code if there is one."""

    def __init__(self, wide: int, out: int, time: int, heads: int, source: int | None) -> None:
        """From `wide` to `out` channels; `source` is the width of the code."""
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(min(16, n), n) for n in (wide, out))
        self.conv1 = nn.Conv2d(wide, out, 3, 1, 1)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1)
        self.told = nn.Linear(time, 2 * out)
        self.skip = nn.Identity() if wide == out else nn.Conv2d(wide, out, 1)
        self.norm3 = nn.GroupNorm(1, out) if source else None
        self.cross = Attention(out, heads, source=source) if source else None

    def forward(self, x: Tensor, told: Tensor, code_PQC: Tensor) -> Tensor:
        """Return the level's features."""
        gain, bias = self.told(F.silu(told))[:, :, None, None].chunk(2, 1)
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y) * (1 + gain) + bias))
        x = self.skip(x) + y
        if self.cross is not None and self.norm3 is not None:
            tokens = self.norm3(x).flatten(2).transpose(1, 2)
            x = x + self.cross(tokens, code_PQC).transpose(1, 2).reshape(x.shape)
        return x


def spots(points: Tensor, size_px: int) -> Tensor:
    """Return P x 5 x size x size: a soft spot for each point, given as shares of the side."""
    line = (torch.arange(size_px, device=points.device) + 0.5) / size_px
    x, y = points[..., 0, None, None], points[..., 1, None, None]
    apart = (line[None, None, None, :] - x) ** 2 + (line[None, None, :, None] - y) ** 2
    return torch.exp(-apart / (2 * SPREAD**2))


def _frequencies(count: int, device: torch.device) -> Tensor:
    return torch.exp(torch.arange(count, device=device) * (-math.log(10_000) / count))
