"""Convolutions, products, attention, norms and pools.

Source: conv, linear, normalization, pool and transformers of the operation reference of
coremltools (coremltools.converters.mil.mil.ops.defs, iOS15 to iOS18).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekit.export.mil.values import (
    Arguments,
    Meaning,
    backwards,
    flag,
    integers,
    number,
    tensor,
    whole,
    windows_padding,
)


def _optional(arguments: Arguments, name: str) -> Tensor | None:
    return tensor(arguments[name]) if name in arguments else None


def _conv(arguments: Arguments) -> Tensor:
    x, weight = tensor(arguments["x"]), tensor(arguments["weight"])
    spatial = x.ndim - 2
    function: Any = (F.conv1d, F.conv2d, F.conv3d)[spatial - 1]
    padded = F.pad(x, backwards(windows_padding(arguments, x, list(weight.shape[2:]))))
    strides, dilations = (
        integers(arguments.get(name, [1] * spatial)) for name in ("strides", "dilations")
    )
    groups = whole(arguments, "groups", 1)
    made: Tensor = function(
        padded, weight, _optional(arguments, "bias"), strides, 0, dilations, groups
    )
    return made


def _conv_transpose(arguments: Arguments) -> Tensor:
    """Spread without padding, then cut: `output_shape` or the padding says how much is left.

    Where `output_shape` asks for more than was spread (output_padding), the rest is the bias.
    """
    x, weight = tensor(arguments["x"]), tensor(arguments["weight"])
    spatial = x.ndim - 2
    function: Any = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[spatial - 1]
    strides, dilations = (
        integers(arguments.get(name, [1] * spatial)) for name in ("strides", "dilations")
    )
    spread: Tensor = function(
        x, weight, None, strides, 0, 0, whole(arguments, "groups", 1), dilations
    )
    kind = str(arguments.get("pad_type", "valid")).lower()
    full = list(spread.shape[2:])
    if "output_shape" in arguments:
        sizes = integers(arguments["output_shape"])[2:]
    elif kind == "same":
        sizes = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
    else:
        sizes = full
    if kind == "custom":
        pairs = windows_padding(arguments, x, list(weight.shape[2:]))
        if "output_shape" not in arguments:
            sizes = [n - before - after for n, (before, after) in zip(full, pairs, strict=True)]
        starts = [before for before, _ in pairs]
    else:
        starts = [max(n - size, 0) // 2 for n, size in zip(full, sizes, strict=True)]
    around = [
        [-start, start + size - n] for start, size, n in zip(starts, sizes, full, strict=True)
    ]
    cut = F.pad(spread, backwards(around))
    bias = _optional(arguments, "bias")
    return cut if bias is None else cut + bias.reshape([1, -1] + [1] * spatial)


def _pool(arguments: Arguments, fill: float) -> tuple[Tensor, Tensor, list[int], list[int]]:
    """Return the padded input, ones where it is real, kernel and strides."""
    x = tensor(arguments["x"])
    kernel = integers(arguments["kernel_sizes"])
    strides = integers(arguments.get("strides", [1] * len(kernel)))
    pairs = windows_padding(arguments, x, kernel)
    if flag(arguments, "ceil_mode"):
        for i, (size, k, stride) in enumerate(zip(x.shape[2:], kernel, strides, strict=True)):
            padded = size + sum(pairs[i])
            last = -(-(padded - k) // stride)
            if last * stride >= size + pairs[i][0]:  # a window may not start behind the input
                last -= 1
            pairs[i][1] += max(last * stride + k - padded, 0)
    around = backwards(pairs)
    real = F.pad(torch.ones_like(x[:1, :1]), around)
    return F.pad(x, around, value=fill), real, kernel, strides


def _avg_pool(arguments: Arguments) -> Tensor:
    padded, real, kernel, strides = _pool(arguments, 0.0)
    function: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    pooled: Tensor = function(padded, kernel, strides)
    if flag(arguments, "exclude_padding_from_average"):
        pooled = pooled / function(real, kernel, strides)
    elif flag(arguments, "ceil_mode") and bool((function(real, kernel, strides) != 1).any()):
        raise NotImplementedError("avg_pool with ceil_mode whose padding counts")
    return pooled


def _max_pool(arguments: Arguments) -> Tensor:
    padded, _, kernel, strides = _pool(arguments, -torch.inf)
    function: Any = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    pooled: Tensor = function(padded, kernel, strides)
    return pooled


def _l2_pool(arguments: Arguments) -> Tensor:
    padded, _, kernel, strides = _pool(arguments, 0.0)
    function: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    count = torch.tensor(kernel).prod()
    pooled: Tensor = (function(padded.square(), kernel, strides) * count).sqrt()
    return pooled


def _linear(arguments: Arguments) -> Tensor:
    x, weight = tensor(arguments["x"]), tensor(arguments["weight"])
    return F.linear(x, weight, _optional(arguments, "bias"))


def _matmul(arguments: Arguments) -> Tensor:
    x, y = tensor(arguments["x"]), tensor(arguments["y"])
    x = x.transpose(-1, -2) if flag(arguments, "transpose_x") else x
    y = y.transpose(-1, -2) if flag(arguments, "transpose_y") else y
    return torch.matmul(x, y)


def _einsum(arguments: Arguments) -> Tensor:
    return torch.einsum(str(arguments["equation"]), *[tensor(v) for v in arguments["values"]])


def _attention(arguments: Arguments) -> Tensor:
    query, key, value = (tensor(arguments[name]) for name in ("query", "key", "value"))
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    mask = _optional(arguments, "attn_mask")
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        )
    return torch.softmax(scores, -1) @ value


def _batch_norm(arguments: Arguments) -> Tensor:
    return F.batch_norm(
        tensor(arguments["x"]),
        tensor(arguments["mean"]),
        tensor(arguments["variance"]),
        _optional(arguments, "gamma"),
        _optional(arguments, "beta"),
        eps=number(arguments, "epsilon", 1e-5),
    )


def _instance_norm(arguments: Arguments) -> Tensor:
    return F.instance_norm(
        tensor(arguments["x"]),
        weight=_optional(arguments, "gamma"),
        bias=_optional(arguments, "beta"),
        eps=number(arguments, "epsilon", 1e-5),
    )


def _layer_norm(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    given = integers(arguments["axes"]) if "axes" in arguments else list(range(x.ndim))
    axes = sorted(axis % x.ndim for axis in given)
    shape = [n if axis in axes else 1 for axis, n in enumerate(x.shape)]
    centred = x - x.mean(axes, keepdim=True)
    variance = centred.square().mean(axes, keepdim=True)
    made = centred * torch.rsqrt(variance + number(arguments, "epsilon", 1e-5))
    gamma, beta = _optional(arguments, "gamma"), _optional(arguments, "beta")
    made = made if gamma is None else made * gamma.reshape(shape)
    return made if beta is None else made + beta.reshape(shape)


def _l2_norm(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    total = x.square().sum((-3, -2, -1), keepdim=True)
    return x * torch.rsqrt(total + number(arguments, "epsilon", 1e-6))


LAYERS: dict[str, Meaning] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "matmul": _matmul,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "l2_pool": _l2_pool,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "l2_norm": _l2_norm,
}
"""Operation -> its meaning."""
