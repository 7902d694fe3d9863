"""float16 for ONNX, with float32 kept where a value would leave float16's range."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgekit.core.onnx_settings import session_settings
from edgekit.export.program import Feed
from edgekit.export.ranges import outside_half


def half_precision(source: Path, feeds: Sequence[Feed]) -> tuple[Any, list[str]]:
    """Return the model of the float32 file `source` in float16, and the nodes kept in float32."""
    model = onnx.load(source)
    kept = outside_half_nodes(source, feeds) if feeds else []
    made = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept or None)
    if kept:
        _join_wide_values(made)
    return made, kept


def outside_half_nodes(source: Path, feeds: Sequence[Feed]) -> list[str]:
    """Return the nodes that give or take a value outside float16's range on any of `feeds`."""
    model = onnx.load(source)
    known = {value.name for value in model.graph.output}
    named = [name for node in model.graph.node for name in node.output if name]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in named if name not in known)
    settings = session_settings()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    largest: dict[str, float] = {}
    for feed in feeds:
        for name, value in zip(named, session.run(named, dict(feed)), strict=True):
            if isinstance(value, np.ndarray) and value.dtype == np.float32 and value.size:
                found = float(np.abs(value).max())
                largest[name] = max(found, largest.get(name, 0.0))
    outside = {name for name, value in largest.items() if outside_half(value)}
    return [node.name for node in model.graph.node if outside & {*node.input, *node.output}]


def _join_wide_values(model: Any) -> None:
    """Let two float32 neighbours pass a value on directly, not through float16 and back."""
    casts = {
        node.output[0]: node
        for node in model.graph.node
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16
    }
    wider = {
        node.output[0]: casts[node.input[0]].input[0]
        for node in model.graph.node
        if node.op_type == "Cast"
        and node.attribute[0].i == TensorProto.FLOAT
        and node.input[0] in casts
    }
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = wider.get(name, name)
    used = {name for node in model.graph.node for name in node.input}
    used |= {value.name for value in model.graph.output}
    while unused := [
        node for node in model.graph.node if node.op_type == "Cast" and node.output[0] not in used
    ]:
        for node in unused:
            model.graph.node.remove(node)
        used = {name for node in model.graph.node for name in node.input}
        used |= {value.name for value in model.graph.output}
