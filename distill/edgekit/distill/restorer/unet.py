"""The small diffusion U-Net: in pixels, nine attentions in its decoder, three at each scale.

It plays the part of SD-Turbo: pretrained to denoise faces, then turned into a one-step restorer.
It works on pixels because an autoencoder of this project's size loses more (27 to 30 dB) than a
restorer is allowed to. The first layer halves the picture `patch` by `patch`; 1/2, 1/4 and 1/8 of
that grid carry attention, 32, 16 and 8 tokens a side at 128 pixels.

Shape key: B pictures, C channels, H and W rows and columns.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.restorer.attention import (
    Memory,
    Norm,
    Seen,
    SharedAttention,
    groups_of,
    present,
)

ATTENTIONS = 9
PER_SCALE = 3


@dataclass(frozen=True, slots=True)
class UNetShape:
    """What decides the network's size; the defaults have 11 M weights."""

    widths: tuple[int, int, int, int] = (64, 128, 160, 192)
    """Channels of the four grids, the finest first; the last three have attention."""
    patch: int = 2
    """Pixels a side that the first layer takes together: 2 at 128 px, 4 at 256 px."""
    head_dim: int = 32
    time: int = 256
    """Width of the embedded noise level."""
    extra: int = 0
    """More input channels beside the three of the noisy picture."""
    adain: bool = False
    gate: bool = False
    reads: bool = False
    """Layers of their own make the keys and values that another network looks at."""
    code: int = 0
    """Width of an identity code's tokens that stand for references; 0: keys and values do."""

    @property
    def stride(self) -> int:
        """Sides of a picture must be multiples of this."""
        return self.patch * 8

    def grids(self, size_px: int) -> tuple[int, ...]:
        """Return the tokens a side of each of the nine attentions, in their order."""
        finest = size_px // self.patch
        return tuple(finest // scale for scale in (8, 4, 2) for _ in range(PER_SCALE))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each of the nine attentions, in their order."""
        return tuple(width for width in self.widths[:0:-1] for _ in range(PER_SCALE))


TOY = UNetShape(widths=(16, 16, 24, 32), head_dim=8, time=32)
"""Trains in seconds and learns next to nothing: for tests."""


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut; the noise level scales and shifts between them."""

    def __init__(self, into: int, out: int, time: int) -> None:
        """Start as the shortcut alone."""
        super().__init__()
        self.norm1 = Norm(groups_of(into), into)
        self.conv1 = nn.Conv2d(into, out, 3, padding=1)
        self.time: nn.Linear | None = nn.Linear(time, 2 * out)
        self.norm2 = Norm(groups_of(out), out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.short = nn.Conv2d(into, out, 1) if into != out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(present(self.conv2.bias))

    def forward(self, x_BCHW: Tensor, time_BT: Tensor) -> Tensor:
        """Return the shortcut plus what the convolutions add."""
        y = self.norm2(self.conv1(F.silu(self.norm1(x_BCHW))))
        if self.time is not None:
            gain, shift = self.time(time_BT)[..., None, None].chunk(2, dim=1)
            y = y * (1 + gain) + shift
        y = self.conv2(F.silu(y))
        made: Tensor = self.short(x_BCHW) + y
        return made

    def fold_time(self, time_1T: Tensor) -> None:
        """Make the gain and shift of one noise level part of the second norm."""
        if self.time is None:
            return
        gain, shift = self.time(time_1T)[0].chunk(2)
        self.norm2.bias.data = self.norm2.bias.data * (1 + gain) + shift
        self.norm2.weight.data = self.norm2.weight.data * (1 + gain)
        self.time = None


class UNet(nn.Module):
    """Noisy picture, noise level, more channels and references to a velocity."""

    def __init__(self, shape: UNetShape) -> None:
        """Build it with random weights from torch's global generator; see `fresh_unet`."""
        super().__init__()
        self.shape = shape
        widths, time = shape.widths, shape.time
        self.embed: nn.Module | None = nn.Sequential(
            nn.Linear(time, time), nn.SiLU(), nn.Linear(time, time)
        )
        patch = shape.patch
        self.stem = nn.Conv2d(3 + shape.extra, widths[0], 2 * patch, patch, padding=patch // 2)
        self.place = nn.Conv2d(4, widths[0], 1, bias=False)
        self.encoder = nn.ModuleList(Block(width, width, time) for width in widths)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, 2, padding=1) for a, b in itertools.pairwise(widths)
        )
        last = widths[-1]
        self.middle = nn.ModuleList((Block(last, last, time), Block(last, last, time)))
        self.middle_attention = SharedAttention(last, shape.head_dim)
        self.decoder = nn.ModuleList()
        self.attention = nn.ModuleList()
        for width in widths[:0:-1]:
            for turn in range(PER_SCALE):
                self.decoder.append(Block(2 * width if turn == 0 else width, width, time))
                self.attention.append(
                    SharedAttention(
                        width,
                        shape.head_dim,
                        adain=shape.adain,
                        gate=shape.gate,
                        reads=shape.reads,
                    )
                )
        self.up = nn.ModuleList(
            nn.Conv2d(b, a, 3, padding=1) for a, b in itertools.pairwise(widths)
        )
        first = widths[0]
        self.last = nn.ModuleList((Block(2 * first, first, time), Block(first, first, time)))
        self.head_norm = Norm(groups_of(first), first)
        self.head = nn.ConvTranspose2d(first, 3, patch, patch)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(present(self.head.bias))
        self.code_memory = (
            nn.ModuleList(nn.Linear(shape.code, 2 * width) for width in shape.channels)
            if shape.code
            else None
        )

    def forward(
        self,
        noisy: Tensor,
        level: Tensor,
        memory: Memory | None = None,
        extra: Tensor | None = None,
        seen: Seen | None = None,
    ) -> Tensor:
        """Return the velocity of `noisy` (B x 3 x S x S) at noise `level` (B, 0 to 1).

        `extra` are the channels that the shape asks for; `seen` collects the decoder's attention.
        """
        time = self.time(level)
        x, finest = self.attended(noisy, time, memory, extra, seen)
        x = torch.cat((twice(self.up[0](x)), finest), 1)
        x = self.last[1](self.last[0](x, time), time)
        velocity: Tensor = self.head(F.silu(self.head_norm(x)))
        return velocity

    def attended(
        self,
        noisy: Tensor,
        time: Tensor,
        memory: Memory | None = None,
        extra: Tensor | None = None,
        seen: Seen | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return what leaves the last attention, and the encoder's finest features.

        It is all that a reference branch needs. `time` is an embedded level.
        """
        x = noisy if extra is None else torch.cat((noisy, extra), 1)
        x = self.stem(x)
        x = x + self.place(places(x.shape[-2], x.shape[-1], x))
        skips = []
        for i, block in enumerate(self.encoder):
            x = block(x if i == 0 else self.down[i - 1](x), time)
            skips.append(x)
        x = self.middle[0](x, time)
        x = self.middle[1](self.middle_attention(x), time)
        for i, (block, attention) in enumerate(zip(self.decoder, self.attention, strict=True)):
            scale = i // PER_SCALE
            if i % PER_SCALE == 0:
                if scale:
                    x = twice(self.up[3 - scale](x))
                x = torch.cat((x, skips[3 - scale]), 1)
            x = block(x, time)
            layer = None if memory is None else memory.layers[i]
            x = attention(x, layer, None if memory is None else memory.mask, seen)
        return x, skips[0]

    def time(self, level: Tensor) -> Tensor:
        """Return the embedded noise level, B x T; nothing if one level is folded in."""
        if self.embed is None:
            return level
        embedded: Tensor = F.silu(self.embed(waves(level, self.shape.time)))
        return embedded

    def memory_of_code(self, code_BQD: Tensor) -> Memory:
        """Return an identity code as the keys and values of one reference with Q tokens."""
        assert self.code_memory is not None
        layers = []
        for layer in self.code_memory:
            keys, values = layer(code_BQD)[:, None].chunk(2, dim=-1)
            layers.append((keys, values))
        mask = torch.ones(len(code_BQD), 1, device=code_BQD.device, dtype=torch.bool)
        return Memory(tuple(layers), mask)


def waves(level_B: Tensor, width: int) -> Tensor:
    """Return sines and cosines of a noise level in [0, 1], B x width."""
    steps = torch.arange(width // 2, device=level_B.device, dtype=torch.float32)
    speed = torch.exp(steps * (math.log(1000.0) / (width // 2 - 1)))
    angle = level_B.float()[:, None] * speed * math.pi
    return torch.cat((angle.sin(), angle.cos()), 1)


def places(rows: int, columns: int, like: Tensor) -> Tensor:
    """Return where each cell lies: coordinates in (-1, 1) and their squares, 1 x 4 x H x W."""
    y = (2 * torch.arange(rows, device=like.device) + 1).to(like.dtype) / rows - 1
    x = (2 * torch.arange(columns, device=like.device) + 1).to(like.dtype) / columns - 1
    down = y[None, None, :, None].expand(1, 1, rows, columns)
    across = x[None, None, None, :].expand(1, 1, rows, columns)
    return torch.cat((down, across, down * down, across * across), 1)


def twice(x_BCHW: Tensor) -> Tensor:
    """Repeat every cell two by two."""
    return F.interpolate(x_BCHW, scale_factor=2.0, mode="nearest")


def fresh_unet(shape: UNetShape, *, seed: int) -> UNet:
    """Return a network with random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(shape)


@torch.no_grad()
def at_level(network: UNet, level: float) -> UNet:
    """Return a copy of `network` that knows one noise level: it is inside the norms, exactly."""
    fixed = copy.deepcopy(network).float().cpu().eval().requires_grad_(False)
    time = fixed.time(torch.tensor([level]))
    for module in fixed.modules():
        if isinstance(module, Block):
            module.fold_time(time)
    fixed.embed = None
    return fixed


def take_weights(network: UNet, base: Mapping[str, Tensor]) -> None:
    """Put a base's weights into a network that may have more inputs, gates or code layers.

    New input channels start at zero, so that they change nothing before training; what the base
    lacks keeps its fresh weights. Raises ValueError if the base is not of this network.
    """
    own = network.state_dict()
    unknown = [name for name in base if name not in own]
    if unknown:
        raise ValueError(f"the base has weights that the network lacks: {unknown[0]}")
    allowed = ("attention.", "code_memory.")
    lacking = [n for n in own if n not in base and not n.startswith(allowed)]
    if lacking:
        raise ValueError(f"the base lacks weights: {lacking[0]}")
    for name, value in base.items():
        mine = own[name]
        if name == "stem.weight":
            mine.zero_()
            mine[:, : value.shape[1]] = value
        elif mine.shape != value.shape:
            raise ValueError(f"{name}: the base has {value.shape}, the network {mine.shape}")
        else:
            mine.copy_(value)
    network.load_state_dict(own)
