"""Element by element, and along axes: arithmetic, comparisons, activations, reductions.

Source: elementwise_unary, elementwise_binary, activation and reduction of the operation reference
of coremltools (coremltools.converters.mil.mil.ops.defs, iOS15 to iOS18).
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekit.export.mil.values import (
    Arguments,
    Meaning,
    binary,
    flag,
    integers,
    number,
    one,
    tensor,
    unary,
    whole,
    word,
)


def _floor_div(x: Tensor, y: Tensor) -> Tensor:
    return torch.div(x, y, rounding_mode="floor")


def _real_div(x: Tensor, y: Tensor) -> Tensor:
    if x.is_floating_point() or y.is_floating_point():
        return x / y
    return torch.div(x, y, rounding_mode="trunc")  # whole numbers stay whole


def _bits(function: Callable[[Tensor, Tensor], Tensor]) -> Meaning:
    return binary(lambda x, y: function(x.bool(), y.bool()))


_CASTS = {
    "fp16": torch.float16,
    "fp32": torch.float32,
    "int32": torch.int32,
    "bool": torch.bool,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int16": torch.int16,
    "uint16": torch.int32,
}


def _cast(arguments: Arguments) -> Tensor:
    cast = tensor(arguments["x"]).to(_CASTS[word(arguments, "dtype", "fp32")])
    return cast.float() if cast.is_floating_point() else cast


def _clip(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    return x.clamp(float(one(arguments["alpha"])), float(one(arguments["beta"])))


def _clamped_relu(arguments: Arguments) -> Tensor:
    x, alpha = tensor(arguments["x"]), float(one(arguments["alpha"]))
    return torch.where(x >= 0, x, alpha * x).clamp(max=float(one(arguments["beta"])))


def _gelu(arguments: Arguments) -> Tensor:
    x, mode = tensor(arguments["x"]), word(arguments, "mode", "EXACT")
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def _along_channels(arguments: Arguments, name: str) -> Tensor:
    x = tensor(arguments["x"])
    return tensor(arguments[name]).reshape([1, -1] + [1] * (x.ndim - 2))


def _prelu(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    return x.clamp(min=0) + x.clamp(max=0) * _along_channels(arguments, "alpha")


def _softplus_parametric(arguments: Arguments) -> Tensor:
    alpha, beta = (_along_channels(arguments, name) for name in ("alpha", "beta"))
    return alpha * F.softplus(tensor(arguments["x"]) * beta)


def _select(arguments: Arguments) -> Tensor:
    condition = tensor(arguments["cond"]).bool()
    return torch.where(condition, tensor(arguments["a"]), tensor(arguments["b"]))


def _reduced(function: Callable[..., Tensor]) -> Meaning:
    def meaning(arguments: Arguments) -> Tensor:
        x = tensor(arguments["x"])
        axes = integers(arguments["axes"]) if "axes" in arguments else list(range(x.ndim))
        return function(x, dim=axes, keepdim=flag(arguments, "keep_dims"))

    return meaning


def _mean(x: Tensor, *, dim: list[int], keepdim: bool) -> Tensor:
    if not x.is_floating_point():
        raise NotImplementedError("reduce_mean of whole numbers")
    return x.mean(dim, keepdim=keepdim)


def _sum(x: Tensor, *, dim: list[int], keepdim: bool) -> Tensor:
    total = x.sum(dim, keepdim=keepdim)
    return total if x.is_floating_point() else total.to(x.dtype)


def _product(x: Tensor, *, dim: list[int], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in dim), reverse=True):
        x = x.prod(axis, keepdim=keepdim).to(x.dtype)
    return x


def _log_of_sum(x: Tensor, *, dim: list[int], keepdim: bool) -> Tensor:
    return x.sum(dim, keepdim=keepdim).log()


def _absolute_sum(x: Tensor, *, dim: list[int], keepdim: bool) -> Tensor:
    return x.abs().sum(dim, keepdim=keepdim)


def _square_sum(x: Tensor, *, dim: list[int], keepdim: bool) -> Tensor:
    return x.square().sum(dim, keepdim=keepdim)


def _length(x: Tensor, *, dim: list[int], keepdim: bool) -> Tensor:
    return x.square().sum(dim, keepdim=keepdim).sqrt()


def _place_of(function: Callable[..., Tensor]) -> Meaning:
    def meaning(arguments: Arguments) -> Tensor:
        x, axis = tensor(arguments["x"]), whole(arguments, "axis", -1)
        return function(x, dim=axis, keepdim=flag(arguments, "keep_dims")).int()

    return meaning


ELEMENTS: dict[str, Meaning] = {
    "add": binary(operator.add),
    "sub": binary(operator.sub),
    "mul": binary(operator.mul),
    "real_div": binary(_real_div),
    "floor_div": binary(_floor_div),
    "mod": binary(torch.remainder),
    "maximum": binary(torch.maximum),
    "minimum": binary(torch.minimum),
    "pow": binary(torch.pow),
    "equal": binary(torch.eq),
    "not_equal": binary(torch.ne),
    "greater": binary(torch.gt),
    "greater_equal": binary(torch.ge),
    "less": binary(torch.lt),
    "less_equal": binary(torch.le),
    "logical_and": _bits(torch.logical_and),
    "logical_or": _bits(torch.logical_or),
    "logical_xor": _bits(torch.logical_xor),
    "logical_not": unary(lambda x: ~x.bool()),
    "select": _select,
    "cast": _cast,
    "identity": unary(lambda x: x),
    "abs": unary(torch.abs),
    "sign": unary(torch.sign),
    "floor": unary(torch.floor),
    "ceil": unary(torch.ceil),
    "round": unary(torch.round),
    "square": unary(torch.square),
    "sqrt": unary(torch.sqrt),
    "exp": unary(torch.exp),
    "exp2": unary(torch.exp2),
    "erf": unary(torch.erf),
    "sin": unary(torch.sin),
    "cos": unary(torch.cos),
    "tan": unary(torch.tan),
    "asin": unary(torch.asin),
    "acos": unary(torch.acos),
    "atan": unary(torch.atan),
    "sinh": unary(torch.sinh),
    "cosh": unary(torch.cosh),
    "tanh": unary(torch.tanh),
    "atanh": unary(torch.atanh),
    "rsqrt": lambda a: torch.rsqrt(tensor(a["x"]) + number(a, "epsilon", 1e-12)),
    "log": lambda a: torch.log(tensor(a["x"]) + number(a, "epsilon", 1e-45)),
    "inverse": lambda a: 1 / (tensor(a["x"]) + number(a, "epsilon", 1e-4)),
    "threshold": lambda a: tensor(a["x"]).clamp(min=number(a, "alpha", 0.0)),
    "clip": _clip,
    "relu": unary(torch.relu),
    "relu6": unary(F.relu6),
    "leaky_relu": lambda a: F.leaky_relu(tensor(a["x"]), number(a, "alpha", 0.01)),
    "clamped_relu": _clamped_relu,
    "thresholded_relu": lambda a: F.threshold(tensor(a["x"]), number(a, "alpha", 1.0), 0.0),
    "prelu": _prelu,
    "elu": lambda a: F.elu(tensor(a["x"]), number(a, "alpha", 1.0)),
    "gelu": _gelu,
    "silu": unary(F.silu),
    "sigmoid": unary(torch.sigmoid),
    "sigmoid_hard": lambda a: (
        tensor(a["x"]) * number(a, "alpha", 0.2) + number(a, "beta", 0.5)
    ).clamp(0, 1),
    "softplus": unary(F.softplus),
    "softplus_parametric": _softplus_parametric,
    "softsign": unary(F.softsign),
    "scaled_tanh": lambda a: (
        number(a, "alpha", 1.0) * torch.tanh(number(a, "beta", 1.0) * tensor(a["x"]))
    ),
    "linear_activation": lambda a: (
        number(a, "alpha", 1.0) * tensor(a["x"]) + number(a, "beta", 0.0)
    ),
    "softmax": lambda a: torch.softmax(tensor(a["x"]), whole(a, "axis", -1)),
    "reduce_mean": _reduced(_mean),
    "reduce_sum": _reduced(_sum),
    "reduce_max": _reduced(torch.amax),
    "reduce_min": _reduced(torch.amin),
    "reduce_prod": _reduced(_product),
    "reduce_l1_norm": _reduced(_absolute_sum),
    "reduce_l2_norm": _reduced(_length),
    "reduce_sum_square": _reduced(_square_sum),
    "reduce_log_sum": _reduced(_log_of_sum),
    "reduce_log_sum_exp": _reduced(torch.logsumexp),
    "reduce_argmax": _place_of(torch.argmax),
    "reduce_argmin": _place_of(torch.argmin),
}
"""Operation -> its meaning."""
