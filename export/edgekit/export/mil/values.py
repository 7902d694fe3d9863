"""How operations read their arguments: tensors, whole numbers, flags and words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Arguments: TypeAlias = Mapping[str, Any]
"""Parameter -> tensor, string, or list of tensors."""
Meaning: TypeAlias = Callable[[Arguments], Any]
"""What an operation computes; a list if it gives several values."""


def tensor(value: Any) -> Tensor:
    """Return a constant or a computed value as a tensor; float16 and wide integers get room.

    Half floats become float32 (values are rounded where the package says so), unsigned and short
    integers int32, so that sums of shapes do not wrap.
    """
    made: Tensor
    if isinstance(value, Tensor):
        made = value
    else:
        array = np.asarray(value)
        if array.dtype.kind in "iu":
            array = array.astype(np.int64 if array.dtype.itemsize == 8 else np.int32)
        made = torch.from_numpy(np.array(array))
    return made.float() if made.dtype in (torch.float16, torch.float64) else made


def integers(value: Any) -> list[int]:
    """Return whole numbers such as sizes and axes."""
    return [int(n) for n in np.asarray(value).reshape(-1)]


def one(value: Any) -> Any:
    """Return a single number or truth value."""
    return np.asarray(value).reshape(-1)[0].item()


def whole(arguments: Arguments, name: str, default: int) -> int:
    """Return the whole number `name`, `default` where it is not given."""
    return int(one(arguments[name])) if name in arguments else default


def number(arguments: Arguments, name: str, default: float) -> float:
    """Return the number `name`, `default` where it is not given."""
    return float(one(arguments[name])) if name in arguments else default


def flag(arguments: Arguments, name: str, default: bool = False) -> bool:
    """Return the truth value `name`, `default` where it is not given."""
    return bool(one(arguments[name])) if name in arguments else default


def word(arguments: Arguments, name: str, default: str) -> str:
    """Return the string `name`, `default` where it is not given."""
    return str(arguments.get(name, default))


def unary(function: Callable[[Tensor], Tensor]) -> Meaning:
    """Return the meaning of an operation of `x`."""
    return lambda arguments: function(tensor(arguments["x"]))


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Meaning:
    """Return the meaning of an operation of `x` and `y`."""
    return lambda arguments: function(tensor(arguments["x"]), tensor(arguments["y"]))


def windows_padding(arguments: Arguments, x: Tensor, kernel: list[int]) -> list[list[int]]:
    """Return (before, after) of each spatial dimension for `pad_type`, `pad`, `strides` …."""
    kind = str(arguments.get("pad_type", "valid")).lower()
    if kind == "valid":
        return [[0, 0] for _ in kernel]
    if kind == "custom":
        return [list(pair) for pair in np.array(integers(arguments["pad"])).reshape(-1, 2).tolist()]
    strides = integers(arguments.get("strides", [1] * len(kernel)))
    dilations = integers(arguments.get("dilations", [1] * len(kernel)))
    pairs = []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        needed = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        less, more = needed // 2, needed - needed // 2
        pairs.append([less, more] if kind == "same" else [more, less])
    return pairs


def backwards(pairs: list[list[int]]) -> list[int]:
    """Return padding in the order of `torch.nn.functional.pad`: last dimension first."""
    return [n for pair in reversed(pairs) for n in pair]
