"""A saved ML Program read back: its operations, and its constants as numpy arrays.

Only the protobuf classes of coremltools are used; nothing of Apple's framework is needed. Weights
lie in blob files: a header of 64 bytes (sentinel, type, size, place of the data) before each.
Numbers of less than a byte are packed, the lowest bit first.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from coremltools.proto import MIL_pb2, Model_pb2

from edgekit.core.tensors import Batch
from edgekit.export.mil.compressed import unpacked

SENTINEL = 0xDEADBEEF
_MODELS = "Data/com.apple.CoreML"
_PREFIX = "@model_path/"
_DTYPES = {
    "BOOL": "bool",
    "FLOAT16": "float16",
    "FLOAT32": "float32",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT16": "int16",
    "UINT16": "uint16",
    "INT32": "int32",
    "INT64": "int64",
    "FLOAT64": "float64",
    "UINT32": "uint32",
    "UINT64": "uint64",
}
_SMALL = {"INT4": 4, "UINT4": 4, "UINT1": 1, "UINT2": 2, "UINT3": 3, "UINT6": 6}
"""Types of less than a byte -> bits."""


@dataclass(frozen=True, slots=True)
class Result:
    """One value that an operation gives."""

    name: str
    dtype: str
    """Name of the declared MIL type, such as FLOAT16."""
    shape: tuple[int, ...] | None
    """None where the declaration leaves a size open."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that stands in the program itself where another operation's result could."""

    value: Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a program: constants by parameter, what it takes by parameter."""

    kind: str
    constants: Mapping[str, Any]
    takes: Mapping[str, tuple[str | Constant, ...]]
    """Parameter -> names of computed values, or values."""
    gives: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Feature:
    """One input or output as the package describes it to an app."""

    name: str
    picture: bool
    shape: tuple[int, ...]
    """NCHW for a picture."""
    shapes: tuple[tuple[int, ...], ...] = ()
    """All shapes of an input that takes several; empty if there is only one."""


@dataclass(frozen=True, slots=True)
class Package:
    """One function of a package: what goes in, what is done in order, what comes out."""

    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    input_types: Mapping[str, str]
    """Input -> the MIL type that the program takes, such as FLOAT16."""
    operations: tuple[Operation, ...]


def read_package(path: Path, function: str | None = None) -> Package:
    """Read the package in the folder `path`, its default function unless `function` names another.

    Raises ValueError if it is not an ML Program or has no such function.
    """
    files = sorted((path / _MODELS).glob("*.mlmodel"))
    if not files:
        raise ValueError(f"{path} holds no model")
    spec = Model_pb2.Model()
    spec.ParseFromString(files[0].read_bytes())
    functions = spec.mlProgram.functions
    name = function or spec.description.defaultFunctionName or "main"
    if name not in functions:
        known = ", ".join(sorted(functions)) or "none"
        raise ValueError(f"{path} is not an ML Program with a function {name!r}; it has: {known}")
    chosen = functions[name]
    block = chosen.block_specializations[chosen.opset]
    blobs = _Blobs(path / _MODELS)
    described = next((d for d in spec.description.functions if d.name == name), spec.description)
    return Package(
        tuple(_feature(entry) for entry in described.input),
        tuple(_feature(entry) for entry in described.output),
        {i.name: _name(i.type.tensorType.dataType) for i in chosen.inputs},
        tuple(_operation(operation, blobs) for operation in block.operations),
    )


def functions_of(path: Path) -> tuple[str, ...]:
    """Return the names of a package's functions; several share one file of weights."""
    files = sorted((path / _MODELS).glob("*.mlmodel"))
    if not files:
        raise ValueError(f"{path} holds no model")
    spec = Model_pb2.Model()
    spec.ParseFromString(files[0].read_bytes())
    return tuple(sorted(spec.mlProgram.functions))


def _feature(entry: Any) -> Feature:
    if entry.type.WhichOneof("Type") == "imageType":
        image = entry.type.imageType
        channels = 1 if image.colorSpace == image.GRAYSCALE else 3
        sizes = tuple(
            (1, channels, int(size.height), int(size.width)) for size in image.enumeratedSizes.sizes
        )
        return Feature(entry.name, True, (1, channels, int(image.height), int(image.width)), sizes)
    array = entry.type.multiArrayType
    shapes = tuple(tuple(int(n) for n in shape.shape) for shape in array.enumeratedShapes.shapes)
    return Feature(entry.name, False, tuple(int(n) for n in array.shape), shapes)


class _Blobs:
    """The weight files of a package, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, bytes] = {}

    def array(self, name: str, offset: int, dtype: str, shape: tuple[int, ...]) -> Batch:
        if name not in self._files:
            self._files[name] = (self._folder / name.removeprefix(_PREFIX)).read_bytes()
        content = self._files[name]
        sentinel, _, size, start = struct.unpack_from("<IIQQ", content, offset)
        if sentinel != SENTINEL:
            raise ValueError(f"{name} has no blob at {offset}")
        count = math.prod(shape)
        return _decoded(content[start : start + size], dtype, count).reshape(shape)


def _decoded(content: bytes, dtype: str, count: int | None = None) -> Batch:
    """Return the numbers of the MIL type `dtype` in `content`."""
    if dtype in _SMALL:
        bits = _SMALL[dtype]
        wanted = len(content) * 8 // bits if count is None else count
        small: Batch = unpacked(content, bits, wanted, signed=dtype == "INT4")
        return small
    return np.frombuffer(content, _DTYPES[dtype])


def _operation(operation: Any, blobs: _Blobs) -> Operation:
    constants = {
        key: _value(value, blobs) for key, value in operation.attributes.items() if key != "name"
    }
    takes = {}
    for parameter, argument in operation.inputs.items():
        takes[parameter] = tuple(
            str(binding.name)
            if binding.WhichOneof("binding") == "name"
            else Constant(_value(binding.value, blobs))
            for binding in argument.arguments
        )
    gives = tuple(
        Result(given.name, _name(given.type.tensorType.dataType), _shape(given.type.tensorType))
        for given in operation.outputs
    )
    return Operation(str(operation.type), constants, takes, gives)


def _name(data_type: int) -> str:
    return str(MIL_pb2.DataType.Name(data_type))  # type: ignore[arg-type, unused-ignore]


def _shape(kind: Any) -> tuple[int, ...] | None:
    sizes = [d.constant.size if d.HasField("constant") else None for d in kind.dimensions]
    return None if None in sizes else tuple(int(size) for size in sizes if size is not None)


def _value(value: Any, blobs: _Blobs) -> Any:
    """Decode a constant to an array, a string or a list of them."""
    kind = value.type.tensorType
    name = _name(kind.dataType)
    shape = _shape(kind) or ()
    if value.WhichOneof("value") == "blobFileValue":
        place = value.blobFileValue
        return blobs.array(place.fileName, place.offset, name, shape)
    given = value.immediateValue
    if given.WhichOneof("value") == "list":
        return [_value(item, blobs) for item in given.list.values]
    tensor = given.tensor
    field = tensor.WhichOneof("value")
    if field == "strings":
        return str(tensor.strings.values[0])
    if field == "bytes":
        return _decoded(tensor.bytes.values, name, math.prod(shape)).reshape(shape)
    values = [] if field is None else list(getattr(tensor, field).values)
    dtype = "int8" if name in _SMALL else _DTYPES[name]
    return np.array(values, dtype).reshape(shape)
