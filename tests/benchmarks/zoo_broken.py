"""Modules that must fail, and one that must not: what the zoo's runner has to survive."""

from __future__ import annotations

import os
import time

import torch
from torch import Tensor, nn

from zoo.activations import Between
from zoo.member import Member


class Unsupported(nn.Module):
    """An operation that no converter has."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.linalg.matrix_exp(x * 0.1)


def deadly() -> nn.Module:
    os.abort()


def endless() -> nn.Module:
    time.sleep(600)
    return nn.ReLU()


ZOO = {
    "unsupported": Member("unsupported", Unsupported),
    "deadly": Member("deadly", deadly),
    "endless": Member("endless", endless),
    "relu": Member("relu", lambda: Between(nn.ReLU)),
}
