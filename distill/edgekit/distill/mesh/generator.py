"""Words to planes to a field: the network whose two halves ship as two programs.

After AToM (arXiv:2402.00867) and the triplane transformer of OpenLRM as ScaleDreamer
(arXiv:2407.02040) uses it: learned tokens of three planes attend to themselves and to the words of
the prompt; every point of space sums what the planes say there, and a small network turns that into
signed distance, deformation and colour. The distance starts as that of a sphere: four channels of
the planes are constants that sum to |p|^2, x, y and z, so that the field knows where it is although
it is given features alone.

Shape key, used as name suffixes in this file:
    B prompts   L words   T tokens of all planes   W width   R side of a plane   C channels
    N points   G cells a side of the lattice
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.identity.layers import Block
from edgekit.distill.mesh.shape import COORDINATES, OUTPUTS, MeshShape
from edgekit.distill.students.spread import Doubling

GAIN = 4.0
"""What a learned channel of the planes is divided by on its way out, and multiplied with again
before it is used: so planes lie in [-1, 1], and a tanh seldom bends what they learn."""
LEAST = 1e-6
"""Keeps the slope of a root finite."""


class Field(NamedTuple):
    """What a network says about points of space."""

    sdf: Tensor
    """B x N signed distances, negative inside."""
    deformation: Tensor
    """B x N x 3, from -1 to 1."""
    colors: Tensor
    """B x N x 3 albedo, from 0 to 1."""


@runtime_checkable
class MeshNetwork(Protocol):
    """Whatever turns prompts into fields: the generator, or what it is compared with."""

    shape: MeshShape

    def codes(self, words: Tensor) -> Tensor:
        """Return one code a prompt, first axis B, of `words` B x L (int64, see `words.tokens`)."""
        ...

    def field(self, codes: Tensor, points: Tensor) -> Field:
        """Return the field of each code at its `points`, B x N x 3 in [-1, 1]."""
        ...

    def distance(self, codes: Tensor, points: Tensor) -> Tensor:
        """Return the signed distances alone, B x N: what most samples of a ray are asked for."""
        ...

    def on_lattice(self, codes: Tensor, cells: int) -> Field:
        """Return the field at the corners of `cells` cells a side, N in the order x, y, z."""
        ...


class Planes(nn.Module):
    """Rows of the table (B x L x word width) to planes, B x 3C x R x R; ships as a program."""

    constants: Tensor

    def __init__(self, shape: MeshShape) -> None:
        """Make the layers of `shape`, with the random weights of torch's global generator."""
        super().__init__()
        self.shape = shape
        width, count = shape.width, 3 * shape.tokens**2
        self.read = nn.Linear(shape.word_width, width, bias=False)
        self.order = nn.Parameter(torch.randn(1, shape.length, width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, count, width) * 0.5)
        self.told = nn.Linear(width, 2 * width)
        self.blocks = nn.ModuleList(
            Block(width, shape.heads, shape.expand, source=width) for _ in range(shape.layers)
        )
        self.norm = nn.LayerNorm(width)
        layers: list[nn.Module] = []
        side, now = shape.tokens, width
        while side < shape.plane_px:
            following = max(shape.channels, now // 2)
            layers += [Doubling(now, following), nn.GELU(approximate="tanh")]
            side, now = 2 * side, following
        layers += [nn.Conv2d(now, shape.channels - COORDINATES, 3, 1, 1)]
        self.widen = nn.Sequential(*layers)
        _even_spread(self.widen)
        self.register_buffer("constants", coordinate_planes(shape.plane_px), persistent=False)

    def forward(self, text_BLW: Tensor) -> Tensor:
        """Return the planes of each prompt."""
        batch, side = len(text_BLW), self.shape.tokens
        read_BLW = self.read(text_BLW)
        # All words at once, from the start: attention alone begins with a blur of them.
        scale_B1W, shift_B1W = self.told(read_BLW.sum(1, keepdim=True)).chunk(2, -1)
        x_BTW = self.places * (1 + scale_B1W) + shift_B1W
        text_BLW = read_BLW + self.order
        for block in self.blocks:
            x_BTW = block(x_BTW, text_BLW)
        x_BTW = self.norm(x_BTW)
        squares = x_BTW.reshape(batch * 3, side, side, self.shape.width).permute(0, 3, 1, 2)
        # Bounded, so that files of few bits have a range that they know; the head undoes the gain.
        learned = (self.widen(squares) / GAIN).tanh()
        constants = self.constants.to(learned.dtype).repeat(batch, 1, 1, 1)
        planes: Tensor = torch.cat([constants, learned], 1)
        size = self.shape.plane_px
        return planes.reshape(batch, 3 * self.shape.channels, size, size)


def _even_spread(layers: nn.Sequential) -> None:
    """Start convolutions so that what goes in and what comes out vary by about as much.

    By torch's own numbers a fresh plane would vary by a twentieth of the constants beside it, and
    for a long time every prompt would be the same shape.
    """
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, Doubling):  # a pixel gets 9 weights of 4 pixels
                layer.weight.normal_(0, math.sqrt(2 * 4 / (9 * layer.in_channels)))
            elif isinstance(layer, nn.Conv2d) and layer.bias is not None:
                layer.weight.normal_(0, 0.5 / math.sqrt(9 * layer.in_channels))
                layer.bias.zero_()


class Head(nn.Module):
    """Features of points (B x N x C) to distance, deformation and colour; ships as a program."""

    gains: Tensor

    def __init__(self, shape: MeshShape) -> None:
        """The last layer starts near zero, so that the distance starts as that of a sphere."""
        super().__init__()
        self.radius = shape.radius
        gains = torch.full((shape.channels,), GAIN)
        gains[:COORDINATES] = 1
        self.register_buffer("gains", gains, persistent=False)
        widths = [shape.channels, *[shape.hidden] * shape.hidden_layers]
        layers: list[nn.Module] = []
        for into, out in pairwise(widths):
            layers += [nn.Linear(into, out), nn.SiLU()]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(widths[-1], OUTPUTS)
        with torch.no_grad():
            self.last.weight[:4].mul_(0.05)
            self.last.bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        """Return B x N x 7: distance, deformation from -1 to 1, colour from 0 to 1."""
        made = self.last(self.layers(features * self.gains)).float()
        sdf = self._sphere(features) + made[..., :1]
        return torch.cat([sdf, made[..., 1:4].tanh(), made[..., 4:].sigmoid()], -1)

    def distance(self, features: Tensor) -> Tensor:
        """Return the first channel of `forward` alone, B x N."""
        weight, bias = self.last.weight[:1], self.last.bias[:1]
        made = F.linear(self.layers(features * self.gains), weight, bias).float()
        return (self._sphere(features) + made)[..., 0]

    def _sphere(self, features: Tensor) -> Tensor:
        # In float32 also where the layers are not: a root of small numbers.
        return (features[..., :1].float().clamp(min=0) + LEAST).sqrt() - self.radius


class Generator(nn.Module):
    """The table of words, the planes and the head; `fresh_generator` makes one."""

    def __init__(self, shape: MeshShape, num_words: int) -> None:
        """Row 0 of the table stands for no word, and stays zeros."""
        super().__init__()
        self.shape = shape
        self.table = nn.Embedding(num_words + 1, shape.word_width, padding_idx=0)
        self.planes, self.head = Planes(shape), Head(shape)

    def codes(self, words: Tensor) -> Tensor:
        """Return the planes of prompts, B x 3C x R x R, of `words` B x L."""
        planes: Tensor = self.planes(self.table(words))
        return planes

    def field(self, codes: Tensor, points: Tensor) -> Field:
        """Return the field at `points`, B x N x 3 in [-1, 1]."""
        return split_field(self.head(features_at(codes, points)))

    def distance(self, codes: Tensor, points: Tensor) -> Tensor:
        """Return the signed distances alone, B x N."""
        return self.head.distance(features_at(codes, points))

    def on_lattice(self, codes: Tensor, cells: int) -> Field:
        """Return the field at the corners of `cells` cells a side."""
        return split_field(self.head(lattice_features(codes, cells)))


def fresh_generator(shape: MeshShape, num_words: int, *, seed: int) -> Generator:
    """Return an untrained generator whose weights follow from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(shape, num_words)


def split_field(values: Tensor) -> Field:
    """Return the parts of B x N x 7."""
    return Field(values[..., 0], values[..., 1:4], values[..., 4:7])


def features_at(planes: Tensor, points: Tensor) -> Tensor:
    """Return B x N x C: the sum of what the planes xy, xz and yz hold at `points` B x N x 3.

    A plane's rows lie along the first axis of its name, from -1 to 1, border to border.
    """
    batch, _, side, _ = planes.shape
    squares = planes.reshape(batch * 3, -1, side, side)
    # grid_sample takes (column, row). Not by lists of numbers: a CUDA graph could not hold those.
    x, y, z = points.unbind(-1)
    pairs = torch.stack([torch.stack(pair, -1) for pair in ((y, x), (z, x), (z, y))], 1)
    found = F.grid_sample(
        squares, pairs.flatten(0, 1)[:, None], align_corners=True, padding_mode="border"
    )
    features: Tensor = found.reshape(batch, 3, -1, points.shape[1]).sum(1).transpose(1, 2)
    return features


def lattice_features(planes: Tensor, cells: int) -> Tensor:
    """Return what `features_at` does at the corners of a lattice, with far less work."""
    batch, _, side, _ = planes.shape
    squares = planes.reshape(batch * 3, -1, side, side)
    size = cells + 1
    grown = F.interpolate(squares, (size, size), mode="bilinear", align_corners=True)
    xy, xz, yz = grown.reshape(batch, 3, -1, size, size).permute(1, 0, 3, 4, 2)
    summed: Tensor = xy[:, :, :, None] + xz[:, :, None, :] + yz[:, None, :, :]
    return summed.reshape(batch, size**3, -1)


def lattice_points(cells: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the corners of the lattice, (cells + 1)^3 x 3, x slowest."""
    steps = torch.linspace(-1, 1, cells + 1, device=device)
    return torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)


def coordinate_planes(side: int) -> Tensor:
    """Return 3 x 4 x R x R: planes xy, xz, yz that sum to |p|^2, x, y and z at every point.

    Between the corners of a plane squares are interpolated: |p|^2 is 0.0031 too large at most, for
    R = 32.
    """
    steps = torch.linspace(-1, 1, side)
    first, second = torch.meshgrid(steps, steps, indexing="ij")
    squares, none = (first**2 + second**2) / 2, torch.zeros_like(first)
    halves = (first / 2, second / 2)
    return torch.stack(
        [
            torch.stack([squares, halves[0], halves[1], none]),
            torch.stack([squares, halves[0], none, halves[1]]),
            torch.stack([squares, none, halves[0], halves[1]]),
        ]
    )
