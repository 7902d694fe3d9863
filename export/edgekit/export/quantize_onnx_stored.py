"""Weights of an int8 ONNX file whose layers are computed in float: kept in 8 bits, or in float16.

Which layers stay float is decided before (`quantize_onnx`). How they are kept is decided here, by
what it costs on calibration samples; the file is judged like any other afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from edgekit.core.onnx_settings import session_settings
from edgekit.core.tensors import Batch
from edgekit.export.program import Feed
from edgekit.export.quantize_onnx_layers import LAYERS, Choice, Stored, weights_of, write_layers

LEAST_ELEMENTS = 4096
"""Smaller weights, such as those next to a picture, would save less than 12 KB each: rounding
those of the shipped restorer cost 0.4 to 3 dB for 3 KB (docs/export.md)."""
MOST_LOST_DB = 1.0
"""How much nearer to the float file a file may have been before its float weights got smaller."""
MEASURED_FEEDS = 6
_FORMS: Mapping[Choice, str] = {"w8": "8 bits", "half": "float16"}


def store_smaller(source: Path, path: Path, feeds: Sequence[Feed]) -> str:
    """Rewrite the int8 file `path` with smaller float weights; return words for its recipe.

    8 bits an output channel come first, then float16, and float32 stays where both cost more than
    `MOST_LOST_DB` of what the file had left, measured against the float file `source`.
    """
    weights = _large_weights(path)
    if not weights:
        return ""
    chosen = feeds[-MEASURED_FEEDS:]  # the extremes stand last
    wanted = _outputs(source, chosen)
    before = _errors(wanted, _outputs(path, chosen))
    trial = path.with_name(f"{path.stem}.smaller{path.suffix}")
    try:
        for form, words in _FORMS.items():
            choices = dict.fromkeys(weights, form)
            write_layers(path, trial, choices=choices, weights=weights, ranges={}, how="minmax")
            after = _errors(wanted, _outputs(trial, chosen))
            if _lost_db(before, after) <= MOST_LOST_DB:
                trial.replace(path)
                layers = "layer" if len(weights) == 1 else "layers"
                return f"; weights of {len(weights)} {layers} that stay float in {words}"
    finally:
        trial.unlink(missing_ok=True)
    return ""


def _large_weights(path: Path) -> dict[str, Stored]:
    """Return the large float weights that layers of a file take, on a grid an output channel."""
    model = onnx.load(path)
    axes = {node.input[1]: _output_axis(node) for node in model.graph.node if _is_layer(node)}
    return {
        name: _on_grid(value, axes[name] % value.ndim)
        for name, value in weights_of(model).items()
        if value.size >= LEAST_ELEMENTS
    }


def _is_layer(node: Any) -> bool:
    return node.op_type in LAYERS


def _output_axis(node: Any) -> int:
    """Return the axis of a layer's weight along which its outputs lie."""
    options = {entry.name: entry.i for entry in node.attribute}
    if node.op_type == "ConvTranspose":
        return 1 if options.get("group", 1) == 1 else 0
    if node.op_type == "Gemm":
        return 0 if options.get("transB") else 1
    return -1 if node.op_type == "MatMul" else 0


def _on_grid(weight: Batch, axis: int) -> Stored:
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.maximum(np.abs(weight).max(others) / 127, np.float32(1e-30))
    return Stored(weight, scale.astype(np.float32), axis)


def _outputs(path: Path, feeds: Sequence[Feed]) -> list[list[Batch]]:
    session = onnxruntime.InferenceSession(
        str(path), session_settings(), providers=["CPUExecutionProvider"]
    )
    return [session.run(None, dict(feed)) for feed in feeds]


def _errors(wanted: list[list[Batch]], found: list[list[Batch]]) -> list[float]:
    """Return the squared error of each output over all feeds."""
    pairs = [zip(one, two, strict=True) for one, two in zip(wanted, found, strict=True)]
    each = [[float(np.sum((a.astype(np.float64) - b) ** 2)) for a, b in pair] for pair in pairs]
    return [sum(column) for column in zip(*each, strict=True)]


def _lost_db(before: Sequence[float], after: Sequence[float]) -> float:
    """Return how many decibels the output that lost most is further away than before."""
    ratios = [a / max(b, 1e-30) for b, a in zip(before, after, strict=True)]
    worst = max(ratios)
    return 10 * math.log10(max(worst, 1e-30)) if math.isfinite(worst) else math.inf
