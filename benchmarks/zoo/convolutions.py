"""Kinds of convolutions and of borders."""

# ruff: noqa: D107 -- what a module is made of is its class's docstring

from __future__ import annotations

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.member import Input, Member, features


class Pair(nn.Module):
    """The convolution in question and a 1x1 after it."""

    def __init__(self, channels: int = 8, **how: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, **how)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve twice."""
        return self.mix(F.relu(self.conv(x)))


class Uneven(nn.Module):
    """A border that is wider on one side, on both axes."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Pad and convolve."""
        return F.relu(self.conv(F.pad(x, (1, 2, 0, 3))))


class Signal(nn.Module):
    """Convolutions of one axis, with a dilated one and a strided one."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv1d(channels, channels, 5, padding=2),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 4, stride=2, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Filter."""
        return self.path(x)


class ConvNext(nn.Module):
    """A 7x7 depthwise kernel, layer norm and two linear layers on nhwc (Liu et al. 2022)."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.depth = nn.Conv2d(channels, channels, 7, 1, 3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.wide, self.narrow = nn.Linear(channels, 32), nn.Linear(32, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Add the path."""
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        return x + self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)


class MobileNet(nn.Module):
    """Wide 1x1, depthwise 3x3, narrow 1x1, norms and ReLU6 (Sandler et al. 2018)."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        wide = 3 * channels
        self.path = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, 1, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the path."""
        return x + self.path(x)


def _pair(kernel_size: Any, **how: Any) -> Any:
    return partial(Pair, kernel_size=kernel_size, **how)


MEMBERS = (
    Member("conv_grouped", _pair(3, padding=1, groups=4)),
    Member("conv_depthwise_multiplied", _pair(3, padding=1, groups=8)),
    Member("conv_dilated", _pair(3, padding=3, dilation=3)),
    Member("conv_even_strided", _pair(4, stride=2, padding=1)),
    Member("conv_one_by_five", _pair((1, 5), padding=(0, 2))),
    Member("conv_same", _pair(4, padding="same")),
    Member("conv_uneven_border", Uneven),
    Member("conv_reflected", _pair(3, padding=1, padding_mode="reflect")),
    Member("conv_replicated", _pair(5, padding=2, padding_mode="replicate")),
    Member("conv_circular", _pair(3, padding=1, padding_mode="circular")),
    Member("conv_one_axis", Signal, (Input("signal", (1, 8, 32)),)),
    Member("convnext", ConvNext, (features(8, 8),)),
    Member("mobilenet", MobileNet),
)
