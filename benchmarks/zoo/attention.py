"""Forms of attention."""

# ruff: noqa: D107 -- what a module is made of is its class's docstring

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.member import Input, Member, features


def heads_of(x: Tensor, heads: int) -> Tensor:
    """Return tokens (batch, n, width) as (batch, heads, n, part)."""
    batch, tokens, width = x.shape
    return x.reshape(batch, tokens, heads, width // heads).transpose(1, 2)


def tokens_of(x: Tensor) -> Tensor:
    """Return a map as tokens."""
    return x.flatten(2).transpose(1, 2)


class Manual(nn.Module):
    """Softmax attention written out."""

    def __init__(self, channels: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        parts = self.qkv(tokens_of(x)).chunk(3, -1)
        query, key, value = (heads_of(part, self.heads) for part in parts)
        weights = torch.softmax(query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5, -1)
        mixed = (weights @ value).transpose(1, 2).flatten(2)
        return x + self.out(mixed).transpose(1, 2).reshape(x.shape)


class MaskedSdpa(nn.Module):
    """scaled_dot_product_attention with an added bias."""

    def __init__(self, channels: int = 16, heads: int = 2, tokens: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros(1, heads, tokens, tokens))

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        parts = self.qkv(tokens_of(x)).chunk(3, -1)
        query, key, value = (heads_of(part, self.heads) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self.bias)
        return x + self.out(mixed.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(x.shape)


class Linear(nn.Module):
    """Attention without the softmax of all pairs (Katharopoulos et al. 2020)."""

    def __init__(self, channels: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        parts = tokens_of(self.qkv(x)).chunk(3, -1)
        query, key, value = (heads_of(part, self.heads) for part in parts)
        query, key = F.elu(query) + 1, F.elu(key) + 1
        state = key.transpose(-2, -1) @ value
        weight = query @ key.sum(-2, keepdim=True).transpose(-2, -1)
        mixed = (query @ state / weight).transpose(1, 2).flatten(2)
        return x + self.out(mixed.transpose(1, 2).reshape(x.shape))


class Pooled(nn.Module):
    """Keys and values of a smaller map."""

    def __init__(self, channels: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.kv = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        query = heads_of(tokens_of(self.query(x)), self.heads)
        parts = tokens_of(self.kv(F.avg_pool2d(x, 4))).chunk(2, -1)
        key, value = (heads_of(part, self.heads) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(mixed.transpose(1, 2).flatten(2).transpose(1, 2).reshape(x.shape))


class Window(nn.Module):
    """Attention inside windows of 4 x 4 that are moved by 2, with a bias (Liu et al. 2021)."""

    index: Tensor

    def __init__(self, channels: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.table = nn.Parameter(torch.zeros(49, heads))
        place = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij"))
        apart = place.flatten(1)[:, :, None] - place.flatten(1)[:, None] + 3
        self.register_buffer("index", apart[0] * 7 + apart[1])

    def forward(self, x: Tensor) -> Tensor:
        """Attend in moved windows."""
        batch, channels, height, width = x.shape
        y = torch.roll(x, (-2, -2), (2, 3)).permute(0, 2, 3, 1)
        y = y.reshape(batch, height // 4, 4, width // 4, 4, channels).transpose(2, 3)
        parts = self.qkv(y.reshape(-1, 16, channels)).chunk(3, -1)
        query, key, value = (heads_of(part, self.heads) for part in parts)
        bias = self.table[self.index.flatten()].reshape(16, 16, self.heads).permute(2, 0, 1)
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5 + bias[None]
        mixed = self.out((torch.softmax(scores, -1) @ value).transpose(1, 2).flatten(2))
        y = mixed.reshape(batch, height // 4, width // 4, 4, 4, channels).transpose(2, 3)
        y = y.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        return x + torch.roll(y, (2, 2), (2, 3))


class Channels(nn.Module):
    """Attention between channels, of normalized queries and keys (Zamir et al. 2022)."""

    def __init__(self, channels: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.depth = nn.Conv2d(3 * channels, 3 * channels, 3, 1, 1, groups=3 * channels)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        batch, channels, height, width = x.shape
        parts = self.depth(self.qkv(x)).chunk(3, 1)
        query, key, value = (
            part.reshape(batch, self.heads, channels // self.heads, -1) for part in parts
        )
        scores = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        mixed = torch.softmax(scores * self.temperature, -1) @ value
        return x + self.out(mixed.reshape(batch, channels, height, width))


class SqueezeExcite(nn.Module):
    """Channels scaled by what all pixels say (Hu et al. 2018), then a map of pixels (CBAM)."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Linear(channels, 4), nn.ReLU(), nn.Linear(4, channels), nn.Hardsigmoid()
        )
        self.pixels = nn.Conv2d(2, 1, 7, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Scale channels, then pixels."""
        y = x * self.path(x.mean((2, 3)))[:, :, None, None]
        said = torch.cat([y.mean(1, keepdim=True), y.amax(1, keepdim=True)], 1)
        return y * torch.sigmoid(self.pixels(said))


class Cross(nn.Module):
    """Attention to the tokens of a text."""

    def __init__(self, channels: int = 16, context: int = 12, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.kv = nn.Conv2d(channels, channels, 1), nn.Linear(context, 2 * channels)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """Attend."""
        query = heads_of(tokens_of(self.query(x)), self.heads)
        key, value = (heads_of(part, self.heads) for part in self.kv(text).chunk(2, -1))
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(mixed.transpose(1, 2).flatten(2).transpose(1, 2).reshape(x.shape))


class Multihead(nn.Module):
    """PyTorch's own module."""

    def __init__(self, channels: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        y = tokens_of(x)
        mixed, _ = self.attention(y, y, y, need_weights=False)
        return x + mixed.transpose(1, 2).reshape(x.shape)


MAP = (features(16, 8),)
MEMBERS = (
    Member("attention_written_out", Manual, MAP),
    Member("attention_sdpa_bias", MaskedSdpa, MAP),
    Member("attention_linear", Linear, MAP),
    Member("attention_pooled", Pooled, MAP),
    Member("attention_windows", Window, (features(8, 8),)),
    Member("attention_channels", Channels, (features(8, 8),)),
    Member("attention_squeeze_excite", SqueezeExcite),
    Member("attention_cross", Cross, (features(16, 8), Input("text", (1, 6, 12)))),
    Member("attention_multihead", Multihead, MAP),
)
