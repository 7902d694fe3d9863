"""Core ML packages for iOS 16 and later: pictures in, pictures out, scaling inside the model."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import coremltools as ct
import torch
from coremltools.proto import MIL_pb2, Model_pb2

from edgekit.core.manifest import PortEntry
from edgekit.core.seams import Port, Precision
from edgekit.core.store import write_bytes
from edgekit.export.program import Program, example_inputs
from edgekit.export.quantize_coreml import eight_bit_weights
from edgekit.export.targets import Sources

MIN_WEIGHTS = 256
_SPECIFICATION = "Data/com.apple.CoreML/model.mlmodel"
_TYPES = MIL_pb2.DataType


def is_picture(port: Port) -> bool:
    """Tell whether a port holds three colours, so that an app can hand over a pixel buffer."""
    return port.layout == "nchw" and len(port.shape) == 4 and port.shape[1] == 3


def file_port(port: Port, *, output: bool) -> PortEntry:
    """A picture becomes an image port (uint8 RGB); everything else stays a float32 array."""
    if not is_picture(port):
        return PortEntry(
            name=port.name,
            shape=port.shape,
            dtype="float32",
            layout=port.layout,
            low=port.low,
            high=port.high,
        )
    batch, colours, height, width = port.shape
    return PortEntry(
        name=port.name,
        shape=(batch, height, width, colours),
        dtype="image",
        layout="image",
        low=0.0,
        high=255.0,
    )


def recipes(precision: Precision) -> tuple[str, ...]:
    """Return the recipes of `precision`, the best first."""
    return ("weights",) if precision == "int8" else ("plain",)


class _Pictures(torch.nn.Module):
    """Scales picture outputs to 0..255 and clamps them: the range that an image port holds."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.inner = program.module
        self._outputs = program.outputs

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(
            ((value - port.low) * (255.0 / (port.high - port.low))).clamp(0.0, 255.0)
            if is_picture(port)
            else value
            for port, value in zip(self._outputs, self.inner(*inputs), strict=True)
        )


def convert(
    program: Program, path: Path, *, precision: Precision, recipe: str, sources: Sources
) -> str:
    """Write `program` to the package `path`; int8 starts from the fp16 package."""
    if precision == "int8":
        model = eight_bit_weights(sources.made("fp16"))
        words = "int8 weights per channel (symmetric), computed in float16"
    else:
        model = _converted(program, precision)
        words = "float32" if precision == "fp32" else "weights and computation in float16"
    _save(model, path)
    return f"coremltools, {words}; images scaled inside the model"


def _converted(program: Program, precision: Precision) -> Any:
    with torch.no_grad():
        exported = torch.export.export(_Pictures(program).eval(), example_inputs(program))
    width = ct.precision.FLOAT32 if precision == "fp32" else ct.precision.FLOAT16
    return ct.convert(
        exported.run_decompositions({}),
        inputs=[_input_type(port) for port in program.inputs],
        outputs=[_output_type(port) for port in program.outputs],
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=width,
        skip_model_load=True,
    )


def _input_type(port: Port) -> Any:
    if not is_picture(port):
        return ct.TensorType(port.name, shape=port.shape)
    return ct.ImageType(
        port.name,
        shape=port.shape,
        scale=(port.high - port.low) / 255.0,
        bias=[port.low] * 3,
        color_layout=ct.colorlayout.RGB,
    )


def _output_type(port: Port) -> Any:
    if is_picture(port):
        return ct.ImageType(port.name, color_layout=ct.colorlayout.RGB)
    return ct.TensorType(port.name)


def _save(model: Any, path: Path) -> None:
    """Save a package whose bytes depend on the model alone."""
    beside = path.with_name("package.mlpackage")  # coremltools insists on the suffix
    shutil.rmtree(beside, ignore_errors=True)
    model.save(str(beside))
    specification = beside / _SPECIFICATION
    spec = _read(specification)
    spec.description.metadata.userDefined.pop("com.github.apple.coremltools.conversion_date", None)
    write_bytes(specification, spec.SerializeToString(deterministic=True))
    _repeatable_manifest(beside / "Manifest.json")
    shutil.rmtree(path, ignore_errors=True)
    beside.rename(path)


def _repeatable_manifest(path: Path) -> None:
    """Replace the random identifiers of a package's entries by ones made from their paths."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    entries = manifest["itemInfoEntries"]
    names = {
        old: str(uuid.UUID(hashlib.sha256(entry["path"].encode()).hexdigest()[:32])).upper()
        for old, entry in entries.items()
    }
    manifest["itemInfoEntries"] = {
        names[old]: entries[old] for old in sorted(entries, key=lambda key: names[key])
    }
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    write_bytes(path, json.dumps(manifest, indent=4, sort_keys=True).encode())


def _read(path: Path) -> Any:
    spec = Model_pb2.Model()
    spec.ParseFromString(path.read_bytes())
    return spec


def _operations(path: Path) -> list[Any]:
    spec = _read(path / _SPECIFICATION)
    return [
        operation
        for function in spec.mlProgram.functions.values()
        for operation in function.block_specializations[function.opset].operations
    ]


def operators(path: Path) -> dict[str, int]:
    """Return operator -> count, as stored in the package."""
    found = Counter(str(operation.type) for operation in _operations(path))
    return {name: count for name, count in sorted(found.items()) if name != "const"}


def weight_elements(path: Path) -> dict[str, int]:
    """Return stored type -> number of weights."""
    found: Counter[str] = Counter()
    for operation in _operations(path):
        if operation.type != "const" and not operation.type.startswith("constexpr"):
            continue
        for value in (*operation.attributes.values(), *_immediate(operation)):
            kind = value.type.tensorType
            count = 1
            for dimension in kind.dimensions:
                count *= dimension.constant.size
            if value.WhichOneof("value") == "blobFileValue" and count >= MIN_WEIGHTS:
                found[_TYPES.Name(kind.dataType).lower()] += count
    return dict(found)


def _immediate(operation: Any) -> list[Any]:
    """Return the values that an operation's inputs hold themselves."""
    return [
        binding.value
        for argument in operation.inputs.values()
        for binding in argument.arguments
        if binding.WhichOneof("binding") == "value"
    ]
