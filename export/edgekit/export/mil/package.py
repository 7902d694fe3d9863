"""A saved ML Program read back: its operations, and its constants as numpy arrays.

Only the protobuf classes of coremltools are used; nothing of Apple's framework is needed. Weights
lie in blob files: a header of 64 bytes (sentinel, type, size, place of the data) before each.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from coremltools.proto import MIL_pb2, Model_pb2

from edgekit.core.tensors import Batch

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
}


@dataclass(frozen=True, slots=True)
class Result:
    """One value that an operation gives."""

    name: str
    dtype: str
    """Name of the declared MIL type, such as FLOAT16."""
    shape: tuple[int, ...] | None
    """None where the declaration leaves a size open."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a program: constants by parameter, names of computed values by parameter."""

    kind: str
    constants: Mapping[str, Any]
    takes: Mapping[str, tuple[str, ...]]
    gives: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Feature:
    """One input or output as the package describes it to an app."""

    name: str
    picture: bool
    shape: tuple[int, ...]
    """NCHW for a picture."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package: what goes in, what is done in order, what comes out."""

    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    half_inputs: frozenset[str]
    """Inputs that the program takes as float16."""
    operations: tuple[Operation, ...]


def read_package(path: Path) -> Package:
    """Read the package in the folder `path`; ValueError if it is not an ML Program."""
    files = sorted((path / _MODELS).glob("*.mlmodel"))
    if not files:
        raise ValueError(f"{path} holds no model")
    spec = Model_pb2.Model()
    spec.ParseFromString(files[0].read_bytes())
    functions = spec.mlProgram.functions
    if "main" not in functions:
        raise ValueError(f"{path} is not an ML Program with a function `main`")
    main = functions["main"]
    block = main.block_specializations[main.opset]
    blobs = _Blobs(path / _MODELS)
    half = {i.name for i in main.inputs if _name(i.type.tensorType.dataType) == "FLOAT16"}
    return Package(
        tuple(_feature(entry) for entry in spec.description.input),
        tuple(_feature(entry) for entry in spec.description.output),
        frozenset(half),
        tuple(_operation(operation, blobs) for operation in block.operations),
    )


def _feature(entry: Any) -> Feature:
    if entry.type.WhichOneof("Type") == "imageType":
        image = entry.type.imageType
        return Feature(entry.name, True, (1, 3, int(image.height), int(image.width)))
    return Feature(entry.name, False, tuple(int(n) for n in entry.type.multiArrayType.shape))


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
        return np.frombuffer(content[start : start + size], dtype).reshape(shape)


def _operation(operation: Any, blobs: _Blobs) -> Operation:
    constants = {
        key: _value(value, blobs) for key, value in operation.attributes.items() if key != "name"
    }
    takes = {}
    for parameter, argument in operation.inputs.items():
        bindings = list(argument.arguments)
        if all(binding.WhichOneof("binding") == "name" for binding in bindings):
            takes[parameter] = tuple(binding.name for binding in bindings)
        else:
            constants[parameter] = _value(bindings[0].value, blobs)
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
        return blobs.array(place.fileName, place.offset, _DTYPES[name], shape)
    given = value.immediateValue
    if given.WhichOneof("value") == "list":
        return [_value(item, blobs) for item in given.list.values]
    tensor = given.tensor
    field = tensor.WhichOneof("value")
    if field == "strings":
        return str(tensor.strings.values[0])
    if field == "bytes":
        return np.frombuffer(tensor.bytes.values, _DTYPES[name]).reshape(shape)
    values = [] if field is None else list(getattr(tensor, field).values)
    return np.array(values, _DTYPES[name]).reshape(shape)
