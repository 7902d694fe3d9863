"""ONNX: one file with its weights inside, written by torch's own exporter, run by ONNX Runtime."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch

from edgekit.core.seams import Precision
from edgekit.core.store import write_bytes
from edgekit.export.adversarial import half_feeds
from edgekit.export.program import Feed, Program, example_inputs
from edgekit.export.quantize_onnx import INT8_RECIPES, SHIPPED, static_int8
from edgekit.export.rewrites import rewritten_for
from edgekit.export.sizes import any_size, dynamic_sides, sides_of
from edgekit.export.targets import Options, Sources
from edgekit.export.targets.ports import file_port as file_port

ALTERNATIVES = tuple(name for name in INT8_RECIPES if name not in SHIPPED)
"""Recipes that are measured by the survey and never ship."""
MIN_WEIGHTS = 256
"""Smaller tensors (biases, shapes, scales) do not decide what a file is."""


def recipes(precision: Precision) -> tuple[str, ...]:
    """Return the recipes of `precision`, the best first."""
    return SHIPPED if precision == "int8" else ("plain",)


def convert(
    program: Program, path: Path, *, precision: Precision, recipe: str, sources: Sources
) -> str:
    """Write `program` to `path`; fp16 and int8 start from the fp32 file."""
    if precision == "fp32":
        return _float32(program, path, sources.options)
    if precision == "fp16":
        return half_file(sources.made("fp32"), path, half_feeds(program, sources))
    if precision == "mixed":
        from edgekit.export.optimize.space_onnx import mixed

        feeds = sources.calibration()
        return mixed(program, sources.made("fp32"), path, recipe=recipe, feeds=feeds)
    return static_int8(sources.made("fp32"), path, recipe=recipe, feeds=sources.calibration())


def _float32(program: Program, path: Path, options: Options) -> str:
    program, rewrites = rewritten_for("onnx", program)
    sides = sides_of(program, options)
    with torch.no_grad():
        made = torch.onnx.export(
            any_size(program, sides) if sides else program.module,
            example_inputs(program),
            dynamic_shapes=tuple(dynamic_sides(p) for p in program.inputs) if sides else None,
            input_names=[port.name for port in program.inputs],
            output_names=[port.name for port in program.outputs],
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    model = made.model_proto
    _forget_origin(model)
    write_bytes(path, model.SerializeToString(deterministic=True))
    opset = model.opset_import[0].version
    words = f"torch.onnx.export (dynamo), opset {opset}, weights inside{rewrites}"
    return f"{words}; pictures of any size, checked at {sides}" if sides else words


def half_file(source: Path, path: Path, feeds: Sequence[Feed] = ()) -> str:
    """Write the fp32 file `source` in float16 to `path`, with float32 ports.

    Nodes that leave float16's range on one of `feeds` stay float32.
    """
    from edgekit.export.half_onnx import half_precision

    model, kept = half_precision(source, feeds)
    write_bytes(path, model.SerializeToString(deterministic=True))
    words = "weights and computation in float16, inputs and outputs stay float32"
    return f"{words}; float32 for {', '.join(kept)}" if kept else words


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop the source lines and paths of the machine that exported, which the exporter embeds."""
    graph = model.graph
    for holder in (model, graph, *graph.node, *graph.initializer, *graph.value_info):
        del holder.metadata_props[:]
    for holder in (*graph.input, *graph.output):
        del holder.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""


def operators(path: Path) -> dict[str, int]:
    """Return operator -> count, as stored in the file."""
    nodes = onnx.load(path).graph.node
    return dict(sorted(Counter(str(node.op_type) for node in nodes).items()))


def weight_elements(path: Path) -> dict[str, int]:
    """Return stored type -> number of weights."""
    found: Counter[str] = Counter()
    tensors: list[Any] = list(onnx.load(path).graph.initializer)
    for tensor in tensors:
        count = math.prod(tensor.dims)
        if count >= MIN_WEIGHTS:
            found[onnx.TensorProto.DataType.Name(tensor.data_type).lower()] += count
    return dict(found)
