"""Normalizations."""

# ruff: noqa: D107 -- what a module is made of is its class's docstring

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.member import Member


class Between(nn.Module):
    """A convolution, a norm, ReLU, a convolution."""

    def __init__(self, norm: Callable[[int], nn.Module], channels: int = 8) -> None:
        super().__init__()
        self.before = nn.Conv2d(channels, channels, 3, 1, 1)
        self.norm = norm(channels)
        self.after = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize between the two."""
        return self.after(F.relu(self.norm(self.before(x))))


class Before(nn.Module):
    """A batch norm that no convolution precedes: it cannot be folded into one."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize, activate, convolve."""
        return x + self.conv(F.relu(self.norm(x)))


class ChannelLayerNorm(nn.Module):
    """Layer norm over channels of an nchw map, by turning the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ChannelRms(nn.Module):
    """Root mean square norm over channels of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PixelNorm(nn.Module):
    """Each pixel's channels get unit power (Karras et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Normalize."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class GlobalResponse(nn.Module):
    """ConvNeXt V2's norm: channels compete by their power over the picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize."""
        power = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        return self.gamma * (x * power / (power.mean(1, keepdim=True) + 1e-6)) + self.beta + x


class Standardized(nn.Module):
    """A convolution whose kernel is standardized in the graph, then a group norm."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, channels, 3, 3))
        self.norm = nn.GroupNorm(4, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalize."""
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        variance = self.weight.var((1, 2, 3), keepdim=True)
        kernel = (self.weight - mean) * torch.rsqrt(variance + 1e-5) / 8
        return F.relu(self.norm(F.conv2d(x, kernel, padding=1)))


class LoudGroups(nn.Module):
    """A group norm of values in the hundreds, whose squares leave float16."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)
        self.norm = nn.GroupNorm(2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Amplify, then normalize."""
        return self.norm(self.conv(x) * 300)


def _affine_instance(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True)


def _tracked_instance(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)


def _local(channels: int) -> nn.Module:
    return nn.LocalResponseNorm(3, alpha=0.1, k=1.0)


def _between(norm: Callable[[int], nn.Module]) -> Callable[[], nn.Module]:
    return partial(Between, norm)


MEMBERS = (
    Member("batch_norm", _between(nn.BatchNorm2d)),
    Member("batch_norm_first", Before),
    Member("instance_norm", _between(nn.InstanceNorm2d)),
    Member("instance_norm_affine", _between(_affine_instance)),
    Member("instance_norm_tracked", _between(_tracked_instance)),
    Member("group_norm", _between(partial(nn.GroupNorm, 4))),
    Member("group_norm_loud", LoudGroups),
    Member("layer_norm_channels", _between(ChannelLayerNorm)),
    Member("rms_norm", _between(ChannelRms)),
    Member("local_response_norm", _between(_local)),
    Member("pixel_norm", _between(PixelNorm)),
    Member("global_response_norm", _between(GlobalResponse)),
    Member("standardized_kernel", Standardized),
)
