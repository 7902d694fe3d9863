"""What each MIL operation means, in PyTorch; as many as edgekit's students need.

Source: the operation reference of coremltools (coremltools.converters.mil.mil.ops.defs).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Arguments: TypeAlias = Mapping[str, Any]
"""Parameter -> tensor, string, or list of tensors."""
Meaning: TypeAlias = Callable[[Arguments], Any]


def _integers(value: Any) -> list[int]:
    return [int(n) for n in np.asarray(value).reshape(-1)]


def _one(value: Any) -> Any:
    return np.asarray(value).reshape(-1)[0].item()


def _flag(arguments: Arguments, name: str) -> bool:
    return bool(_one(arguments[name])) if name in arguments else False


def _padding(arguments: Arguments, x: Tensor, kernel: list[int]) -> list[int]:
    """Return padding in the order of `torch.nn.functional.pad`: last dimension first."""
    dimensions = len(kernel)
    kind = arguments.get("pad_type", "valid")
    if kind == "valid":
        return [0] * (2 * dimensions)
    if kind == "custom":
        pairs = np.array(_integers(arguments["pad"])).reshape(dimensions, 2).tolist()
    else:
        strides = _integers(arguments.get("strides", [1] * dimensions))
        dilations = _integers(arguments.get("dilations", [1] * dimensions))
        pairs = []
        for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
            needed = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
            less, more = needed // 2, needed - needed // 2
            pairs.append([less, more] if kind == "same" else [more, less])
    return [n for pair in reversed(pairs) for n in pair]


def _conv(arguments: Arguments) -> Tensor:
    x, weight = arguments["x"], arguments["weight"]
    padded = F.pad(x, _padding(arguments, x, list(weight.shape[2:])))
    groups = int(_one(arguments.get("groups", 1)))
    return F.conv2d(
        padded,
        weight,
        arguments.get("bias"),
        _integers(arguments.get("strides", [1, 1])),
        0,
        _integers(arguments.get("dilations", [1, 1])),
        groups,
    )


def _avg_pool(arguments: Arguments) -> Tensor:
    x = arguments["x"]
    kernel = _integers(arguments["kernel_sizes"])
    strides = _integers(arguments.get("strides", kernel))
    if _flag(arguments, "ceil_mode"):
        raise NotImplementedError("avg_pool with ceil_mode")
    around = _padding(arguments, x, kernel)
    pooled = F.avg_pool2d(F.pad(x, around), kernel, strides)
    if _flag(arguments, "exclude_padding_from_average"):
        pooled = pooled / F.avg_pool2d(F.pad(torch.ones_like(x), around), kernel, strides)
    return pooled


def _matmul(arguments: Arguments) -> Tensor:
    x, y = arguments["x"], arguments["y"]
    x = x.transpose(-1, -2) if _flag(arguments, "transpose_x") else x
    y = y.transpose(-1, -2) if _flag(arguments, "transpose_y") else y
    return torch.matmul(x, y)


def _reduced(function: Callable[..., Tensor]) -> Meaning:
    def meaning(arguments: Arguments) -> Tensor:
        x = arguments["x"]
        axes = _integers(arguments["axes"]) if "axes" in arguments else list(range(x.ndim))
        return function(x, dim=axes, keepdim=_flag(arguments, "keep_dims"))

    return meaning


def _reshape(arguments: Arguments) -> Tensor:
    x = arguments["x"]
    sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(_integers(arguments["shape"]))]
    reshaped: Tensor = x.reshape(sizes)
    return reshaped


def _squeeze(arguments: Arguments) -> Tensor:
    x: Tensor = arguments["x"]
    if "axes" not in arguments:
        return x.squeeze()
    return x.squeeze(tuple(_integers(arguments["axes"])))


def _expand_dims(arguments: Arguments) -> Tensor:
    x: Tensor = arguments["x"]
    axes = _integers(arguments["axes"])
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _split(arguments: Arguments) -> list[Tensor]:
    x, axis = arguments["x"], int(_one(arguments["axis"]))
    if "split_sizes" in arguments:
        return list(torch.split(x, _integers(arguments["split_sizes"]), axis))
    return list(torch.chunk(x, int(_one(arguments["num_splits"])), axis))


def _slice_by_index(arguments: Arguments) -> Tensor:
    x: Tensor = arguments["x"]
    strides = _integers(arguments.get("stride", [1] * x.ndim))
    if any(stride < 1 for stride in strides):
        raise NotImplementedError("slice_by_index backwards")
    masks = {
        name: [bool(flag) for flag in np.asarray(arguments.get(name, [False] * x.ndim))]
        for name in ("begin_mask", "end_mask", "squeeze_mask")
    }
    parts: list[int | slice] = []
    for i, (begin, end) in enumerate(
        zip(_integers(arguments["begin"]), _integers(arguments["end"]), strict=True)
    ):
        if masks["squeeze_mask"][i]:
            parts.append(begin)
        else:
            first = None if masks["begin_mask"][i] else begin
            last = None if masks["end_mask"][i] else end
            parts.append(slice(first, last, strides[i]))
    return x[tuple(parts)]


def _upsample(arguments: Arguments) -> Tensor:
    factors = [float(_one(arguments[f"scale_factor_{side}"])) for side in ("height", "width")]
    return F.interpolate(arguments["x"], scale_factor=factors, mode="nearest")


def _batch_norm(arguments: Arguments) -> Tensor:
    return F.batch_norm(
        arguments["x"],
        arguments["mean"],
        arguments["variance"],
        arguments.get("gamma"),
        arguments.get("beta"),
        eps=float(_one(arguments.get("epsilon", 1e-5))),
    )


def _instance_norm(arguments: Arguments) -> Tensor:
    return F.instance_norm(
        arguments["x"],
        weight=arguments.get("gamma"),
        bias=arguments.get("beta"),
        eps=float(_one(arguments.get("epsilon", 1e-5))),
    )


def _layer_norm(arguments: Arguments) -> Tensor:
    x: Tensor = arguments["x"]
    axes = sorted(axis % x.ndim for axis in _integers(arguments["axes"]))
    if axes != list(range(axes[0], x.ndim)):
        raise NotImplementedError("layer_norm over other than the last axes")
    epsilon = float(_one(arguments.get("epsilon", 1e-5)))
    shape = list(x.shape[axes[0] :])
    return F.layer_norm(x, shape, arguments.get("gamma"), arguments.get("beta"), epsilon)


def _affine_dequantize(arguments: Arguments) -> Tensor:
    """Widen int8 weights: (data - zero point) x scale, one of each a channel along `axis`."""
    data = torch.as_tensor(np.asarray(arguments["quantized_data"]).astype(np.float32))
    shape = [1] * data.ndim
    shape[int(_one(arguments["axis"]))] = -1

    def along(name: str) -> Tensor:
        values = torch.as_tensor(np.asarray(arguments[name]).astype(np.float32))
        return values if values.ndim == 0 else values.reshape(shape)

    return (data - along("zero_point")) * along("scale")


def _cast(arguments: Arguments) -> Tensor:
    kinds = {"fp16": torch.float16, "fp32": torch.float32, "int32": torch.int32}
    x: Tensor = arguments["x"]
    cast = x.to(kinds[arguments["dtype"]])
    return cast.float() if cast.is_floating_point() else cast


def _pad(arguments: Arguments) -> Tensor:
    mode = arguments.get("mode", "constant")
    if mode != "constant":
        raise NotImplementedError(f"pad in mode {mode}")
    pairs = np.array(_integers(arguments["pad"])).reshape(-1, 2)  # of the last dimensions, in order
    value = float(_one(arguments.get("constant_val", 0.0)))
    return F.pad(arguments["x"], [int(n) for pair in pairs[::-1] for n in pair], value=value)


def _unary(function: Callable[[Tensor], Tensor]) -> Meaning:
    return lambda arguments: function(arguments["x"])


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Meaning:
    return lambda arguments: function(arguments["x"], arguments["y"])


def _clip(arguments: Arguments) -> Tensor:
    x: Tensor = arguments["x"]
    return x.clamp(float(_one(arguments["alpha"])), float(_one(arguments["beta"])))


MEANING: dict[str, Meaning] = {
    "add": _binary(operator.add),
    "sub": _binary(operator.sub),
    "mul": _binary(operator.mul),
    "real_div": _binary(operator.truediv),
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "pow": _binary(torch.pow),
    "relu": _unary(torch.relu),
    "tanh": _unary(torch.tanh),
    "sigmoid": _unary(torch.sigmoid),
    "silu": _unary(F.silu),
    "exp": _unary(torch.exp),
    "sqrt": _unary(torch.sqrt),
    "square": _unary(torch.square),
    "identity": _unary(lambda x: x),
    "rsqrt": lambda a: torch.rsqrt(a["x"] + float(_one(a.get("epsilon", 1e-12)))),
    "leaky_relu": lambda a: F.leaky_relu(a["x"], float(_one(a.get("alpha", 0.01)))),
    "clip": _clip,
    "softmax": lambda a: torch.softmax(a["x"], int(_one(a.get("axis", -1)))),
    "conv": _conv,
    "linear": lambda a: F.linear(a["x"], a["weight"], a.get("bias")),
    "matmul": _matmul,
    "avg_pool": _avg_pool,
    "upsample_nearest_neighbor": _upsample,
    "reduce_mean": _reduced(torch.mean),
    "reduce_sum": _reduced(torch.sum),
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "reshape": _reshape,
    "transpose": lambda a: a["x"].permute(_integers(a["perm"])),
    "squeeze": _squeeze,
    "expand_dims": _expand_dims,
    "concat": lambda a: torch.cat(a["values"], int(_one(a["axis"]))),
    "split": _split,
    "slice_by_index": _slice_by_index,
    "pad": _pad,
    "cast": _cast,
    "constexpr_affine_dequantize": _affine_dequantize,
}
"""Operation -> its meaning."""
