"""LiteRT for Android: one signature ``edit`` with named ports, pictures in NHWC."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema

from edgekit.core.manifest import PortEntry
from edgekit.core.seams import Port, Precision
from edgekit.export.program import Program, example_inputs
from edgekit.export.quantize_litert import INT8_RECIPES, half_weights, int8
from edgekit.export.rewrites import rewritten_for
from edgekit.export.targets import Refused, Sources

SIGNATURE = "edit"
MIN_WEIGHTS = 256
_BUILTIN = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
_TYPE = {value: name.lower() for name, value in vars(schema.TensorType).items() if name.isupper()}


def file_port(port: Port, *, output: bool) -> PortEntry:
    """Pictures are NHWC, which Android bitmaps are; all ports stay float32."""
    picture = _is_picture(port)
    batch, *rest = port.shape
    return PortEntry(
        name=port.name,
        shape=(batch, *rest[1:], rest[0]) if picture else port.shape,
        dtype="float32",
        layout="nhwc" if picture else port.layout,
        low=port.low,
        high=port.high,
    )


def _is_picture(port: Port) -> bool:
    return port.layout == "nchw" and len(port.shape) == 4


def recipes(precision: Precision) -> tuple[str, ...]:
    """Return the recipes of `precision`, the best first."""
    return INT8_RECIPES if precision == "int8" else ("plain",)


class _NamedPictures(torch.nn.Module):
    """Takes and returns named tensors with pictures in NHWC, around a plain program."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program.module
        self._inputs = program.inputs
        self._outputs = program.outputs

    def forward(self, **feeds: torch.Tensor) -> dict[str, torch.Tensor]:
        results = self.program(
            *(
                feeds[port.name].permute(0, 3, 1, 2) if _is_picture(port) else feeds[port.name]
                for port in self._inputs
            )
        )
        return {
            port.name: value.permute(0, 2, 3, 1) if _is_picture(port) else value
            for port, value in zip(self._outputs, results, strict=True)
        }


def convert(
    program: Program, path: Path, *, precision: Precision, recipe: str, sources: Sources
) -> str:
    """Write `program` to `path`; fp16 and int8 start from the fp32 file."""
    if sources.options.sizes:
        raise Refused(
            "a LiteRT file of several picture sizes is not written; export one for each size"
        )
    if precision == "fp16":
        return half_weights(sources.made("fp32"), path)
    if precision == "int8":
        return int8(sources.made("fp32"), path, recipe=recipe)
    program, rewrites = rewritten_for("tflite", program)
    samples = {
        port.name: value.permute(0, 2, 3, 1).contiguous() if _is_picture(port) else value
        for port, value in zip(program.inputs, example_inputs(program), strict=True)
    }
    made = litert_torch.signature(
        SIGNATURE, _NamedPictures(program).eval(), sample_kwargs=samples
    ).convert()
    made.export(str(path))
    return f"litert_torch, float32{rewrites}"


def _model(path: Path) -> Any:
    return schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


def operators(path: Path) -> dict[str, int]:
    """Return operator -> count, as stored in the file."""
    model = _model(path)
    codes = [
        code.customCode.decode()
        if code.customCode
        else _BUILTIN[max(code.builtinCode, code.deprecatedBuiltinCode)]
        for code in model.operatorCodes
    ]
    found = Counter(
        codes[operator.opcodeIndex] for graph in model.subgraphs for operator in graph.operators
    )
    return dict(sorted(found.items()))


def weight_elements(path: Path) -> dict[str, int]:
    """Return stored type -> number of weights."""
    model = _model(path)
    found: Counter[str] = Counter()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            count = int(np.prod(tensor.shape)) if tensor.shape is not None else 0
            buffer = model.buffers[tensor.buffer]  # large ones lie behind the flatbuffer: no `data`
            if (buffer.data is not None or buffer.size) and count >= MIN_WEIGHTS:
                found[_TYPE[tensor.type]] += count
    return dict(found)
