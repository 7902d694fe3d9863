"""Blocks of restorers: several inputs, cached keys and values, statistics of a reference, masks."""

# ruff: noqa: D107 -- what a module is made of is its class's docstring

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.member import Input, Member, features, image


class SharedAttention(nn.Module):
    """Attends to itself and to the cached keys and values of a reference."""

    def __init__(self, channels: int = 8, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.qkv = nn.Conv2d(channels, 3 * width, 1)
        self.out = nn.Conv2d(width, channels, 1)

    def split(self, x: Tensor) -> Tensor:
        """Give each head its part."""
        return x.reshape(1, -1, self.heads, self.width // self.heads).transpose(1, 2)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend."""
        _, _, height, width = x.shape
        query, key, value = self.qkv(x).flatten(2).transpose(1, 2).chunk(3, -1)
        key, value = torch.cat([key, keys], 1), torch.cat([value, values], 1)
        mixed = F.scaled_dot_product_attention(
            self.split(query), self.split(key), self.split(value)
        )
        mixed = mixed.transpose(1, 2).reshape(1, -1, self.width).transpose(1, 2)
        return x + self.out(mixed.reshape(1, self.width, height, width))


class ReferenceEncoder(nn.Module):
    """What makes the cached keys and values: four pictures in one batch of channels."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()
        )
        self.key, self.value = nn.Conv2d(16, width, 1), nn.Conv2d(16, width, 1)

    def forward(self, references: Tensor) -> tuple[Tensor, Tensor]:
        """Encode references (1, 4, 3, height, width)."""
        y = self.path(references.flatten(0, 1))
        key, value = (
            layer(y).flatten(2).transpose(1, 2).reshape(1, -1, 16)
            for layer in (self.key, self.value)
        )
        return key, value


class Adain(nn.Module):
    """Gives features the mean and deviation of a reference's (Huang and Belongie 2017)."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """Normalize, then take on the reference's statistics."""
        mean = reference.mean((2, 3), keepdim=True)
        deviation = (reference.var((2, 3), keepdim=True) + 1e-5).sqrt()
        return self.conv(F.instance_norm(x) * deviation + mean)


class AdainVector(nn.Module):
    """Instance norm scaled and shifted by a style vector."""

    def __init__(self, channels: int = 8, style: int = 12) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels, affine=True)
        self.style = nn.Linear(style, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Scale and shift."""
        scale, shift = self.style(style).reshape(1, 2, -1, 1, 1).unbind(1)
        return self.norm(x) * (1 + scale) + shift


class Masked(nn.Module):
    """Fills what a mask hides and keeps the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(4, 12, 5, 1, 2), nn.ELU(), nn.Conv2d(12, 3, 3, 1, 1), nn.Tanh()
        )

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Compose."""
        hidden = image * (1 - mask)
        filled = self.path(torch.cat([hidden, mask], 1))
        return hidden + filled * mask


class GatedConv(nn.Module):
    """Convolution gated by itself (Yu et al. 2019)."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 3, 1, 2, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        """Gate."""
        value, gate = self.conv(x).chunk(2, 1)
        return F.elu(value) * torch.sigmoid(gate)


class SimpleGate(nn.Module):
    """NAFNet's block: channel layer norm, depthwise, halves multiplied, simple attention."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.wide = nn.Conv2d(channels, 2 * channels, 1)
        self.depth = nn.Conv2d(2 * channels, 2 * channels, 3, 1, 1, groups=2 * channels)
        self.attend = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Gate by halves."""
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).square().mean(1, keepdim=True)
        y = (x - mean) / (variance + 1e-6).sqrt() * self.scale
        left, right = self.depth(self.wide(y)).chunk(2, 1)
        y = left * right
        return x + self.out(y * self.attend(F.adaptive_avg_pool2d(y, 1)))


CACHED = (Input("ref_k", (1, 32, 16)), Input("ref_v", (1, 32, 16)))
MEMBERS = (
    Member("shared_attention", SharedAttention, (features(8, 8), *CACHED)),
    Member("reference_encoder", ReferenceEncoder, (Input("references", (1, 4, 3, 16, 16)),)),
    Member("adain_reference", Adain, (features(), features(8, 8, "reference"))),
    Member("adain_vector", AdainVector, (features(), Input("style", (1, 12)))),
    Member("masked_fill", Masked, (image(), Input("mask", (1, 1, 16, 16), 0.0, 1.0))),
    Member("gated_convolution", GatedConv),
    Member("nafnet_gate", SimpleGate),
)
