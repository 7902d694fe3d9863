"""What the generator is compared with: other networks in the same loop, losses and renderers.

`HyperNetwork` is the amortised way before AToM: a network that reads the prompt writes the weights
of a small field, which all prompts evaluate on one shared grid of features. `FreePlanes` is no
amortisation at all: planes that are trained themselves, for one prompt, under the same head.

Source: ATT3D (Lorraine et al. 2023, arXiv:2306.07349) in the form of Hyper-iNGP, the stand-in of
ScaleDreamer (arXiv:2407.02040): text to the weights of the last layers over a multiresolution grid.
Left out: hash tables. The finest grid here is as fine as the lattice that the mesh is taken from,
so nothing would collide; and the spectral norm of ATT3D's mapping network.

Shape key, used as name suffixes in this file:
    B prompts   L words   N points   C channels   R side of a plane   H hidden channels of the field
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.mesh.generator import (
    LEAST,
    Field,
    Head,
    coordinate_planes,
    features_at,
    lattice_features,
    lattice_points,
    split_field,
)
from edgekit.distill.mesh.shape import COORDINATES, OUTPUTS, MeshShape

LEVELS = (8, 16, 32, 64)
"""Sides of the shared grids."""
GRID_SCALE = 0.1
"""Standard deviation of a fresh grid."""
READER = 256
"""Width of the network that reads a prompt."""


class HyperNetwork(nn.Module):
    """A prompt to the weights of a field over shared grids."""

    def __init__(self, shape: MeshShape, num_words: int) -> None:
        """Make grids with as many channels in sum as a plane of `shape` has."""
        super().__init__()
        self.shape = shape
        self.table = nn.Embedding(num_words + 1, shape.word_width, padding_idx=0)
        each = max(1, shape.channels // len(LEVELS))
        self.grids = nn.ParameterList(
            nn.Parameter(torch.randn(1, each, side, side, side) * GRID_SCALE) for side in LEVELS
        )
        into = each * len(LEVELS) + 3
        widths = [into, *[shape.hidden] * shape.hidden_layers, OUTPUTS]
        self.layers = list(pairwise(widths))
        self.read = nn.Sequential(
            nn.Linear(shape.length * shape.word_width, READER),
            nn.SiLU(),
            nn.Linear(READER, READER),
            nn.SiLU(),
        )
        count = sum(one * two + two for one, two in self.layers)
        self.write = nn.Linear(READER, count)
        # A prompt changes weights that are as large as those of a fresh field; the last layer
        # starts near zero, as the generator's does, so that every prompt begins as the sphere.
        scales = torch.cat(
            [
                torch.full((one * two + two,), (0.2 if two == OUTPUTS else 1.0) / math.sqrt(one))
                for one, two in self.layers
            ]
        )
        with torch.no_grad():
            self.write.weight.mul_(scales[:, None])
            self.write.bias.uniform_(-1, 1).mul_(scales)
            self.write.bias[-OUTPUTS:] = 0

    def codes(self, words: Tensor) -> Tensor:
        """Return the weights of each prompt's field, B x count, of `words` B x L."""
        weights: Tensor = self.write(self.read(self.table(words).flatten(1)))
        return weights

    def field(self, codes: Tensor, points: Tensor) -> Field:
        """Return the field at `points`, B x N x 3 in [-1, 1]."""
        batch, count, _ = points.shape
        places = points.reshape(1, 1, 1, -1, 3)
        # One read of the grids for all prompts. grid_sample names the last axis first.
        found = [
            F.grid_sample(grid, places.flip(-1).to(grid.dtype), align_corners=True)
            for grid in self.grids
        ]
        features = torch.cat(found, 1).reshape(-1, batch, count).permute(1, 2, 0)
        values = torch.cat([features, points.to(features.dtype)], -1)
        first = 0
        for number, (one, two) in enumerate(self.layers):
            weight = codes[:, first : first + one * two].reshape(batch, one, two)
            bias = codes[:, first + one * two : first + one * two + two]
            first += one * two + two
            values = torch.baddbmm(bias[:, None], values.to(weight.dtype), weight)
            if number + 1 < len(self.layers):
                values = F.silu(values)
        away = (points.float().square().sum(-1, keepdim=True) + LEAST).sqrt()
        values = values.float()
        sdf = away - self.shape.radius + values[..., :1]
        colors = values[..., 4:].sigmoid()
        return split_field(torch.cat([sdf, values[..., 1:4].tanh(), colors], -1))

    def distance(self, codes: Tensor, points: Tensor) -> Tensor:
        """Return the signed distance alone, B x N."""
        return self.field(codes, points).sdf

    def on_lattice(self, codes: Tensor, cells: int) -> Field:
        """Return the field at the corners of `cells` cells a side."""
        points = lattice_points(cells, codes.device)
        return self.field(codes, points.expand(len(codes), -1, -1))


class FreePlanes(nn.Module):
    """Planes of one prompt, trained themselves, under the generator's head."""

    constants: Tensor

    def __init__(self, shape: MeshShape) -> None:
        """Planes start as small noise: zeros would leave the head without features."""
        super().__init__()
        self.shape = shape
        channels, side = shape.channels - COORDINATES, shape.plane_px
        self.planes = nn.Parameter(torch.randn(3, channels, side, side) * GRID_SCALE)
        self.head = Head(shape)
        self.register_buffer("constants", coordinate_planes(side), persistent=False)

    def codes(self, words: Tensor) -> Tensor:
        """Return the planes once for each row of `words`, which is not read."""
        planes = torch.cat([self.constants.to(self.planes.dtype), self.planes], 1)
        return planes.flatten(0, 1).expand(len(words), -1, -1, -1)

    def field(self, codes: Tensor, points: Tensor) -> Field:
        """Return the field at `points`, B x N x 3 in [-1, 1]."""
        return split_field(self.head(features_at(codes, points)))

    def distance(self, codes: Tensor, points: Tensor) -> Tensor:
        """Return the signed distance alone, B x N."""
        return self.head.distance(features_at(codes, points))

    def on_lattice(self, codes: Tensor, cells: int) -> Field:
        """Return the field at the corners of `cells` cells a side."""
        return split_field(self.head(lattice_features(codes, cells)))


def fresh_hypernetwork(shape: MeshShape, num_words: int, *, seed: int) -> HyperNetwork:
    """Return an untrained hypernetwork whose weights follow from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HyperNetwork(shape, num_words)


def fresh_planes(shape: MeshShape, *, seed: int) -> FreePlanes:
    """Return untrained planes and head whose weights follow from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FreePlanes(shape)
