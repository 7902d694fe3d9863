"""ExecuTorch programs (.pte): XNNPACK on any CPU, or Core ML on Apple's devices.

A program knows its inputs by position only; their names travel in a method of their own that
returns a JSON text, so that nobody has to guess an order.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCHAO_FORCE_SKIP_LOADING_SO_FILES", "1")  # built for another torch

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch.export import ExportedProgram

from edgekit.core.seams import Precision
from edgekit.core.store import write_bytes
from edgekit.export.executorch_file import MIN_WEIGHTS, instructions, stored_weights
from edgekit.export.program import Program, exported
from edgekit.export.quantize_executorch import INT8_RECIPES, quantized
from edgekit.export.rewrites import rewritten_for
from edgekit.export.targets import Refused, Sources
from edgekit.export.targets.ports import file_port as file_port

PORTS = "edgekit_ports"
"""Method that returns the names of the ports as JSON: {"inputs": […], "outputs": […]}."""


def recipes(precision: Precision) -> tuple[str, ...]:
    """Return the recipes of `precision`, the best first."""
    return INT8_RECIPES if precision == "int8" else ("plain",)


def convert(
    program: Program, path: Path, *, precision: Precision, recipe: str, sources: Sources
) -> str:
    """Write `program` to `path`; int8 is calibrated on the saved program, not on a file."""
    program, rewrites = rewritten_for("pte", program)
    if sources.options.delegate == "coreml":
        return _core_ml(program, path, precision, ios=sources.options.ios)
    if precision == "fp16":
        raise Refused(
            "XNNPACK programs keep their weights in float32 whatever the model's type, so an fp16 "
            "file would be as large as fp32 and, on most CPUs, no faster"
        )
    if precision == "fp32":
        write(exported(program), program, path)
        return f"to_edge_transform_and_lower, XNNPACK delegate, float32{rewrites}"
    made, words = quantized(program, sources.calibration(), recipe=recipe)
    write(made, program, path)
    return f"{words}; XNNPACK delegate{rewrites}"


def _core_ml(program: Program, path: Path, precision: Precision, *, ios: int) -> str:
    """Hand everything to Core ML; such a program cannot be executed outside Apple's systems."""
    if precision not in ("fp32", "fp16"):
        raise Refused("int8 for Core ML is written by the target ios, not through ExecuTorch")
    import coremltools as ct
    from executorch.backends.apple.coreml.compiler import CoreMLBackend
    from executorch.backends.apple.coreml.partition import CoreMLPartitioner

    half = precision == "fp16"
    specs = CoreMLBackend.generate_compile_specs(
        compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
        minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
    )
    write(exported(program), program, path, [CoreMLPartitioner(compile_specs=specs)])
    words = "weights and computation in float16" if half else "float32"
    return f"to_edge_transform_and_lower, Core ML delegate for iOS {ios}, {words}; not executed"


def write(
    made: ExportedProgram, program: Program, path: Path, partitioner: list[Any] | None = None
) -> None:
    """Lower a program, to XNNPACK unless told otherwise, and write it to `path`."""
    names = {
        "inputs": [port.name for port in program.inputs],
        "outputs": [port.name for port in program.outputs],
    }
    with torch.no_grad():
        edge = to_edge_transform_and_lower(
            made,
            partitioner=partitioner or [XnnpackPartitioner()],
            constant_methods={PORTS: json.dumps(names)},
        )
    write_bytes(path, bytes(edge.to_executorch().buffer))


def operators(path: Path) -> dict[str, int]:
    """Return operator -> count; what a delegate runs is written ``Backend: Operator``."""
    return dict(sorted(instructions(path).items()))


def weight_elements(path: Path) -> dict[str, int]:
    """Return stored type -> number of weights, of XNNPACK's part of the file."""
    found: Counter[str] = Counter()
    for kind, count in stored_weights(path):
        if count >= MIN_WEIGHTS:
            found[kind] += count
    return dict(found)
