"""Work on shapes and indices: what moves values without computing them."""

# ruff: noqa: D107 -- what a module is made of is its class's docstring

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.member import Input, Member, features, vector


class SpaceToDepth(nn.Module):
    """Pixels become channels and come back."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4 * channels, 4 * channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Work at half the size."""
        return x + F.pixel_shuffle(F.relu(self.conv(F.pixel_unshuffle(x, 2))), 2)


class Moves(nn.Module):
    """Pad by a value, roll, flip, cut out."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Move about."""
        y = self.conv(F.pad(x, (1, 1, 1, 1), value=0.5))
        y = torch.roll(y, (3, -2), (2, 3)) + torch.flip(y, (3,))
        return y[:, :, 2:-2, 1::2]


class SplitStack(nn.Module):
    """Unequal parts, worked on apart, stacked and joined."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(5, 4, 1)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Split, stack, join."""
        first, second = torch.split(x, [3, 5], 1)
        stacked = torch.stack([self.first(first), self.second(second)], 2)
        return F.relu(stacked.flatten(1, 2)) + x


class Shuffled(nn.Module):
    """Channels dealt between groups (Zhang et al. 2018)."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 1, groups=4)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        """Deal."""
        y = F.relu(self.first(x))
        batch, channels, height, width = y.shape
        y = y.reshape(batch, 4, channels // 4, height, width).transpose(1, 2)
        return self.second(y.reshape(batch, channels, height, width))


class Lookup(nn.Module):
    """A row of a table by a number that comes as a float: which concept."""

    def __init__(self, rows: int = 10, width: int = 8) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, width)
        self.out = nn.Linear(width, 16)

    def forward(self, concept: Tensor) -> Tensor:
        """Look up."""
        return self.out(self.table(concept.long()).squeeze(1))


class Gathered(nn.Module):
    """Chosen channels and rows, by stored indices."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)
        self.register_buffer("order", torch.tensor([7, 1, 1, 4, 0, 6]))
        self.register_buffer("rows", torch.arange(15, -1, -1))

    def forward(self, x: Tensor) -> Tensor:
        """Choose."""
        return self.conv(x)[:, self.order].index_select(2, self.rows)


class Einsum(nn.Module):
    """Bilinear products by einsum."""

    def __init__(self, channels: int = 8, width: int = 12) -> None:
        super().__init__()
        self.core = nn.Parameter(torch.zeros(channels, width, channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Mix channels as a style says."""
        mixing = torch.einsum("cwd,bw->bcd", self.core, style)
        return torch.einsum("bchw,bcd->bdhw", x, mixing)


class Sampled(nn.Module):
    """Features read at places that a network names."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.places = nn.Conv2d(channels, 2, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Read."""
        places = torch.tanh(self.places(x)).permute(0, 2, 3, 1) * 0.9
        return F.grid_sample(x, places, align_corners=False, padding_mode="zeros")


class Warped(nn.Module):
    """Features turned and moved by a matrix, borders repeated."""

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Turn."""
        matrix = style.reshape(1, 2, 3) * 0.3 + torch.eye(2, 3)
        grid = F.affine_grid(matrix, [1, 8, 16, 16], align_corners=False)
        return F.grid_sample(x, grid, align_corners=False, padding_mode="border")


class Neighbours(nn.Module):
    """Each pixel's own 3x3 kernel, made by a network."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(channels, 9, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Filter."""
        batch, channels, height, width = x.shape
        kernel = torch.softmax(self.kernel(x), 1).reshape(batch, 1, 9, height, width)
        around = F.unfold(x, 3, padding=1).reshape(batch, channels, 9, height, width)
        return (around * kernel).sum(2)


class Triplane(nn.Module):
    """Three planes to a field on a lattice by sums, no sampling."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.decode = nn.Sequential(nn.Linear(channels, 16), nn.Softplus(), nn.Linear(16, 4))

    def forward(self, planes: Tensor) -> Tensor:
        """Sum planes and decode each point."""
        xy, xz, yz = planes.unbind(0)
        field = xy[:, :, :, None] + xz[:, :, None, :] + yz[:, None, :, :]
        return self.decode(field.permute(1, 2, 3, 0)).permute(3, 0, 1, 2)[None]


class Chosen(nn.Module):
    """Comparisons, where, clamp, and the largest channel."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Choose."""
        y = self.conv(x)
        y = torch.where(y > 0.2, torch.clamp(y, -0.5, 0.5), 0.1 * x)
        return torch.minimum(y, x.amax((2, 3), keepdim=True)) + torch.maximum(y, -x).abs()


CONCEPT = Input("concept", (1, 1), 0.0, 9.0)
MEMBERS = (
    Member("space_to_depth", SpaceToDepth),
    Member("pad_roll_flip", Moves),
    Member("split_stack", SplitStack),
    Member("channel_shuffle", Shuffled),
    Member("embedding_lookup", Lookup, (CONCEPT,)),
    Member("gather_rows", Gathered),
    Member("einsum", Einsum, (features(), vector(12))),
    Member("grid_sample", Sampled),
    Member("affine_warp", Warped, (features(), vector(6))),
    Member("unfold_kernels", Neighbours),
    Member("triplane_lattice", Triplane, (Input("planes", (3, 8, 12, 12)),)),
    Member("where_clamp", Chosen),
)
