"""Core ML packages for iOS 16 to 26: pictures in, pictures out, scaling inside the model."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import coremltools as ct
import torch
from coremltools.proto import MIL_pb2, Model_pb2

from edgekit.core.errors import EdgekitError
from edgekit.core.manifest import PortEntry
from edgekit.core.seams import Port, Precision
from edgekit.core.store import write_bytes
from edgekit.core.tensors import Batch
from edgekit.export import quantize_coreml
from edgekit.export.adversarial import half_feeds, is_picture
from edgekit.export.mil.package import read_package
from edgekit.export.mil.ranges import activation_ranges, outside_half_operations
from edgekit.export.parity import to_layout
from edgekit.export.program import Feed, Program, example_inputs
from edgekit.export.quantize_coreml import compressed
from edgekit.export.rewrites import rewritten_for
from edgekit.export.sizes import any_size, at_side, dynamic_sides, sides_of
from edgekit.export.targets import Options, Refused, Sources
from edgekit.export.weight_recipes import Recipe, described, parsed

MIN_WEIGHTS = 256
_SPECIFICATION = "Data/com.apple.CoreML/model.mlmodel"
_TYPES = MIL_pb2.DataType


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


INT8_RECIPES = ("palette-8", "weights")
"""A palette of 256 values is 8 dB nearer than one scale a channel at the same size
(docs/coreml.md), which is the fallback."""
ALTERNATIVES = ("palette-6", "palette-4")
"""Recipes that are measured by the survey and never ship by themselves."""


def recipes(precision: Precision) -> tuple[str, ...]:
    """Return the recipes of `precision`, the best first."""
    return INT8_RECIPES if precision == "int8" else ("plain",)


def recipes_for_search(options: Options) -> tuple[str, ...]:
    """Return what a search may choose for the weights of each layer, from large to small."""
    return quantize_coreml.recipes_for_search(options.ios)


class _Pictures(torch.nn.Module):
    """Scales picture outputs to 0..255 and clamps them: the range that an image port holds."""

    def __init__(self, program: Program, sides: Sequence[int]) -> None:
        super().__init__()
        self.inner = any_size(program, sides) if sides else program.module
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
    """Write `program` to the package `path`; int8 and mixed start from the fp16 package.

    A recipe of int8 or mixed is what `quantize_coreml.parsed` reads.
    """
    ios = sources.options.ios
    program, rewrites = rewritten_for("mlpackage", program)
    if precision in ("int8", "mixed"):
        wanted = parsed(recipe)
        if any(choice.scaled for choice in (wanted.weights, *wanted.layers.values())):
            raise Refused("coremltools stores scaled palettes twice as large as they are")
        if wanted.ios > ios:
            raise Refused(f"the recipe {recipe} needs iOS {wanted.ios}; ask for it with --ios")
        model = _compressed(program, sources.made("fp16"), wanted, sources)
        words = described(wanted)
    else:
        floats = [] if precision == "fp32" else _outside_half(program, sources)
        model = _converted(program, precision, sources.options, floats)
        words = "float32" if precision == "fp32" else "weights and computation in float16"
        words += f"; float32 for {', '.join(floats)}" if floats else ""
    _save(model, path)
    if sources.options.sizes:
        words += f"; pictures of {' or '.join(map(str, sides_of(program, sources.options)))} pixels"
    return f"coremltools, iOS {ios}, {words}; images scaled inside the model{rewrites}"


def _compressed(program: Program, source: Path, wanted: Recipe, sources: Sources) -> Any:
    constants = weight_constants(program, source)
    if unknown := set(wanted.layers) - set(constants):
        raise EdgekitError(
            f"the program has no layer {', '.join(sorted(unknown))} with weights",
            hint=f"it has: {', '.join(constants)}",
        )
    statistics: dict[str, tuple[float, float]] = {}
    if wanted.int8_activations:
        feeds = [_as_package_takes(program, feed) for feed in sources.calibration()]
        statistics = activation_ranges(source, feeds, percentile=wanted.ranges == "percentile")
    return compressed(source, wanted, constants=constants, statistics=statistics)


def _outside_half(program: Program, sources: Sources) -> list[str]:
    """Return the operations that stay float32, found by computing the float32 package."""
    feeds = [_as_package_takes(program, feed) for feed in half_feeds(program, sources)]
    return outside_half_operations(sources.made("fp32"), feeds)


def _as_package_takes(program: Program, feed: Feed) -> dict[str, Batch]:
    return {
        port.name: to_layout(feed[port.name], port, file_port(port, output=False).port())
        for port in program.inputs
    }


def weight_constants(program: Program, source: Path) -> dict[str, str]:
    """Return the path of each layer's module -> the name of its weight in the package `source`."""
    from edgekit.export.optimize.layers import layers_of

    held = {
        operation.gives[0].name
        for operation in read_package(source).operations
        if operation.kind == "const"
    }
    found = {}
    for layer in layers_of(program):
        stem = f"p_inner_{layer.weight.replace('.', '_')}"
        name = next((n for n in (f"{stem}_to_fp16", stem) if n in held), None)
        if name is not None:
            found[layer.name] = name
    return found


def _converted(
    program: Program, precision: Precision, options: Options, floats: Sequence[str]
) -> Any:
    sides = sides_of(program, options)
    pictures = _Pictures(program, sides).eval()
    shapes = tuple(dynamic_sides(port) if sides else None for port in program.inputs)
    with torch.no_grad():
        exported = torch.export.export(
            pictures, example_inputs(program), dynamic_shapes={"inputs": shapes} if sides else None
        )
    kept = set(floats)
    width = (
        ct.transform.FP16ComputePrecision(op_selector=lambda op: op.name not in kept)
        if precision == "fp16"
        else ct.precision.FLOAT32
    )
    return ct.convert(
        exported.run_decompositions({}),
        inputs=[_input_type(port, sides) for port in program.inputs],
        outputs=[_output_type(port) for port in program.outputs],
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, f"iOS{options.ios}"),
        compute_precision=width,
        skip_model_load=True,
    )


def _input_type(port: Port, sides: Sequence[int]) -> Any:
    if not is_picture(port):
        return ct.TensorType(port.name, shape=port.shape)
    shape = port.shape
    if sides:
        shapes = [at_side(port, side) for side in sides]
        shape = ct.EnumeratedShapes(shapes=shapes, default=port.shape)
    return ct.ImageType(
        port.name,
        shape=shape,
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
