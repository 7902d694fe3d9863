"""OpenVINO: a folder of model.xml and model.bin, read by OpenVINO's runtime on CPUs and Intel GPUs.

Names of operations hold counters of the process that converted; they are numbered anew, so that
an export that is repeated gives the same bytes.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from edgekit.core.seams import Precision
from edgekit.core.telemetry import silenced
from edgekit.export.program import Program, exported
from edgekit.export.rewrites import rewritten_for
from edgekit.export.targets import Sources
from edgekit.export.targets.ports import file_port as file_port

silenced()
import openvino as ov  # noqa: E402 - its telemetry has to be switched off first

from edgekit.export.quantize_openvino import SHIPPED, quantized  # noqa: E402

MODEL = "model.xml"
MIN_WEIGHTS = 256
_STORED = ("Constant",)


def recipes(precision: Precision) -> tuple[str, ...]:
    """Return the recipes of `precision`, the best first."""
    return SHIPPED if precision == "int8" else ("plain",)


def convert(
    program: Program, path: Path, *, precision: Precision, recipe: str, sources: Sources
) -> str:
    """Write `program` to the folder `path`; fp16 and int8 start from the fp32 folder."""
    if precision == "fp32":
        program, rewrites = rewritten_for("openvino", program)
        save(converted(program), path, half=False)
        return f"openvino.convert_model of the torch program, float32{rewrites}"
    model = ov.Core().read_model(sources.made("fp32") / MODEL)
    if precision == "fp16":
        save(model, path, half=True)
        return "weights stored as float16, computed in float32 (in float16 on a GPU)"
    names = [port.name for port in program.inputs]
    feeds = [[feed[name] for name in names] for feed in sources.calibration()]
    pictures = {port.name for port in (*program.inputs, *program.outputs) if len(port.shape) == 4}
    made, words = quantized(model, feeds, recipe=recipe, pictures=pictures)
    save(made, path, half=True)
    return f"{words}; weights that stay float are stored as float16"


def converted(program: Program) -> Any:
    """Return the OpenVINO model of a program, with the ports' names and fixed shapes."""
    with torch.no_grad():
        model = ov.convert_model(
            exported(program),
            input=[ov.PartialShape(list(port.shape)) for port in program.inputs],
        )
    for operation in model.get_ordered_ops():
        for value in operation.outputs():  # a node that is optimized away lends its name to a port
            value.get_tensor().set_names(set())
    for values, ports in ((model.inputs, program.inputs), (model.outputs, program.outputs)):
        for value, port in zip(values, ports, strict=True):
            value.get_tensor().set_names({port.name})
    return model


def save(model: Any, path: Path, *, half: bool) -> None:
    """Write a model to the folder `path`; with `half` its float weights take 16 bits."""
    _number(model)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        folder = Path(scratch) / "made"
        folder.mkdir()
        ov.save_model(model, folder / MODEL, compress_to_fp16=half)
        shutil.rmtree(path, ignore_errors=True)
        folder.rename(path)


def _number(model: Any) -> None:
    """Name operations by their place in the model, not by a counter of the process."""
    for place, operation in enumerate(model.get_ordered_ops()):
        stem = re.sub(r"(_\d+)+$", "", operation.get_friendly_name()) or operation.get_type_name()
        operation.set_friendly_name(f"{stem}_{place}")
    model.set_friendly_name("edgekit")


def _operations(path: Path) -> list[Any]:
    return list(ov.Core().read_model(path / MODEL).get_ordered_ops())


def operators(path: Path) -> dict[str, int]:
    """Return operator -> count, as stored in the file."""
    found = Counter(str(operation.get_type_name()) for operation in _operations(path))
    return {name: count for name, count in sorted(found.items()) if name not in _STORED}


def weight_elements(path: Path) -> dict[str, int]:
    """Return stored type -> number of weights."""
    names = {"f32": "float32", "f16": "float16", "i8": "int8", "u8": "uint8", "i64": "int64"}
    found: Counter[str] = Counter()
    for operation in _operations(path):
        if operation.get_type_name() not in _STORED:
            continue
        count = 1
        for side in operation.get_output_shape(0):
            count *= int(side)
        if count >= MIN_WEIGHTS:
            kind = operation.get_output_element_type(0).get_type_name()
            found[names.get(kind, kind)] += count
    return dict(found)
