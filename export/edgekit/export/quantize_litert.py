"""Smaller LiteRT files by ai-edge-quantizer: half weights, and int8 that needs no calibration."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ai_edge_quantizer import algorithm_manager, qtyping, quantizer
from ai_edge_quantizer.transformations import duplicate_tensor

INT8_RECIPES = ("dynamic", "weights")
"""Dynamic int8 computes in int8 and is about three times faster; weight-only int8 computes in
float and is only smaller. Float ports in both."""

_COMPUTED = ("CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED", "BATCH_MATMUL")
"""Depthwise convolutions are left out: dynamic int8 takes them off XNNPACK, several times slower
than float."""
_STORED = (*_COMPUTED, "DEPTHWISE_CONV_2D")
_HALF = ("CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D")


def int8(source: Path, path: Path, *, recipe: str) -> str:
    """Quantize the fp32 file `source` into `path` and return the recipe in words."""
    work = quantizer.Quantizer(str(source))
    for name in _COMPUTED if recipe == "dynamic" else _STORED:
        operation = qtyping.TFLOperationName(name)
        if recipe == "dynamic":
            work.add_dynamic_config(regex=".*", operation_name=operation, num_bits=8)
        else:
            work.add_weight_only_config(regex=".*", operation_name=operation, num_bits=8)
    _write(work, path)
    if recipe == "dynamic":
        return (
            "dynamic int8: int8 weights per channel, activations quantized on the fly, "
            "depthwise convolutions stay float"
        )
    return "weight-only int8 per channel, computed in float"


def half_weights(source: Path, path: Path) -> str:
    """Store the weights of the fp32 file `source` as float16 in `path`."""
    work = quantizer.Quantizer(str(source))
    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    for name in _HALF:
        work.update_quantization_recipe(
            regex=".*",
            operation_name=qtyping.TFLOperationName(name),
            op_config=qtyping.OpQuantizationConfig(
                weight_tensor_config=weights,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            ),
            algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
        )
    _write(work, path)
    return "weights stored as float16, computed in float32 (in float16 on a GPU)"


def _write(work: quantizer.Quantizer, path: Path) -> None:
    # Beside its place first: an interpreter maps the file, and a mapped file that is overwritten
    # kills its process.
    temporary = path.with_suffix(".part")
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), _names_as_bytes():
        work.quantize(None).export_model(str(temporary), overwrite=True)
    temporary.replace(path)


@contextlib.contextmanager
def _names_as_bytes() -> Iterator[None]:
    """Let a constant that two operators share be split.

    ai-edge-quantizer 0.10.0 gives the copy a name of another type than all others have, and fails
    on it when it inserts what makes it float again.
    """
    original = duplicate_tensor.duplicate_tensor

    def duplicated(given: Any) -> Any:
        made = original(given)
        tensor = given.subgraph.tensors[made.output_tensor_id]
        if isinstance(tensor.name, str):
            tensor.name = tensor.name.encode()
        return made

    duplicate_tensor.duplicate_tensor = duplicated
    try:
        yield
    finally:
        duplicate_tensor.duplicate_tensor = original
