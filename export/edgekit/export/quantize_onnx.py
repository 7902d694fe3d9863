"""Static int8 for ONNX Runtime: uint8 activations, int8 weights per channel, float ports.

Only operators that gain are quantized; what stays float keeps small weights where that costs
little (`quantize_onnx_stored`). Dynamic quantization is left out on purpose: ConvInteger is several
times slower than float there.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from edgekit.export.quantize_onnx_stored import store_smaller


@dataclass(frozen=True, slots=True)
class Choice:
    """What is quantized: operator types, and how many layers near each end stay float."""

    operators: tuple[str, ...]
    float_depth: int = 0
    percentile: bool = False
    """Whether the rarest values of an activation are cut off, instead of none."""
    signed: bool = False
    """Whether activations are int8 around zero, instead of uint8."""

    def words(self) -> str:
        """Say it in words that can be repeated."""
        text = f"static QDQ int8 of {', '.join(self.operators)}"
        if self.float_depth:
            layers = "layer" if self.float_depth == 1 else f"{self.float_depth} layers"
            text += f"; the {layers} next to each input and output stay float"
        kind = "int8" if self.signed else "uint8"
        how = "99.99th percentile" if self.percentile else "MinMax"
        return f"{text}; {kind} activations ({how}), int8 weights per channel"


_CONVOLUTIONS = ("Conv", "Relu", "Resize")
_PRODUCTS = ("MatMul", "Gemm")
INT8_RECIPES: dict[str, Choice] = {
    "ends-1": Choice(_CONVOLUTIONS, 1),
    "ends-2": Choice(_CONVOLUTIONS, 2),
    "ends-3": Choice(_CONVOLUTIONS, 3),
    "convolutions": Choice(_CONVOLUTIONS),
    "all": Choice((*_CONVOLUTIONS, *_PRODUCTS)),
    "percentile": Choice(_CONVOLUTIONS, percentile=True),
    "s8s8": Choice(_CONVOLUTIONS, signed=True),
}
SHIPPED = ("ends-1", "ends-2", "ends-3")
"""Float islands grow to the right, the first that clears the bar ships. The others are kept to be
measured: three-channel layers gain no time in int8 and cost the most accuracy (docs/export.md)."""


class _Reader(CalibrationDataReader):
    """Hands the calibration feeds to ONNX Runtime one by one."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._left = iter(feeds)

    def get_next(self) -> dict[str, Batch] | None:
        feed = next(self._left, None)
        return None if feed is None else dict(feed)


def write_quantized(
    source: Path, path: Path, *, choice: Choice, feeds: Sequence[Feed], **options: object
) -> None:
    """Quantize the fp32 file `source` to QDQ; `options` are those that not all recipes share."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        prepared, made = Path(scratch) / "prepared.onnx", Path(scratch) / "int8.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(made),
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if choice.signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile
            if choice.percentile
            else CalibrationMethod.MinMax,
            extra_options=options,
            op_types_to_quantize=list(choice.operators),
            nodes_to_exclude=_float_layers(onnx.load(prepared), choice),
        )
        model = onnx.load(made)
    del model.graph.value_info[:]  # what any runtime works out by itself
    write_bytes(path, model.SerializeToString(deterministic=True))


def static_int8(
    source: Path, path: Path, *, recipe: str, feeds: Sequence[Feed], smaller: bool = True
) -> str:
    """Quantize the fp32 file `source` into `path` and return the recipe in words.

    `smaller` stores the weights of float layers small too; without it they are kept in float32,
    which is only of use to compare.
    """
    choice = INT8_RECIPES[recipe]
    options: dict[str, object] = {"ActivationSymmetric": True} if choice.signed else {}
    if _mostly_products(source) and not set(_PRODUCTS) & set(choice.operators):
        choice = replace(choice, operators=(*choice.operators, *_PRODUCTS))
        options["MatMulConstBOnly"] = True  # attention's own products stay float
    write_quantized(source, path, choice=choice, feeds=feeds, **options)
    stored = store_smaller(source, path, feeds) if smaller else ""
    return f"{choice.words()}{stored}; {len(feeds)} calibration samples"


def _mostly_products(source: Path) -> bool:
    """Tell whether more weights of a file stand in matrix products than in convolutions.

    A file of convolutions gains nothing from int8 products; one of transformer blocks would hold no
    int8 at all without.
    """
    graph = onnx.load(source).graph
    sizes = {str(tensor.name): math.prod(tensor.dims) for tensor in graph.initializer}
    held: Counter[str] = Counter()
    for node in graph.node:
        held[str(node.op_type)] += max((sizes.get(str(name), 0) for name in node.input), default=0)
    return sum(held[kind] for kind in _PRODUCTS) > held["Conv"]


def _float_layers(model: Any, choice: Choice) -> list[str]:
    """Return the layers at most `float_depth` layers away from a picture that goes in or out.

    An input that is no picture (a base's adapter) is near every layer and says nothing, and so does
    an end without any picture (a code that comes out).
    """
    nodes = list(model.graph.node)
    turned = [_Turned(node) for node in reversed(nodes)]
    ends = ((nodes, model.graph.input), (turned, model.graph.output))
    depths = [_depths(way, pictures) for way, end in ends if (pictures := _pictures(end))]
    return [
        node.name
        for node in nodes
        if node.op_type in _LAYERS
        and any(depth.get(node.name, 1) <= choice.float_depth for depth in depths)
    ]


def _pictures(values: Any) -> list[str]:
    return [str(v.name) for v in values if len(v.type.tensor_type.shape.dim) == 4]


_LAYERS = ("Conv", "Gemm")


class _Turned:
    """A node seen from behind: its outputs are its inputs."""

    def __init__(self, node: Any) -> None:
        self.name, self.op_type = node.name, node.op_type
        self.input, self.output = node.output, node.input


def _depths(nodes: Sequence[Any], start: Sequence[str]) -> dict[str, int]:
    """Return for each layer how many layers the shortest way from `start` passes, itself included.

    `nodes` must stand in an order in which each comes after what it takes.
    """
    depth = dict.fromkeys(start, 0)
    found = {}
    for node in nodes:
        known = [depth[name] for name in node.input if name in depth]
        if not known:
            continue
        here = min(known) + (node.op_type in _LAYERS)
        found[node.name] = here
        for name in node.output:
            depth[name] = min(here, depth.get(name, here))
    return found
