"""The concept GAN's generator: a U-shaped network of 3x3 convolutions with one transformer block.

Two stages of one network live here. A `Generator` takes a text context and can hold many concepts;
`specialized` folds one context into it and returns a `Student`, which takes an image and nothing
else: text keys and values become constants, the modulation by text becomes part of the batch norms.

Shape key, used as name suffixes in this file:
    N images   C channels   H, W height and width   T text tokens   D width of a token
    A attention heads   E channels of one head   Q queries   K keys

What differs from the paper is the price on a phone: everything is a regular convolution, a batch
norm that folds into it, a ReLU, or a matrix product; upsampling convolves first and repeats pixels
after; keys and values of the self-attention are pooled 4x4; encoder features and the image itself
are added back, so that no detail has to pass the bottleneck.

Source: Gong et al. 2024, "E2GAN: Efficient Training of Efficient GANs for Image-to-Image
Translation", section 3.1 (arXiv:2401.06127).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.students.shape import Shape as Shape  # the shape of a generator belongs here
from edgekit.distill.students.shape import shape_facts as shape_facts

STRIDE = 32
"""Sides of an image must be multiples of this: three halvings, then a 4x4 pooling."""
POOL = 4
GROUP_OF: Mapping[str, str] = MappingProxyType(
    {
        "stem": "down",
        "down1": "down",
        "down2": "down",
        "down3": "ds",
        "transformer": "transformer",
        "up1": "us",
        "up2": "up",
        "detail2": "up",
        "up3": "up",
        "detail3": "up",
        "head": "up",
        "tone": "up",
    }
)
"""The parts that an adapter changes and the group of each, see `edgekit.distill.ranks`.
Source: E2GAN, section 3.2."""


class ConvNorm(nn.Module):
    """Convolution, batch norm and, with a context, a gain and bias a channel that text sets."""

    def __init__(
        self, into: int, out: int, *, kernel: int = 3, stride: int = 1, context_dim: int = 0
    ) -> None:
        """`context_dim` 0 means that text has no say here."""
        super().__init__()
        self.conv = nn.Conv2d(into, out, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.modulation = nn.Linear(context_dim, 2 * out) if context_dim else None
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x_NCHW: Tensor, text_ND: Tensor | None = None) -> Tensor:
        """Return the normalized, modulated response."""
        y_NCHW: Tensor = self.norm(self.conv(x_NCHW))
        if self.modulation is None:
            return y_NCHW
        gain_NC11, bias_NC11 = self.modulation(text_ND)[..., None, None].chunk(2, dim=1)
        modulated_NCHW: Tensor = y_NCHW * (1 + gain_NC11) + bias_NC11
        return modulated_NCHW

    def fold_text(self, text_1D: Tensor) -> None:
        """Make one text's gain and bias part of the norm, which folds into the convolution."""
        if self.modulation is None:
            return
        gain_C, bias_C = self.modulation(text_1D)[0].chunk(2)
        self.norm.bias.data = self.norm.bias.data * (1 + gain_C) + bias_C
        self.norm.weight.data = self.norm.weight.data * (1 + gain_C)
        self.modulation = None


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut; adapters leave it alone."""

    def __init__(self, channels: int) -> None:
        """Keep the number of channels."""
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the input plus what the block adds."""
        added: Tensor = self.second(F.relu(self.first(x_NCHW)))
        return x_NCHW + added


class Attention(nn.Module):
    """Attention of pixels to pooled pixels, or to text, with norms that fold into convolutions.

    Queries and keys are batch-normalized, which bounds the scores and, unlike a layer norm, costs
    nothing on the phone.
    """

    def __init__(self, channels: int, heads: int, *, context_dim: int = 0) -> None:
        """With a `context_dim` keys and values come from text, else from 4x4 pooled pixels."""
        super().__init__()
        self.heads = heads
        self.query = ConvNorm(channels, channels, kernel=1)
        self.text_key = nn.Linear(context_dim, channels) if context_dim else None
        self.text_value = nn.Linear(context_dim, channels) if context_dim else None
        self.key = None if context_dim else ConvNorm(channels, channels, kernel=1)
        self.value = None if context_dim else nn.Conv2d(channels, channels, 1)
        self.out = ConvNorm(channels, channels, kernel=1)
        self.fixed_keys: Tensor | None
        self.fixed_values: Tensor | None
        self.register_buffer("fixed_keys", None)
        self.register_buffer("fixed_values", None)

    def forward(self, x_NCHW: Tensor, context_NTD: Tensor | None = None) -> Tensor:
        """Return the input plus what attention adds."""
        num, channels, height, width = x_NCHW.shape
        q_NAQE = self._heads(self.query(x_NCHW).flatten(2)).transpose(2, 3)
        k_NAEK, v_NAEK = self._keys_values(x_NCHW, context_NTD)
        scores_NAQK = q_NAQE @ k_NAEK * (channels // self.heads) ** -0.5
        mixed_NAQE = torch.softmax(scores_NAQK, dim=-1) @ v_NAEK.transpose(2, 3)
        mixed_NCHW = mixed_NAQE.transpose(2, 3).reshape(num, channels, height, width)
        added: Tensor = self.out(mixed_NCHW)
        return x_NCHW + added

    def _keys_values(self, x_NCHW: Tensor, context_NTD: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.fixed_keys is not None and self.fixed_values is not None:
            return self.fixed_keys, self.fixed_values
        if self.text_key is not None and self.text_value is not None:
            assert context_NTD is not None
            return (
                self._heads(self.text_key(context_NTD).transpose(1, 2)),
                self._heads(self.text_value(context_NTD).transpose(1, 2)),
            )
        assert self.key is not None
        assert self.value is not None
        pooled_NCHW = F.avg_pool2d(x_NCHW, POOL)
        return (
            self._heads(self.key(pooled_NCHW).flatten(2)),
            self._heads(self.value(pooled_NCHW).flatten(2)),
        )

    def _heads(self, x_NCK: Tensor) -> Tensor:
        num, channels, places = x_NCK.shape
        return x_NCK.reshape(num, self.heads, channels // self.heads, places)

    def fold_text(self, context_1TD: Tensor) -> None:
        """Turn the keys and values of one text into constants."""
        if self.text_key is None:
            return
        keys_1AEK, values_1AEK = self._keys_values(context_1TD, context_1TD)
        self.fixed_keys, self.fixed_values = keys_1AEK.contiguous(), values_1AEK.contiguous()
        self.text_key = self.text_value = None


class Transformer(nn.Module):
    """Self-attention, cross-attention to text and a feed-forward part, each around a shortcut.

    A learned function of the place in the frame is added first, because edits like a sunset differ
    between the top and the bottom; it is a polynomial of the normalized coordinates, so the same
    weights serve every resolution.
    """

    def __init__(self, channels: int, heads: int, context_dim: int) -> None:
        """Keep the number of channels."""
        super().__init__()
        self.place_down = nn.Linear(3, channels, bias=False)
        self.place_across = nn.Linear(3, channels, bias=False)
        self.own = Attention(channels, heads)
        self.text = Attention(channels, heads, context_dim=context_dim)
        self.widen = ConvNorm(channels, 3 * channels, kernel=1, context_dim=context_dim)
        self.narrow = ConvNorm(3 * channels, channels, kernel=1)
        self.fixed_down: Tensor | None
        self.fixed_across: Tensor | None
        self.register_buffer("fixed_down", None, persistent=False)
        self.register_buffer("fixed_across", None, persistent=False)

    def forward(
        self, x_NCHW: Tensor, text_ND: Tensor | None = None, context_NTD: Tensor | None = None
    ) -> Tensor:
        """Return features that know the whole frame and the text."""
        if self.fixed_down is not None and self.fixed_across is not None:
            x_NCHW = x_NCHW + self.fixed_down + self.fixed_across
        else:
            down_1CH1, across_1C1W = self._places(x_NCHW)
            x_NCHW = x_NCHW + down_1CH1 + across_1C1W
        x_NCHW = self.text(self.own(x_NCHW), context_NTD)
        added: Tensor = self.narrow(F.relu(self.widen(x_NCHW, text_ND)))
        return x_NCHW + added

    def _places(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        height, width = x_NCHW.shape[-2:]
        down_CH = self.place_down(_powers(height, x_NCHW)).T
        across_CW = self.place_across(_powers(width, x_NCHW)).T
        return down_CH[None, :, :, None], across_CW[None, :, None, :]

    def fold_places(self, x_1CHW: Tensor) -> None:
        """Compute the places' contribution at this size once; not part of the weights."""
        down_1CH1, across_1C1W = self._places(x_1CHW)
        self.fixed_down, self.fixed_across = down_1CH1.contiguous(), across_1C1W.contiguous()


def _powers(length: int, like: Tensor) -> Tensor:
    """Powers 1 to 3 of the pixel centres' coordinates, in (-1, 1); (length, 3)."""
    steps = torch.arange(length, device=like.device, dtype=torch.float32)
    place = (2 * steps + 1) / length - 1
    return torch.stack((place, place**2, place**3), dim=1)


class Generator(nn.Module):
    """The text-conditioned network: an image and a text context to the edited image."""

    adapter_groups: ClassVar[Mapping[str, str]] = GROUP_OF
    """Which part belongs to which group of an adapter's ranks."""

    def __init__(self, shape: Shape) -> None:
        """Build it with random weights from torch's global generator; see `fresh_generator`."""
        super().__init__()
        self.shape = shape
        full, half, quarter, eighth = shape.levels
        dim = shape.context_dim
        self.digest = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.stem = ConvNorm(3, full, context_dim=dim)
        self.down1 = ConvNorm(full, half, stride=2, context_dim=dim)
        self.down2 = ConvNorm(half, quarter, stride=2, context_dim=dim)
        for name in shape.encoder_names:
            self.add_module(name, Residual(quarter))
        self.down3 = ConvNorm(quarter, eighth, stride=2, context_dim=dim)
        self.transformer = Transformer(eighth, shape.heads, dim) if shape.transformer else None
        self.up1 = ConvNorm(eighth, quarter, context_dim=dim)
        for name in shape.decoder_names:
            self.add_module(name, Residual(quarter))
        self.up2 = ConvNorm(quarter, half, context_dim=dim)
        self.detail2 = ConvNorm(half, half, context_dim=dim) if shape.detail2 else None
        self.up3 = ConvNorm(half, full, context_dim=dim)
        self.detail3 = ConvNorm(full, full, context_dim=dim) if shape.detail3 else None
        self.head = nn.Conv2d(full, 3, 3, padding=1)
        self.tone = nn.Conv2d(3, 3, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(_present(self.head.bias))
        nn.init.dirac_(self.tone.weight)
        nn.init.zeros_(_present(self.tone.bias))

    def forward(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the edit of `image` (n, 3, h, w), in [-1, 1] like its input."""
        return self.painted(image, context).clamp(-1, 1)

    def painted(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the edit before clamping: what the training terms see, so no gradient dies."""
        text = None if context is None else self.digest(context.mean(1))
        full = F.relu(self.stem(image, text))
        half = F.relu(self.down1(full, text))
        quarter = F.relu(self.down2(half, text))
        for name in self.shape.encoder_names:
            quarter = self.get_submodule(name)(quarter)
        eighth = F.relu(self.down3(quarter, text))
        if self.transformer is not None:
            eighth = self.transformer(eighth, text, context)
        y = F.relu(_twice(self.up1(eighth, text)) + quarter)
        for name in self.shape.decoder_names:
            y = self.get_submodule(name)(y)
        y = F.relu(_twice(self.up2(y, text)) + half)
        if self.detail2 is not None:
            y = F.relu(self.detail2(y, text))
        y = F.relu(_twice(self.up3(y, text)) + full)
        if self.detail3 is not None:
            y = F.relu(self.detail3(y, text))
        edit: Tensor = self.head(y) + self.tone(image)
        return edit


class Student(nn.Module):
    """A generator with one text folded in: port ``image`` to port ``image_out``."""

    def __init__(self, network: nn.Module) -> None:
        """`network` maps an image to its edit."""
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Return the edit of `image`, (n, 3, h, w) in [-1, 1]."""
        edit: Tensor = self.network(image)
        return edit


def _present(bias: Tensor | None) -> Tensor:
    assert bias is not None
    return bias


def _twice(x_NCHW: Tensor) -> Tensor:
    return F.interpolate(x_NCHW, scale_factor=2.0, mode="nearest")


def fresh_generator(shape: Shape, *, seed: int) -> Generator:
    """Return a generator with random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(shape)


def specialized(generator: Generator, context: Tensor, *, size_px: int) -> Student:
    """Fold `context` (tokens, dim) into a copy of `generator`, ready to ship at `size_px`.

    The result computes what ``generator(image, context[None])`` computes in eval mode. Its
    weights do not depend on `size_px`; only constants that are not saved with them do. Adapters
    must be merged before. Raises ValueError if `size_px` is not a multiple of 32.
    """
    check_size(size_px)
    network = copy.deepcopy(generator).float().cpu().eval().requires_grad_(False)
    context_1TD = context.detach().float().cpu()[None]
    with torch.no_grad():
        text_1D = network.digest(context_1TD.mean(1))
        for module in list(network.modules()):
            if isinstance(module, ConvNorm):
                module.fold_text(text_1D)
            elif isinstance(module, Attention):
                module.fold_text(context_1TD)
        _fold_places(network, size_px)
    del network.digest
    return Student(network)


def resized_student(student: Student, *, size_px: int) -> Student:
    """Return the same weights ready to ship at another size."""
    check_size(size_px)
    other = copy.deepcopy(student)
    network = other.network
    assert isinstance(network, Generator)
    _fold_places(network, size_px)
    return other


def _fold_places(network: Generator, size_px: int) -> None:
    if network.transformer is not None:
        places = torch.zeros(1, network.shape.levels[3], size_px // 8, size_px // 8)
        network.transformer.fold_places(places)


def check_size(size_px: int) -> None:
    """Raise ValueError for a side that the network cannot halve and pool evenly."""
    if size_px < STRIDE or size_px % STRIDE:
        raise ValueError(f"size_px must be a multiple of {STRIDE}, got {size_px}")
