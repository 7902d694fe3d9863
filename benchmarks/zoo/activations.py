"""Activations, each between two convolutions."""

# ruff: noqa: D107 -- what a module is made of is its class's docstring

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from zoo.member import Member


class Between(nn.Module):
    """A convolution, an activation, a convolution."""

    def __init__(self, activation: Callable[[], nn.Module], channels: int = 8) -> None:
        super().__init__()
        self.before = nn.Conv2d(channels, channels, 3, 1, 1)
        self.activation = activation()
        self.after = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Activate between the two."""
        return self.after(self.activation(self.before(x) * 2))


class Gated(nn.Module):
    """A gated linear unit."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.before = nn.Conv2d(channels, 2 * channels, 3, 1, 1)
        self.after = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Gate."""
        return self.after(nn.functional.glu(self.before(x), 1))


class Sine(nn.Module):
    """A sine, as in networks of coordinates (Sitzmann et al. 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        """Take the sine."""
        return torch.sin(3 * x)


class Slopes(nn.Module):
    """Leaky ReLU with a learned slope a channel."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.full((channels,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        """Activate."""
        return nn.functional.prelu(x, self.slope)


ALL: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": partial(nn.LeakyReLU, 0.2),
    "prelu": Slopes,
    "silu": nn.SiLU,
    "gelu_erf": nn.GELU,
    "gelu_tanh": partial(nn.GELU, "tanh"),
    "hard_swish": nn.Hardswish,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
    "sine": Sine,
}
MEMBERS = (
    *(Member(name, partial(Between, activation)) for name, activation in ALL.items()),
    Member("glu", Gated),
)
