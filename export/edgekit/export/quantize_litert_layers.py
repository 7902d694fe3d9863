"""One choice for each layer of a LiteRT file, by ai-edge-quantizer with one expression a layer.

The weights are put on their grid before (in the float file's own buffers), so that the quantizer,
which rounds to nearest, finds nothing left to round.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import algorithm_manager, qtyping, quantizer

from edgekit.core.store import write_bytes
from edgekit.core.tensors import Batch
from edgekit.export.program import Feed

Choice: TypeAlias = Literal["float", "half", "w8", "d8", "s8"]
OPERATORS = {
    "CONV_2D": "CONV_2D",
    "DEPTHWISE_CONV_2D": "DEPTHWISE_CONV_2D",
    "TRANSPOSE_CONV": "CONV_2D_TRANSPOSE",
    "FULLY_CONNECTED": "FULLY_CONNECTED",
}
"""Operators with weights -> their name in ai-edge-quantizer."""
_BUILTIN = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
_FLOAT32 = schema.TensorType.FLOAT32


class FloatFile:
    """The float32 file, read once: its weights by tensor, and which operator takes each."""

    def __init__(self, path: Path) -> None:
        """Read `path`."""
        self.path = path
        self._content = path.read_bytes()
        model = self._model()
        self.weights: dict[str, Batch] = {}
        """Name of a tensor -> its values, of those that an operator of `OPERATORS` takes."""
        self.taker: dict[str, tuple[str, str]] = {}
        """Name of a weight -> name of the operator, expression that only its result matches."""
        graph = model.subgraphs[0]
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            kind = _BUILTIN[max(code.builtinCode, code.deprecatedBuiltinCode)]
            if kind not in OPERATORS:
                continue
            tensor = graph.tensors[operator.inputs[1]]
            data = model.buffers[tensor.buffer].data
            if data is None or tensor.type != _FLOAT32:
                continue
            name = tensor.name.decode()
            self.weights[name] = np.frombuffer(bytes(data), np.float32).reshape(tensor.shape)
            given = graph.tensors[operator.outputs[0]].name.decode()
            self.taker[name] = (OPERATORS[kind], f"^{re.escape(given)};?$")

    def _model(self) -> Any:
        return flatbuffer_utils.read_model_from_bytearray(bytearray(self._content))

    def with_weights(self, weights: Mapping[str, Batch]) -> bytes:
        """Return the file with other values in some weights."""
        model = self._model()
        for tensor in model.subgraphs[0].tensors:
            name = tensor.name.decode()
            if name in weights:
                value = np.ascontiguousarray(weights[name], np.float32)
                model.buffers[tensor.buffer].data = np.frombuffer(value.tobytes(), np.uint8)
        return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def write_layers(
    source: FloatFile,
    path: Path,
    *,
    choices: Mapping[str, Choice],
    weights: Mapping[str, Batch],
    feeds: Sequence[Feed],
) -> None:
    """Write the float file to `path` with one choice for each weight, by the name of its tensor.

    `weights` replaces values; `feeds` (of the file's own ports) are read for ``s8`` only.
    """
    work = quantizer.Quantizer(bytearray(source.with_weights(weights)))
    for name, choice in choices.items():
        kind, expression = source.taker[name]
        operation = qtyping.TFLOperationName(kind)
        if choice == "d8":
            work.add_dynamic_config(regex=expression, operation_name=operation, num_bits=8)
        elif choice == "w8":
            work.add_weight_only_config(regex=expression, operation_name=operation, num_bits=8)
        elif choice == "s8":
            work.add_static_config(
                regex=expression,
                operation_name=operation,
                activation_num_bits=8,
                weight_num_bits=8,
            )
        elif choice == "half":
            _half(work, expression, operation)
    _write(work, path, feeds)


def _write(work: quantizer.Quantizer, path: Path, feeds: Sequence[Feed]) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ranges = None
        if work.need_calibration:
            ranges = work.calibrate({"edit": list(feeds)}, num_threads=1)
        made = work.quantize(ranges).quantized_model
    write_bytes(path, bytes(made))


def _half(work: quantizer.Quantizer, expression: str, operation: Any) -> None:
    work.update_quantization_recipe(
        regex=expression,
        operation_name=operation,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(
                num_bits=16, dtype=qtyping.TensorDataType.FLOAT
            ),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )


def static_int8(source: Path, path: Path, *, feeds: Sequence[Feed]) -> str:
    """Quantize all that ai-edge-quantizer can to static int8, with float ports."""
    work = quantizer.Quantizer(str(source))
    every = qtyping.TFLOperationName.ALL_SUPPORTED
    work.add_static_config(
        regex=".*", operation_name=every, activation_num_bits=8, weight_num_bits=8
    )
    for edge in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        work.update_quantization_recipe(
            regex=".*",
            operation_name=edge,
            algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE,
        )
    _write(work, path, feeds)
    return f"static int8 of all operators, float ports; {len(feeds)} calibration samples"
