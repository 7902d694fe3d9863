"""Weights stored small, and activations in 8 bits: what each form stands for.

Source: constexpr_ops (iOS16), quantization_ops (iOS17) and compression (iOS18) of the operation
reference of coremltools (coremltools.converters.mil.mil.ops.defs).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgekit.core.tensors import Batch
from edgekit.export.mil.values import Arguments, Meaning, integers, tensor, whole, word


def unpacked(content: bytes, bits: int, count: int, *, signed: bool = False) -> Any:
    """Return `count` whole numbers of `bits` bits each, the lowest bit first.

    >>> unpacked(bytes([0b01101100, 0b00000011]), 2, 5).tolist()
    [0, 3, 2, 1, 3]
    """
    stream = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
    digits = stream[: count * bits].reshape(count, bits).astype(np.int64)
    values = (digits << np.arange(bits)).sum(1)
    if signed:
        values = np.where(values >= 1 << (bits - 1), values - (1 << bits), values)
    return values.astype(np.int8 if signed else np.uint8)


def _array(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else np.asarray(value)


def _along(value: Any, data: Tensor, axis: int) -> Tensor:
    """Shape one number, or one an entry of `axis`, so that it broadcasts to `data`."""
    values = tensor(value).float()
    if values.ndim == 0:
        return values
    shape = [1] * data.ndim
    shape[axis] = -1
    return values.reshape(shape)


def _affine_dequantize(arguments: Arguments) -> Tensor:
    """Widen int8 weights: (data - zero point) x scale, one of each a channel along `axis`."""
    data = tensor(arguments["quantized_data"]).float()
    axis = whole(arguments, "axis", 0)
    shifted = data - _along(arguments["zero_point"], data, axis)
    return shifted * _along(arguments["scale"], data, axis)


def _repeated(values: Tensor, shape: torch.Size) -> Tensor:
    for axis, size in enumerate(shape):
        if values.shape[axis] != size:
            values = values.repeat_interleave(size // values.shape[axis], axis)
    return values


def _blockwise_shift_scale(arguments: Arguments) -> Tensor:
    data = tensor(arguments["data"]).float()
    if "offset" in arguments:
        data = data - _repeated(tensor(arguments["offset"]).float(), data.shape)
    return data * _repeated(tensor(arguments["scale"]).float(), data.shape)


def _lut_to_dense(arguments: Arguments) -> Tensor:
    """Look palette entries up: one palette (iOS 16), or one a block of the weight (iOS 18)."""
    table = _array(arguments["lut"])
    if "shape" in arguments:
        shape = integers(arguments["shape"])
        bits, packed = int(math.log2(table.size)), _array(arguments["indices"]).astype(np.uint8)
        places = unpacked(packed.tobytes(), bits, math.prod(shape))
        return tensor(table.reshape(-1)[places].reshape(shape))
    places = _array(arguments["indices"]).astype(np.int64)
    return tensor(_looked_up(places, table, whole(arguments, "vector_axis", 0)))


def _looked_up(places: Batch, table: Batch, axis: int) -> Batch:
    """Return the entries of `table` (blocks…, entries, vector) at `places`."""
    block = [
        grid * table.shape[i] // places.shape[i] for i, grid in enumerate(np.indices(places.shape))
    ]
    found = table[(*block, places)]  # one vector a place, behind the axes of `places`
    if found.shape[-1] == 1:
        return np.asarray(found[..., 0])
    axis %= places.ndim
    shape = [n * (found.shape[-1] if i == axis else 1) for i, n in enumerate(places.shape)]
    return np.asarray(np.moveaxis(found, -1, axis + 1).reshape(shape))


def _dense(values: Batch, mask: Batch) -> Batch:
    made = np.zeros(mask.shape, values.dtype)
    made[mask != 0] = values.reshape(-1)
    return made


def _sparse_to_dense(arguments: Arguments) -> Tensor:
    values, mask = _array(arguments["nonzero_data"]), _array(arguments["mask"])
    if "shape" in arguments:
        shape = integers(arguments["shape"])
        bits = unpacked(mask.astype(np.uint8).tobytes(), 1, math.prod(shape))
        mask = bits.reshape(shape)
    return tensor(_dense(values, mask))


def _lut_to_sparse(arguments: Arguments) -> list[Tensor]:
    mask, table = _array(arguments["indices_mask"]), _array(arguments["lut"])
    places = _dense(_array(arguments["indices_nonzero_data"]).astype(np.int64), mask)
    axis = whole(arguments, "vector_axis", 0)
    values = _looked_up(places, table, axis)
    kept = np.repeat(mask, table.shape[-1], axis) if table.shape[-1] > 1 else mask
    return [tensor(kept), tensor(values[kept != 0])]


def _sparse_blockwise_shift_scale(arguments: Arguments) -> list[Tensor]:
    mask = _array(arguments["data_mask"])
    data = _dense(_array(arguments["nonzero_data"]), mask)
    values = _blockwise_shift_scale({**arguments, "data": data})
    return [tensor(mask), values[tensor(mask) != 0]]


_RANGES = {"int8": (-128, 127, torch.int8), "uint8": (0, 255, torch.uint8)}


def _quantize(arguments: Arguments) -> Tensor:
    """Round to the nearest level, halves to even, and clip to the type's range."""
    x, axis = tensor(arguments["input"]), whole(arguments, "axis", 0)
    low, high, kind = _RANGES[word(arguments, "output_dtype", "int8")]
    levels = torch.round(x / _along(arguments["scale"], x, axis))
    if "zero_point" in arguments:
        levels = levels + _along(arguments["zero_point"], x, axis)
    return levels.clamp(low, high).to(kind)


def _dequantize(arguments: Arguments) -> Tensor:
    levels, axis = tensor(arguments["input"]).float(), whole(arguments, "axis", 0)
    if "zero_point" in arguments:
        levels = levels - _along(arguments["zero_point"], levels, axis)
    return levels * _along(arguments["scale"], levels, axis)


COMPRESSED: dict[str, Meaning] = {
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "constexpr_cast": lambda a: tensor(a["source_val"]),
    "constexpr_lut_to_dense": _lut_to_dense,
    "constexpr_lut_to_sparse": _lut_to_sparse,
    "constexpr_sparse_to_dense": _sparse_to_dense,
    "constexpr_sparse_blockwise_shift_scale": _sparse_blockwise_shift_scale,
    "quantize": _quantize,
    "dequantize": _dequantize,
}
"""Operation -> its meaning."""
