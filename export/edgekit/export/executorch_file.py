"""What a .pte file holds, read from its own bytes: calls, delegates, and XNNPACK's weights."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from math import prod
from pathlib import Path
from typing import Any

from executorch.backends.xnnpack import serialization as xnnpack
from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader
from executorch.exir._serialize._flatbuffer import _flatc_decompile
from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.exir.schema import DelegateCall, KernelCall

MIN_WEIGHTS = 256
XNNPACK = "XnnpackBackend"
_KINDS = {
    "fp32": "float32",
    "fp16": "float16",
    "qint8": "int8",
    "qcint8": "int8",
    "qint32": "int32",
    "qcint32": "int32",
    "qcint4": "int4",
    "qbint4": "int4",
}
"""XNNPACK's name of a type -> ours; q is quantized, c per channel, b per block."""


def instructions(path: Path) -> Counter[str]:
    """Return call -> count of the method ``forward``; XNNPACK's own operators one by one."""
    program = deserialize_pte_binary(path.read_bytes()).program
    plan = next(plan for plan in program.execution_plan if plan.name == "forward")
    found: Counter[str] = Counter()
    for chain in plan.chains:
        for step in chain.instructions:
            call = step.instr_args
            if isinstance(call, KernelCall):
                found[plan.operators[call.op_index].name] += 1
            elif isinstance(call, DelegateCall):
                delegate = plan.delegates[call.delegate_index]
                if delegate.id != XNNPACK:
                    found[delegate.id] += 1
                    continue
                graph = _graph(program.backend_delegate_data[delegate.processed.index].data)
                for node in graph["xnodes"]:
                    kind = str(node["xnode_union_type"]).removeprefix("XNN").lstrip("_")
                    found[f"{XNNPACK}: {kind}"] += 1
    return found


def stored_weights(path: Path) -> Iterator[tuple[str, int]]:
    """Yield stored type and number of values of each constant that XNNPACK holds."""
    program = deserialize_pte_binary(path.read_bytes()).program
    for delegate in (d for plan in program.execution_plan for d in plan.delegates):
        if delegate.id != XNNPACK:
            continue
        graph = _graph(program.backend_delegate_data[delegate.processed.index].data)
        for value in graph["xvalues"]:
            tensor = value["xvalue_union"]
            tensor = tensor.get("tensor_value", tensor)
            if tensor.get("constant_buffer_idx", 0):
                kind = str(tensor["datatype"]).removeprefix("xnn_datatype_")
                yield _KINDS.get(kind, kind), prod(tensor["dims"])


def _graph(blob: bytes) -> dict[str, Any]:
    """Return XNNPACK's graph as the JSON that its schema describes."""
    header = XNNHeader.from_bytes(blob[: XNNHeader.EXPECTED_LENGTH])
    end = header.flatbuffer_offset + header.flatbuffer_size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        schema, binary = folder / "schema.fbs", folder / "graph.bin"
        schema.write_bytes(resources.files(xnnpack).joinpath("schema.fbs").read_bytes())
        binary.write_bytes(blob[header.flatbuffer_offset : end])
        options = ["--raw-binary", "--strict-json", "--defaults-json"]
        _flatc_decompile(name, str(schema), str(binary), options)
        text = (folder / "graph.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(re.sub(r"(: -?)inf\b", r"\1Infinity", text))
    return found
