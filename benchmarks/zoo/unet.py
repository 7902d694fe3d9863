"""Blocks of diffusion U-Nets, with the time step as an input."""

# ruff: noqa: D107 -- what a module is made of is its class's docstring

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.member import Input, Member, features, image, vector


class TimeEmbedding(nn.Module):
    """Sines and cosines of the time step, then two layers (Ho et al. 2020)."""

    rates: Tensor

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        half = width // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half) / half)
        self.register_buffer("rates", rates[None])
        self.path = nn.Sequential(nn.Linear(width, 32), nn.SiLU(), nn.Linear(32, 16))

    def forward(self, step: Tensor) -> Tensor:
        """Embed a step of 0 to 50."""
        angles = step * self.rates
        return self.path(torch.cat([torch.cos(angles), torch.sin(angles)], -1))


class TimeBlock(nn.Module):
    """Group norm, SiLU, convolution, time added between, residual."""

    def __init__(self, inputs: int = 8, outputs: int = 16, time: int = 16) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(4, inputs), nn.GroupNorm(4, outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.time = nn.Linear(time, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Add the time between two convolutions."""
        y = self.conv1(F.silu(self.norm1(x))) + self.time(F.silu(time))[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(y)))


class ScaleShiftBlock(nn.Module):
    """Group norm whose scale and shift the time decides (ADM's adaptive group norm)."""

    def __init__(self, channels: int = 8, time: int = 16) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, channels, affine=False)
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)
        self.time = nn.Linear(time, 2 * channels)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Scale and shift by the time."""
        scale, shift = self.time(time)[:, :, None, None].chunk(2, 1)
        return x + self.conv(F.silu(self.norm(x) * (1 + scale) + shift))


class AttentionBlock(nn.Module):
    """Group norm and attention of all positions in four heads."""

    def __init__(self, channels: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(4, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        batch, channels, height, width = x.shape
        split = self.qkv(self.norm(x)).reshape(batch, 3, self.heads, channels // self.heads, -1)
        query, key, value = split.transpose(3, 4).unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(2, 3)
        return x + self.out(mixed.reshape(batch, channels, height, width))


class TransformerBlock(nn.Module):
    """Self attention, attention to a text, gated feed forward (Rombach et al. 2022)."""

    def __init__(self, channels: int = 16, context: int = 12, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.own = nn.Linear(channels, 3 * channels, bias=False)
        self.query = nn.Linear(channels, channels, bias=False)
        self.text = nn.Linear(context, 2 * channels, bias=False)
        self.out1, self.out2 = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.gate, self.down = nn.Linear(channels, 8 * channels), nn.Linear(4 * channels, channels)

    def split(self, x: Tensor) -> Tensor:
        """Give each head its part."""
        batch, tokens, width = x.shape
        return x.reshape(batch, tokens, self.heads, width // self.heads).transpose(1, 2)

    def mixed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend in heads."""
        parts = (self.split(query), self.split(key), self.split(value))
        return F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """Map 8 x 8 positions, seen as tokens."""
        y = x.flatten(2).transpose(1, 2)
        y = y + self.out1(self.mixed(*self.own(self.norm1(y)).chunk(3, -1)))
        y = y + self.out2(self.mixed(self.query(self.norm2(y)), *self.text(text).chunk(2, -1)))
        inner, gate = self.gate(self.norm3(y)).chunk(2, -1)
        y = y + self.down(inner * F.gelu(gate))
        return y.transpose(1, 2).reshape(x.shape)


class Unet(nn.Module):
    """Two sizes, a middle with attention, skips, time: a whole small denoiser."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = TimeEmbedding()
        self.stem, self.head = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 3, 3, 1, 1)
        self.enter, self.leave = TimeBlock(8, 8), TimeBlock(24, 8)
        self.down = nn.Conv2d(8, 16, 3, 2, 1)
        self.middle, self.attention = TimeBlock(16, 16), AttentionBlock(16)
        self.norm = nn.GroupNorm(4, 8)

    def forward(self, image: Tensor, step: Tensor) -> Tensor:
        """Denoise."""
        time = self.embed(step)
        first = self.enter(self.stem(image), time)
        y = self.attention(self.middle(self.down(first), time))
        y = torch.cat([F.interpolate(y, scale_factor=2.0, mode="nearest"), first], 1)
        return torch.tanh(self.head(F.silu(self.norm(self.leave(y, time)))))


STEP = Input("step", (1, 1), 0.0, 50.0)
MEMBERS = (
    Member("time_embedding", TimeEmbedding, (STEP,)),
    Member("time_block", TimeBlock, (features(), vector(16, "time"))),
    Member("scale_shift_block", ScaleShiftBlock, (features(), vector(16, "time"))),
    Member("unet_attention", AttentionBlock, (features(16, 8),)),
    Member("transformer_block", TransformerBlock, (features(16, 8), Input("text", (1, 6, 12)))),
    Member("unet", Unet, (image(), STEP)),
)
