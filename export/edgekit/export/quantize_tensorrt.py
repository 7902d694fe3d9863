"""Explicit QDQ int8 as TensorRT takes it: symmetric activations and weights, biases in float.

ONNX Runtime's own default is refused by the parser, because it also quantizes biases (int32 behind
a DequantizeLinear) and gives activations a zero point.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgekit.export.program import Feed
from edgekit.export.quantize_onnx import Choice, write_quantized

INT8_RECIPES = {
    "ends-1": Choice(("Conv", "MatMul"), 1, signed=True),
    "convolutions-1": Choice(("Conv",), 1, signed=True),
    "convolutions-2": Choice(("Conv",), 2, signed=True),
    "convolutions-3": Choice(("Conv",), 3, signed=True),
}
"""Float islands at the pictures grow to the right, the first that clears the bar ships."""


def explicit_int8(source: Path, path: Path, *, recipe: str, feeds: Sequence[Feed]) -> str:
    """Quantize the fp32 file `source` into `path` and return the recipe in words."""
    choice = INT8_RECIPES[recipe]
    write_quantized(
        source,
        path,
        choice=choice,
        feeds=feeds,
        ActivationSymmetric=True,
        WeightSymmetric=True,
        QuantizeBias=False,
    )
    depth = choice.float_depth
    layers = "layer" if depth == 1 else f"{depth} layers"
    return (
        f"explicit QDQ int8 of {', '.join(choice.operators)}, symmetric activations (MinMax) and "
        f"weights per channel, float biases; the {layers} next to each input and output in float; "
        f"{len(feeds)} calibration samples"
    )
