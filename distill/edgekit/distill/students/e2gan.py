"""The paper's own generator at the paper's size: what our cheaper one is held against.

The paper shows its parts in a figure and gives two numbers of it: 0.092 M weights of an adapter,
15.5 ms on a phone. Widths, heads and the feed-forward part are a reconstruction: with those below
rank 4 on the layers that the paper adapts is 91,736 weights, and the network has 7.06 M weights
and 23.58 GMAC at 256 px, where transposed convolutions are counted by input positions.

Upsampling repeats pixels and then convolves: adapters cannot be attached to a transposed
convolution, and there is no checkerboard. This has as many weights and more multiply-adds, 32.64 G;
`E2GANShape.transposed` gives the other form.

Source: Gong et al. 2024, "E2GAN: Efficient Training of Efficient GANs for Image-to-Image
Translation" (arXiv:2401.06127), section 3.1 and the authors' figure of the architecture.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.students.gan import Student
from edgekit.distill.students.spread import Doubling

PUBLISHED_GMAC = 23.58
"""At 256 px with 77 tokens of 768 numbers and transposed convolutions, as reconstructed."""
PUBLISHED_MILLIONS = 7.055
PUBLISHED_ADAPTER = 91_736
"""Weights of rank 4 on the adapted layers; the paper says 0.092 M."""
PAPER_CONTEXT_DIM = 768
"""Width of a token of the paper's text encoder, CLIP ViT-L/14."""
PAPER_TOKENS = 77
GROUP_OF: Mapping[str, str] = MappingProxyType(
    {
        "stem": "down",
        "down1": "down",
        "down2": "down",
        "ds": "ds",
        "transformer": "transformer",
        "us": "us",
        "up1": "up",
        "up2": "up",
        "head": "up",
    }
)
"""The parts that an adapter changes and the group of each; the residual blocks are in none."""


@dataclass(frozen=True, slots=True)
class E2GANShape:
    """What decides the size; the defaults are the paper's, but for the text encoder's width."""

    width: int = 64
    """Channels at full resolution."""
    context_dim: int = 128
    """Width of a text token: 128 of the bundled encoder, 768 in the paper."""
    heads: int = 8
    transposed: bool = False
    """Upsample by transposed convolutions."""

    def __post_init__(self) -> None:
        """Refuse widths that the heads do not divide."""
        if self.width < 1 or (4 * self.width) % self.heads:
            raise ValueError(f"4 x width must be a multiple of {self.heads}, got {self.width}")


class _Layer(nn.Module):
    """Convolution and batch norm; `kernel` 7 reflects the border, as pix2pix does."""

    def __init__(self, into: int, out: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.border = kernel // 2 if kernel == 7 else 0
        padding = 0 if self.border else kernel // 2
        self.conv = nn.Conv2d(into, out, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        if self.border:
            x = F.pad(x, (self.border,) * 4, mode="reflect")
        normed: Tensor = self.norm(self.conv(x))
        return normed


class _Up(nn.Module):
    """Twice the resolution."""

    def __init__(self, into: int, out: int, *, transposed: bool) -> None:
        super().__init__()
        self.conv: nn.Module = (
            Doubling(into, out) if transposed else nn.Conv2d(into, out, 3, padding=1, bias=False)
        )
        self.repeats = not transposed
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        if self.repeats:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        grown: Tensor = F.relu(self.norm(self.conv(x)))
        return grown


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _Layer(channels, channels)
        self.second = _Layer(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.second(F.relu(self.first(x)))
        return x + added


class _Attention(nn.Module):
    """Multi-head attention of tokens to themselves or to text, whose keys can be made constant."""

    def __init__(self, channels: int, context_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.key: nn.Module | None = nn.Linear(context_dim, channels, bias=False)
        self.value: nn.Module | None = nn.Linear(context_dim, channels, bias=False)
        self.out = nn.Linear(channels, channels)
        self.fixed_keys: Tensor | None
        self.fixed_values: Tensor | None
        self.register_buffer("fixed_keys", None)
        self.register_buffer("fixed_values", None)

    def forward(self, x_NQC: Tensor, context_NKD: Tensor | None) -> Tensor:
        if self.fixed_keys is not None and self.fixed_values is not None:
            k_NAKE, v_NAKE = self.fixed_keys, self.fixed_values
        else:
            assert context_NKD is not None
            k_NAKE, v_NAKE = self._keys_values(context_NKD)
        q_NAQE = self._split(self.query(x_NQC))
        scores = q_NAQE @ k_NAKE.transpose(2, 3) * q_NAQE.shape[-1] ** -0.5
        mixed_NAQE = torch.softmax(scores, dim=-1) @ v_NAKE
        mixed: Tensor = self.out(mixed_NAQE.transpose(1, 2).flatten(2))
        return mixed

    def _keys_values(self, context_NKD: Tensor) -> tuple[Tensor, Tensor]:
        assert self.key is not None
        assert self.value is not None
        return self._split(self.key(context_NKD)), self._split(self.value(context_NKD))

    def _split(self, x_NKC: Tensor) -> Tensor:
        num, places, channels = x_NKC.shape
        return x_NKC.reshape(num, places, self.heads, channels // self.heads).transpose(1, 2)

    def fold(self, context_1KD: Tensor) -> None:
        """Turn the keys and values of one text into constants."""
        keys, values = self._keys_values(context_1KD)
        self.fixed_keys, self.fixed_values = keys.contiguous(), values.contiguous()
        self.key = self.value = None


class _Transformer(nn.Module):
    """Self-attention, cross-attention to text, gated feed-forward, each normed first and added."""

    def __init__(self, channels: int, context_dim: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.own = _Attention(channels, channels, heads)
        self.text = _Attention(channels, context_dim, heads)
        self.widen = nn.Linear(channels, 8 * channels)
        self.narrow = nn.Linear(4 * channels, channels)

    def forward(self, x_NCHW: Tensor, context_NKD: Tensor | None) -> Tensor:
        height, width = x_NCHW.shape[-2:]
        x_NQC = x_NCHW.flatten(2).transpose(1, 2)
        calm = self.norms[0](x_NQC)
        x_NQC = x_NQC + self.own(calm, calm)
        x_NQC = x_NQC + self.text(self.norms[1](x_NQC), context_NKD)
        value, gate = self.widen(self.norms[2](x_NQC)).chunk(2, dim=-1)
        x_NQC = x_NQC + self.narrow(value * F.gelu(gate))
        mapped: Tensor = x_NQC.transpose(1, 2).reshape(x_NCHW.shape[0], -1, height, width)
        return mapped


class E2GAN(nn.Module):
    """An image and a text context to the edit, both images (n, 3, h, w) in [-1, 1]."""

    adapter_groups: ClassVar[Mapping[str, str]] = GROUP_OF
    """Which part belongs to which group of an adapter's ranks."""

    def __init__(self, shape: E2GANShape) -> None:
        """Build it with random weights from torch's global generator; see `fresh_e2gan`."""
        super().__init__()
        self.shape = shape
        full, half, quarter = shape.width, 2 * shape.width, 4 * shape.width
        self.stem = _Layer(3, full, kernel=7)
        self.down1 = _Layer(full, half, stride=2)
        self.down2 = _Layer(half, quarter, stride=2)
        self.residual1 = _Residual(quarter)
        self.residual2 = _Residual(quarter)
        self.ds = _Layer(quarter, quarter, stride=2)
        self.transformer = _Transformer(quarter, shape.context_dim, shape.heads)
        self.us = _Up(quarter, quarter, transposed=shape.transposed)
        self.residual3 = _Residual(quarter)
        self.up1 = _Up(quarter, half, transposed=shape.transposed)
        self.up2 = _Up(half, full, transposed=shape.transposed)
        self.head = nn.Conv2d(full, 3, 7)

    def forward(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the edit of `image`; sides must be multiples of 8."""
        x = F.relu(self.stem(image))
        x = F.relu(self.down1(x))
        x = F.relu(self.down2(x))
        x = self.residual2(self.residual1(x))
        x = self.transformer(F.relu(self.ds(x)), context)
        x = self.residual3(self.us(x))
        x = F.pad(self.up2(self.up1(x)), (3, 3, 3, 3), mode="reflect")
        edit: Tensor = torch.tanh(self.head(x))
        return edit

    painted = forward


def fresh_e2gan(
    shape: E2GANShape | None = None, *, seed: int, context_dim: int | None = None
) -> E2GAN:
    """Return the paper's generator with random weights that depend on `seed` alone.

    `context_dim` replaces the width of a text token in `shape`.
    """
    shape = shape or E2GANShape()
    if context_dim is not None:
        shape = E2GANShape(shape.width, context_dim, shape.heads, shape.transposed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = E2GAN(shape)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
    return network


def specialized_e2gan(generator: E2GAN, context: Tensor) -> Student:
    """Fold `context` (tokens, dim) into a copy of `generator`: an image in, its edit out.

    It computes what ``generator(image, context[None])`` computes in eval mode. Adapters must be
    merged before.
    """
    network = copy.deepcopy(generator).float().cpu().eval().requires_grad_(False)
    with torch.no_grad():
        network.transformer.text.fold(context.detach().float().cpu()[None])
    return Student(network)
