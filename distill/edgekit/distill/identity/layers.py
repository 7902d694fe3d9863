"""Transformer blocks that every target can run, shared by the encoder and its decoders.

Shape key, used as name suffixes in this file:
    B batch   T tokens   K tokens attended to   W width   H heads   E channels of a head
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention of tokens to themselves, or to other tokens of width `source`."""

    def __init__(self, width: int, heads: int, *, source: int | None = None) -> None:
        """Project `source` channels (default: `width`) to keys and values."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(source or width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BTW: Tensor, others_BKW: Tensor | None = None) -> Tensor:
        """Return what each token takes from the tokens that it attends to."""
        key_BKW, value_BKW = self.key_value(x_BTW if others_BKW is None else others_BKW).chunk(
            2, -1
        )
        query, key, value = (
            split_heads(part, self.heads) for part in (self.query(x_BTW), key_BKW, value_BKW)
        )
        mixed_BHTE = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(joined_heads(mixed_BHTE))
        return out


class FeedForward(nn.Sequential):
    """Two layers applied to each token."""

    def __init__(self, width: int, expand: int) -> None:
        """Widen by `expand` in between."""
        super().__init__(
            nn.Linear(width, expand * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(expand * width, width),
        )


class Block(nn.Module):
    """Self-attention, cross-attention if `source` is given, feed-forward; each normed and added."""

    def __init__(self, width: int, heads: int, expand: int, *, source: int | None = None) -> None:
        """`source` is the width of the tokens of the cross-attention."""
        super().__init__()
        self.norm1, self.attend = nn.LayerNorm(width), Attention(width, heads)
        self.cross = None
        if source is not None:
            self.norm2, self.cross = nn.LayerNorm(width), Attention(width, heads, source=source)
        self.norm3, self.feed = nn.LayerNorm(width), FeedForward(width, expand)

    def forward(self, x_BTW: Tensor, others_BKW: Tensor | None = None) -> Tensor:
        """Return the tokens after the block."""
        x_BTW = x_BTW + self.attend(self.norm1(x_BTW))
        if self.cross is not None:
            x_BTW = x_BTW + self.cross(self.norm2(x_BTW), others_BKW)
        out: Tensor = x_BTW + self.feed(self.norm3(x_BTW))
        return out


def split_heads(x_BTW: Tensor, heads: int) -> Tensor:
    """Return B x H x T x E."""
    count, tokens, width = x_BTW.shape
    return x_BTW.reshape(count, tokens, heads, width // heads).transpose(1, 2)


def joined_heads(x_BHTE: Tensor) -> Tensor:
    """Return B x T x W, the inverse of `split_heads`."""
    count, heads, tokens, channels = x_BHTE.shape
    return x_BHTE.transpose(1, 2).reshape(count, tokens, heads * channels)


class Pointwise(nn.Module):
    """A linear layer of tokens, computed as the 1x1 convolution that it is.

    Phones have convolutions for which weights stay put and sums are kept in float32; of a product
    of matrices some runtimes add up 256 terms in float16 (docs/identity.md has the difference).
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Take the weights of `linear`."""
        super().__init__()
        self.conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
        with torch.no_grad():
            self.conv.weight.copy_(linear.weight[:, :, None, None])
            assert self.conv.bias is not None
            self.conv.bias.copy_(linear.bias)

    def forward(self, x_BTW: Tensor) -> Tensor:
        """Return the layer's tokens."""
        made: Tensor = self.conv(x_BTW.transpose(1, 2).unsqueeze(-1))
        return made.squeeze(-1).transpose(1, 2)


def with_convolutions(module: nn.Module) -> nn.Module:
    """Return a copy of `module` that computes the same without any linear layer."""
    copied = deepcopy(module)
    for name, layer in list(copied.named_modules()):
        if isinstance(layer, nn.Linear):
            parent, _, own = name.rpartition(".")
            setattr(copied.get_submodule(parent), own, Pointwise(layer))
    return copied
