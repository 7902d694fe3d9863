"""Whole students, toy-sized: every kind that export takes."""

# ruff: noqa: D107 -- what a module is made of is its class's docstring

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.attention import Pooled
from zoo.member import Input, Member, features, image, vector
from zoo.restorer import SharedAttention


def _layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class ConceptGan(nn.Module):
    """Down, residuals, pooled attention, up, a skip of the picture: one concept."""

    def __init__(self, channels: int = 12) -> None:
        super().__init__()
        self.down1, self.down2 = _layer(3, channels, 2), _layer(channels, 16, 2)
        self.block = nn.Sequential(_layer(16, 16), _layer(16, 16))
        self.attention = Pooled()
        self.up1, self.up2 = _layer(16, channels), _layer(channels, channels)
        self.head = nn.Conv2d(channels, 3, 3, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Edit a picture."""
        first = self.down1(image)
        y = self.down2(first)
        y = self.attention(y + self.block(y))
        y = F.interpolate(self.up1(y), scale_factor=2.0, mode="nearest") + first
        y = F.interpolate(self.up2(y), scale_factor=2.0, mode="nearest")
        return torch.tanh(self.head(y) + image)


class AdaptedGan(nn.Module):
    """The same idea with the concept as low-rank factors in a second input."""

    def __init__(self, channels: int = 12, rank: int = 2) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, channels, 3, 1, 1), nn.Conv2d(channels, 3, 3, 1, 1)
        self.mix = nn.Parameter(torch.zeros(channels, channels))
        self.channels, self.rank = channels, rank

    def forward(self, image: Tensor, adapter: Tensor) -> Tensor:
        """Edit a picture as the factors say."""
        up, down = adapter.reshape(2, self.rank, self.channels).unbind(0)
        kernel = (self.mix + up.transpose(0, 1) @ down)[:, :, None, None]
        y = F.conv2d(F.relu(self.stem(image)), kernel)
        return torch.tanh(self.head(F.relu(y)) + image)


class Restorer(nn.Module):
    """A picture, a reference's cached keys and values, a mask: two outputs."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(4, channels, 4, 4), nn.SiLU())
        self.attention = SharedAttention(channels)
        self.norm = nn.InstanceNorm2d(channels, affine=True)
        self.up = nn.Conv2d(channels, 16 * 3, 3, 1, 1)

    def forward(
        self, image: Tensor, mask: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Restore what is masked, and say how sure."""
        y = self.down(torch.cat([image, mask], 1))
        y = self.attention(y, keys, values)
        painted = torch.tanh(F.pixel_shuffle(self.up(self.norm(y)), 4))
        return image * (1 - mask) + painted * mask, torch.sigmoid(y.mean((2, 3)))


class MeshGenerator(nn.Module):
    """A text to three planes to a field of signed distances and colours."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.start = nn.Linear(24, 3 * channels * 16)
        self.grow = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(2))
        self.decode = nn.Sequential(nn.Linear(channels, 16), nn.ReLU(), nn.Linear(16, 4))
        self.channels = channels

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Make planes and a field."""
        y = self.start(text).reshape(3, self.channels, 4, 4)
        for layer in self.grow:
            y = F.relu(layer(F.interpolate(y, scale_factor=2.0, mode="bilinear")))
        xy, xz, yz = F.avg_pool2d(y, 2).unbind(0)
        field = xy[:, :, :, None] + xz[:, :, None, :] + yz[:, None, :, :]
        points = self.decode(field.reshape(self.channels, -1).transpose(0, 1))
        return y, points.transpose(0, 1).reshape(1, 4, 8, 8, 8)


class ConceptHead(nn.Module):
    """What of a vocabulary a picture shows: pooled features, a norm, three layers."""

    def __init__(self, channels: int = 16, concepts: int = 10) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 32),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(32, concepts),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return a chance for each concept."""
        return torch.sigmoid(self.path(features.mean((2, 3))))


MASK = Input("mask", (1, 1, 32, 32), 0.0, 1.0)
CACHED = (Input("ref_k", (1, 32, 16)), Input("ref_v", (1, 32, 16)))
MEMBERS = (
    Member("concept_gan", ConceptGan, (image(32),)),
    Member("adapted_gan", AdaptedGan, (image(32), vector(48, "adapter"))),
    Member("restorer", Restorer, (image(32), MASK, *CACHED)),
    Member("mesh_generator", MeshGenerator, (vector(24, "text"),)),
    Member("concept_head", ConceptHead, (features(16, 8),)),
)
