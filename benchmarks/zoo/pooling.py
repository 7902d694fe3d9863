"""Poolings."""

# ruff: noqa: D107 -- what a module is made of is its class's docstring

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.member import Member, features


class Pool(nn.Module):
    """A convolution, a pooling, a convolution."""

    def __init__(self, pool: Callable[[Tensor], Tensor], channels: int = 8) -> None:
        super().__init__()
        self.before, self.pool = nn.Conv2d(channels, channels, 3, 1, 1), pool
        self.after = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pool between the two."""
        return self.after(self.pool(self.before(x)))


def _pool(function: Callable[..., Tensor], **how: object) -> Callable[[], nn.Module]:
    return partial(Pool, partial(function, **how))


def _standard_deviation(x: Tensor) -> Tensor:
    return x.std((2, 3), keepdim=True)


MEMBERS = (
    Member("average_pool", _pool(F.avg_pool2d, kernel_size=2)),
    Member(
        "average_pool_border",
        _pool(F.avg_pool2d, kernel_size=3, stride=2, padding=1, count_include_pad=False),
    ),
    Member("max_pool_odd", _pool(F.max_pool2d, kernel_size=3, stride=2, padding=1)),
    Member("max_pool_ceiling", _pool(F.max_pool2d, kernel_size=3, stride=2, ceil_mode=True)),
    Member("adaptive_average_one", _pool(F.adaptive_avg_pool2d, output_size=1)),
    Member("adaptive_average_even", _pool(F.adaptive_avg_pool2d, output_size=4)),
    Member("adaptive_average_odd", _pool(F.adaptive_avg_pool2d, output_size=5), (features(8, 12),)),
    Member("deviation_pool", partial(Pool, _standard_deviation)),
)
