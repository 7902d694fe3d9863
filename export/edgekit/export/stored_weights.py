"""What a model file stores as weights, widened to float32, whatever form they are kept in.

A wrong weight deep inside a network may change the output by less than rounding does (a layer of
a trained student scaled by 1.05: 70 dB, its int8 file: 53 dB). It is found where it is stored:
against the weights of the float32 file of the same converter, which computed the student's
outputs to 1e-4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.manifest import Format
from edgekit.core.seams import Precision
from edgekit.core.tensors import Batch

MIN_ELEMENTS = 16
"""Smaller tensors are scales, sizes and the like."""
LEAST_DB: Mapping[Precision, float] = {"fp16": 50.0, "int8": 15.0, "mixed": 5.0}
"""Least ratio of a weight to what rounding changed of it. float16 keeps 11 bits (68 dB), int8 with
one scale a channel 30 to 45 dB; the rest is for weights with outliers."""
GAIN = 0.02
"""How far the size of a weight may be off, beyond what its own rounding explains."""
SLICE_DB: Mapping[Precision, float] = {"fp16": 40.0, "int8": 6.0}
"""Least ratio for one channel; swapped channels have 0 dB and less."""
MIN_SLICE = 27
"""Elements of a channel that is looked at by itself: a 3 x 3 kernel of three colours."""


def stored_weights(form: Format, path: Path) -> dict[str, Batch] | None:
    """Return name -> weight of a file, or None for a format whose weights cannot be read here."""
    reader = _READERS.get(form)
    return None if reader is None else reader(path)


def first_wrong_weight(
    right: Mapping[str, Batch], found: Mapping[str, Batch], precision: Precision
) -> tuple[str, str] | None:
    """Return the name of the first of the `right` weights that is not in `found`, and why.

    Each right weight must have a partner of its shape; names differ between precisions.
    """
    shapes: dict[tuple[int, ...], list[Batch]] = {}
    for value in found.values():
        shapes.setdefault(value.shape, []).append(value)
    for name, weight in right.items():
        if weight.size < MIN_ELEMENTS or not np.any(weight):
            continue
        reasons = [_difference(weight, other, precision) for other in shapes.get(weight.shape, [])]
        if reasons and None not in reasons:
            nearest = max(reasons, key=lambda reason: reason[0] if reason else math.inf)
            assert nearest is not None
            return name, nearest[1]
    return None


def _difference(weight: Batch, other: Batch, precision: Precision) -> tuple[float, str] | None:
    """Return (ratio in dB, what is wrong) of a stored weight, None if it is the right one."""
    ratio = _ratio_db(weight, other)
    least = LEAST_DB[precision] if weight.ndim > 1 or precision == "fp16" else 3.0
    if ratio < least:
        return ratio, f"is {ratio:.0f} dB from the float32 file's, less than {least:.0f} dB"
    gain = float(np.vdot(weight, other) / np.vdot(weight, weight))
    fixed = weight.ndim > 1 or precision != "mixed"  # a search may correct biases
    if fixed and abs(gain - 1) > GAIN + 2 * 10 ** (-ratio / 10):
        return ratio, f"is {gain:.3f} times the float32 file's"
    if weight.ndim > 1 and precision in SLICE_DB:
        for axis in {0, weight.ndim - 1}:
            worst = _worst_slice(weight, other, axis)
            if worst is not None and worst[0] < SLICE_DB[precision]:
                return ratio, f"has another channel {worst[1]} than the float32 file's"
    return None


def _ratio_db(weight: Batch, other: Batch) -> float:
    error = float(np.sum((weight.astype(np.float64) - other) ** 2))
    power = float(np.sum(weight.astype(np.float64) ** 2))
    return math.inf if error == 0 else 10 * math.log10(max(power, 1e-300) / error)


def _worst_slice(weight: Batch, other: Batch, axis: int) -> tuple[float, int] | None:
    """Return the ratio and the place of the worst channel along `axis` that is worth a look."""
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    theirs = np.moveaxis(other, axis, 0).reshape(rows.shape)
    if rows.shape[1] < MIN_SLICE:
        return None
    power, error = (rows**2).sum(1), ((rows - theirs) ** 2).sum(1)
    loud = power > 1e-2 * power.mean()
    ratios = 10 * np.log10(np.maximum(power, 1e-300) / np.maximum(error, 1e-300))
    ratios = np.where(loud, ratios, np.inf)
    return float(ratios.min()), int(ratios.argmin())


def _of_onnx(path: Path) -> dict[str, Batch]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = {
        name: value.astype(np.float32) for name, value in held.items() if value.dtype.kind == "f"
    }
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in held:
            options = {entry.name: entry.i for entry in node.attribute}
            values = [held.get(name) for name in node.input]
            found[node.input[0]] = _dequantized(values, options)
    return {**found, **_scaled_integers(graph, held)}


def _scaled_integers(graph: Any, held: Mapping[str, Any]) -> dict[str, Batch]:
    """Return the weights of layers that are computed in float: integers behind a Cast and a Mul."""
    wide = {
        node.output[0]: held[node.input[0]].astype(np.float32)
        for node in graph.node
        if node.op_type == "Cast"
        and node.input[0] in held
        and held[node.input[0]].dtype.kind != "f"
    }
    return {
        node.output[0]: np.asarray(wide[node.input[0]] * held[node.input[1]])
        for node in graph.node
        if node.op_type == "Mul" and node.input[0] in wide and node.input[1] in held
    }


def prepared_weights(path: Path) -> dict[str, Batch]:
    """Return the weights of an ONNX file as ONNX Runtime's quantizer sees them.

    It folds factors behind a convolution into it before anything is quantized.
    """
    import tempfile

    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "prepared.onnx"
        quant_pre_process(str(path), str(made), skip_symbolic_shape=True)
        return _of_onnx(made)


def _dequantized(values: Sequence[Any], options: Mapping[str, int]) -> Batch:
    data = np.asarray(values[0]).astype(np.float32)
    zero = np.zeros((), np.float32) if len(values) < 3 else np.asarray(values[2], np.float32)
    scale, block = np.asarray(values[1], np.float32), options.get("block_size", 0)
    axis = options.get("axis", 1)
    if block:
        scale, zero = (np.repeat(v, block, axis) if v.ndim else v for v in (scale, zero))
        cut = tuple(slice(n) for n in data.shape)
        scale, zero = scale[cut], zero[cut] if zero.ndim else zero
    elif scale.ndim == 1 and data.ndim:
        shape = [-1 if i == axis % data.ndim else 1 for i in range(data.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape) if zero.ndim else zero
    return np.asarray((data - zero) * scale)


def _of_tflite(path: Path) -> dict[str, Batch]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    types = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.FLOAT16: np.float16,
        schema.TensorType.INT8: np.int8,
        schema.TensorType.INT32: np.int32,
    }
    found: dict[str, Batch] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            scales: Any = None if tensor.quantization is None else tensor.quantization.scale
            known = tensor.type in types and data is not None and len(data)
            whole = known and types[tensor.type] in (np.int8, np.int32)
            if not known or (whole and scales is None):
                continue
            shape = [int(n) for n in tensor.shape] if tensor.shape is not None else []
            raw = np.frombuffer(bytes(data), types[tensor.type]).reshape(shape)
            name = tensor.name.decode()
            if not whole:
                found[name] = raw.astype(np.float32)
                continue
            zeros = tensor.quantization.zeroPoint
            zero = np.zeros(len(scales)) if zeros is None else np.asarray(zeros)
            axis = tensor.quantization.quantizedDimension
            one = len(scales) == 1
            values = [
                raw,
                np.float32(scales[0]) if one else np.asarray(scales),
                np.float32(zero[0]) if one else zero,
            ]
            found[name] = _dequantized(values, {"axis": int(axis)})
    return found


def _of_mlpackage(path: Path) -> dict[str, Batch]:
    from edgekit.export.mil.session import open_package

    package = open_package(path)
    taken = {
        name
        for operation in package.package.operations
        if operation.kind.startswith("constexpr")
        for names in operation.takes.values()
        for name in names
        if isinstance(name, str)
    }
    return {
        name: value.numpy()
        for name, value in package.fixed.items()
        if name not in taken and hasattr(value, "numpy") and value.is_floating_point()
    }


_READERS: dict[Format, Callable[[Path], dict[str, Batch]]] = {
    "onnx": _of_onnx,
    "tflite": _of_tflite,
    "mlpackage": _of_mlpackage,
}
