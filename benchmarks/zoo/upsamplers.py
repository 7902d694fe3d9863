"""Ways to make a picture larger."""

# ruff: noqa: D107 -- what a module is made of is its class's docstring

from __future__ import annotations

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.member import Member, features


class Resize(nn.Module):
    """A convolution, a resize, a convolution."""

    def __init__(self, channels: int = 8, **how: Any) -> None:
        super().__init__()
        self.before = nn.Conv2d(channels, channels, 3, 1, 1)
        self.after = nn.Conv2d(channels, channels, 3, 1, 1)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        """Resize between the two."""
        return self.after(F.relu(F.interpolate(self.before(x), **self.how)))


class Shuffle(nn.Module):
    """Channels become pixels (Shi et al. 2016)."""

    def __init__(self, factor: int = 2, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels * factor**2, 3, 1, 1)
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, x: Tensor) -> Tensor:
        """Shuffle."""
        return F.relu(self.shuffle(self.conv(x)))


class Transposed(nn.Module):
    """A transposed convolution between two others."""

    def __init__(self, channels: int = 8, **how: Any) -> None:
        super().__init__()
        self.before = nn.Conv2d(channels, channels, 3, 1, 1)
        self.up = nn.ConvTranspose2d(channels, channels, **how)
        self.after = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Spread."""
        return self.after(F.relu(self.up(F.relu(self.before(x)))))


class Separable(nn.Module):
    """Rows, then columns, each channel by itself, after pixels were repeated."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.rows = nn.Conv2d(channels, channels, (1, 5), padding=(0, 2), groups=channels)
        self.columns = nn.Conv2d(channels, channels, (5, 1), padding=(2, 0), groups=channels)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Repeat, smooth, mix."""
        y = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return F.relu(self.mix(self.columns(self.rows(y))))


def _resize(**how: Any) -> Any:
    return partial(Resize, **how)


def _transposed(kernel_size: Any, **how: Any) -> Any:
    return partial(Transposed, kernel_size=kernel_size, **how)


SMALL = (features(8, 8),)
MEMBERS = (
    Member("nearest_2x", _resize(scale_factor=2.0, mode="nearest"), SMALL),
    Member("nearest_to_odd_size", _resize(size=(13, 13), mode="nearest"), SMALL),
    Member("nearest_exact", _resize(size=(20, 20), mode="nearest-exact"), SMALL),
    Member("bilinear_2x", _resize(scale_factor=2.0, mode="bilinear"), SMALL),
    Member("bilinear_down", _resize(scale_factor=0.5, mode="bilinear"), SMALL),
    Member(
        "bilinear_align_corners",
        _resize(scale_factor=2.0, mode="bilinear", align_corners=True),
        SMALL,
    ),
    Member("bicubic_2x", _resize(scale_factor=2.0, mode="bicubic"), SMALL),
    Member("area_down", _resize(scale_factor=0.5, mode="area"), SMALL),
    Member("pixel_shuffle_2x", Shuffle, SMALL),
    Member("pixel_shuffle_3x", partial(Shuffle, 3), SMALL),
    Member("transposed_k2_s2", _transposed(2, stride=2), SMALL),
    Member("transposed_k4_s2_p1", _transposed(4, stride=2, padding=1), SMALL),
    Member("transposed_k3_s2_p1_o1", _transposed(3, stride=2, padding=1, output_padding=1), SMALL),
    Member("transposed_k5_s3_p2", _transposed(5, stride=3, padding=2), SMALL),
    Member("transposed_grouped", _transposed(4, stride=2, padding=1, groups=4), SMALL),
    Member("transposed_one_axis", _transposed((1, 4), stride=(1, 2), padding=(0, 1)), SMALL),
    Member("separable_up", Separable, SMALL),
)
