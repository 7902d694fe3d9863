"""Static int8 for ONNX Runtime: uint8 activations, int8 weights per channel, float ports.

Only operators that gain are quantized. Dynamic quantization is left out on purpose: ConvInteger
is several times slower than float there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgekit.core.store import write_bytes
from edgekit.core.tensors import Batch
from edgekit.export.program import Feed


@dataclass(frozen=True, slots=True)
class Choice:
    """What is quantized: operator types, and how many layers at each end stay float."""

    operators: tuple[str, ...]
    float_first: int = 0
    float_last: int = 0

    def words(self) -> str:
        """Say it in words that can be repeated."""
        text = f"static QDQ int8 of {', '.join(self.operators)}"
        if self.float_first or self.float_last:
            text += f"; the first {self.float_first} and last {self.float_last} layers stay float"
        return f"{text}; uint8 activations (MinMax), int8 weights per channel"


_CONVOLUTIONS = ("Conv", "Relu", "Resize")
_ALL = (*_CONVOLUTIONS, "MatMul", "Gemm")
INT8_RECIPES: dict[str, Choice] = {
    "all": Choice(_ALL),
    "convolutions": Choice(_CONVOLUTIONS),
    "float-last": Choice(_CONVOLUTIONS, 0, 1),
    "float-ends": Choice(_CONVOLUTIONS, 1, 1),
    "float-ends-2": Choice(_CONVOLUTIONS, 2, 2),
}
"""Float islands grow down the table: the first recipe that clears the bar ships."""


class _Reader(CalibrationDataReader):
    """Hands the calibration feeds to ONNX Runtime one by one."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._left = iter(feeds)

    def get_next(self) -> dict[str, Batch] | None:
        feed = next(self._left, None)
        return None if feed is None else dict(feed)


def static_int8(source: Path, path: Path, *, recipe: str, feeds: Sequence[Feed]) -> str:
    """Quantize the fp32 file `source` into `path` and return the recipe in words."""
    choice = INT8_RECIPES[recipe]
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        prepared, made = Path(scratch) / "prepared.onnx", Path(scratch) / "int8.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(made),
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=list(choice.operators),
            nodes_to_exclude=_float_layers(onnx.load(prepared), choice),
        )
        model = onnx.load(made)
    write_bytes(path, model.SerializeToString(deterministic=True))
    return f"{choice.words()}; {len(feeds)} calibration samples"


def _float_layers(model: Any, choice: Choice) -> list[str]:
    layers = [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    last = layers[len(layers) - choice.float_last :] if choice.float_last else []
    return [*layers[: choice.float_first], *last]
