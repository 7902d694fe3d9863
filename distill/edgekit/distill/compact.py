"""Weights as they ship: matrices in 8 bits with a scale an output channel, the rest in 16.

    stored name           dtype      meaning
    layer.weight          int8       value = stored * scale, along the first axis
    layer.weight.scale    float32    one an output channel
    anything else         float16    float32 where 16 bits would change it by more than 0.1 %

A file without scales is read as it is: the shipped base is one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

SCALE = ".scale"
LEVELS = 127
LEAST_VALUES = 1024
"""Smaller tensors stay in 16 bits: their bytes do not count, their errors do."""
SHARES = torch.linspace(0.7, 1.0, 31)
"""Of a channel's largest weight: where its scale may end. What lies beyond is clipped, which costs
less than coarser steps for all others."""


def packed(state: Mapping[str, Tensor], *, exact: Collection[str] = ()) -> dict[str, Tensor]:
    """Return the weights `state` as they are stored; those named in `exact` are not put in 8 bits.

    Integers (counters of batch norms) are left out: nothing computes with them.
    Raises ValueError for a weight that is no finite number.
    """
    stored: dict[str, Tensor] = {}
    for name, value in state.items():
        if not value.is_floating_point():
            continue
        if not bool(value.isfinite().all()):
            raise ValueError(f"{name} holds values that are no numbers")
        if name in exact or not in_8_bits(name, value):
            stored[name] = _halved(value)
        else:
            stored[name], stored[name + SCALE] = _rounded(value.float())
    return {name: value.cpu().contiguous() for name, value in stored.items()}


def unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return stored weights in float32.

    Raises ValueError for 8 bits without their scale, or of another shape.
    """
    state = {}
    for name, value in stored.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in stored:
            continue
        if value.dtype == torch.int8:
            scale = stored.get(name + SCALE)
            if scale is None or scale.shape != value.shape[:1]:
                raise ValueError(f"{name} has 8 bits and no scale an output channel")
            state[name] = value.float() * _along_first(scale, value)
        else:
            state[name] = value.float()
    return state


def in_8_bits(name: str, value: Tensor) -> bool:
    """Tell whether a weight is put in 8 bits: of a product, a convolution or a table.

    >>> in_8_bits("norm.weight", torch.ones(4096))
    False
    """
    return (
        name.endswith("weight")
        and value.ndim > 1
        and len(value) > 1
        and value.numel() >= LEAST_VALUES
    )


def _rounded(value: Tensor) -> tuple[Tensor, Tensor]:
    """Return 8 bits and the scale of each channel with the least squared error of `SHARES`."""
    rows = value.flatten(1)
    largest = rows.abs().amax(1).clamp(min=1e-12)
    scale, least = largest / LEVELS, torch.full_like(largest, torch.inf)
    for share in SHARES:
        tried = largest * share / LEVELS
        steps = (rows / tried[:, None]).round().clamp(-LEVELS, LEVELS)
        error = (steps * tried[:, None] - rows).square().sum(1)
        scale = torch.where(error < least, tried, scale)
        least = torch.minimum(error, least)
    steps = (value / _along_first(scale, value)).round().clamp(-LEVELS, LEVELS)
    return steps.to(torch.int8), scale


def _halved(value: Tensor) -> Tensor:
    half = value.half()
    return half if torch.allclose(half.float(), value.float(), rtol=1e-3, atol=0) else value.float()


def _along_first(scale: Tensor, value: Tensor) -> Tensor:
    return scale.reshape(-1, *(1,) * (value.ndim - 1))
