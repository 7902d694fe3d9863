"""Explicit QDQ int8 as TensorRT takes it: symmetric activations and weights, biases in float.

ONNX Runtime's own default is refused by the parser, because it also quantizes biases (int32 behind
a DequantizeLinear) and gives activations a zero point.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgekit.core.store import write_bytes
from edgekit.export.program import Feed
from edgekit.export.quantize_onnx import Choice, _float_layers, _Reader

INT8_RECIPES = {
    "ends-1": Choice(("Conv", "MatMul"), 1),
    "convolutions-1": Choice(("Conv",), 1),
    "convolutions-2": Choice(("Conv",), 2),
    "convolutions-3": Choice(("Conv",), 3),
}
"""Float islands at the pictures grow to the right, the first that clears the bar ships."""


def explicit_int8(source: Path, path: Path, *, recipe: str, feeds: Sequence[Feed]) -> str:
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
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=list(choice.operators),
            nodes_to_exclude=_float_layers(onnx.load(prepared), choice),
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
        )
        model = onnx.load(made)
    write_bytes(path, model.SerializeToString(deterministic=True))
    depth = choice.float_depth
    layers = "layer" if depth == 1 else f"{depth} layers"
    return (
        f"explicit QDQ int8 of {', '.join(choice.operators)}, symmetric activations (MinMax) and "
        f"weights per channel, float biases; the {layers} next to each input and output in float; "
        f"{len(feeds)} calibration samples"
    )
