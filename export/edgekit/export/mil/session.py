"""A package as a session: each operation in order, rounded to the precision that it declares.

Values declared float16 are rounded to float16 after each operation while sums run in float32. A
phone's GPU and Neural Engine accumulate in their own ways, so this proves what the file says, not
what one chip makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from edgekit.core.seams import DType, Port
from edgekit.core.tensors import Batch
from edgekit.export.mil.operations import MEANING
from edgekit.export.mil.package import (
    Constant,
    Feature,
    Operation,
    Package,
    Result,
    read_package,
)

PROTOCOL = "edgekit.mil"
"""Goes into the parity protocol, because it is not Apple's runtime that was asked."""
Watch: TypeAlias = Callable[[Operation, Result, Tensor], None]
"""Is shown each value that is computed, before it is rounded: for ranges and overflows."""


@dataclass(frozen=True, slots=True)
class EvaluatedPackage:
    """A Core ML package that can be called without Core ML; pictures are uint8 NHWC."""

    package: Package
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    rounding: bool = True
    """Whether float16 values are rounded as declared; without it, all is computed in float32."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """Constants, and weights widened from their small form once."""

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays.

        Raises ValueError for a shape that the package does not list.
        """
        values = self._computed(feeds, None)
        return {
            feature.name: _given(values[feature.name], feature) for feature in self.package.outputs
        }

    def unrounded(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Return the outputs before Core ML makes bytes of pictures: float32, NCHW."""
        values = self._computed(feeds, None)
        return {port.name: values[port.name].float().numpy() for port in self.outputs}

    def watched(self, feeds: Mapping[str, Batch], watch: Watch) -> None:
        """Compute `feeds` and show `watch` each value on the way (constants are left out)."""
        self._computed(feeds, watch)

    def _computed(self, feeds: Mapping[str, Batch], watch: Watch | None) -> dict[str, Any]:
        values: dict[str, Any] = dict(self.fixed)
        for feature in self.package.inputs:
            value = _taken(feeds[feature.name], feature)
            kind = self.package.input_types.get(feature.name, "FLOAT32")
            if watch is not None:
                watch(_INPUT, Result(feature.name, kind, tuple(value.shape)), value)
            values[feature.name] = _rounded(value, kind) if self.rounding else value
        with torch.no_grad():
            for operation in self.package.operations:
                if operation.gives[0].name not in self.fixed:
                    _evaluate(operation, values, self.rounding, watch)
        return values


_INPUT = Operation("input", {}, {}, ())


def open_package(
    path: Path, *, function: str | None = None, rounding: bool = True
) -> EvaluatedPackage:
    """Read a package so that it can be called; of several functions the default one.

    Raises NotImplementedError if it holds an operation that is not known here, named, and
    ValueError if it has no such function.
    """
    package = read_package(path, function)
    unknown = {step.kind for step in package.operations} - MEANING.keys() - {"const"}
    if unknown:
        raise NotImplementedError(f"MIL operations {', '.join(sorted(unknown))}")
    fixed: dict[str, Any] = {}
    with torch.no_grad():
        for operation in package.operations:
            if operation.kind == "const":
                fixed[operation.gives[0].name] = _constant(operation.constants["val"])
            elif operation.kind.startswith("constexpr"):
                _evaluate(operation, fixed, rounding, None)
    return EvaluatedPackage(
        package,
        tuple(_port(feature, package) for feature in package.inputs),
        tuple(_port(feature, package) for feature in package.outputs),
        rounding,
        fixed,
    )


def _port(feature: Feature, package: Package) -> Port:
    if not feature.picture:
        whole = package.input_types.get(feature.name) == "INT32"
        kind: DType = "int32" if whole else "float32"
        return Port(feature.name, feature.shape, kind, layout="flat")
    batch, colours, height, width = feature.shape
    return Port(feature.name, (batch, height, width, colours), "uint8", "nhwc", 0.0, 255.0)


def _taken(batch: Batch, feature: Feature) -> Tensor:
    value = torch.from_numpy(np.ascontiguousarray(batch))
    if feature.picture:
        value = value.permute(0, 3, 1, 2)
    allowed = feature.shapes or ((feature.shape,) if feature.shape else ())
    if allowed and tuple(value.shape) not in allowed:
        raise ValueError(
            f"{feature.name}: the package takes {' or '.join(map(str, allowed))}, "
            f"got {tuple(value.shape)}"
        )
    return value.float() if feature.picture or value.is_floating_point() else value


def _given(value: Tensor, feature: Feature) -> Batch:
    if not feature.picture:
        return value.float().numpy()
    pixels: Batch = value.permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels


def _evaluate(
    operation: Operation, values: dict[str, Any], rounding: bool, watch: Watch | None
) -> None:
    arguments: dict[str, Any] = {
        key: _constant(value) for key, value in operation.constants.items()
    }
    for parameter, taken in operation.takes.items():
        found = [
            _constant(item.value) if isinstance(item, Constant) else values[item] for item in taken
        ]
        arguments[parameter] = found if parameter == "values" else found[0]
    try:
        results = MEANING[operation.kind](arguments)
    except NotImplementedError as error:
        raise NotImplementedError(f"MIL operation {operation.kind}: {error}") from error
    for result, value in zip(
        operation.gives, results if isinstance(results, list) else [results], strict=True
    ):
        if result.shape is not None and tuple(value.shape) != result.shape:
            raise ValueError(
                f"{operation.kind} {result.name}: declared {result.shape}, got {tuple(value.shape)}"
            )
        if watch is not None:
            watch(operation, result, value)
        values[result.name] = _rounded(value, result.dtype) if rounding else value


def _rounded(value: Tensor, kind: str) -> Tensor:
    return value.half().float() if kind == "FLOAT16" and value.is_floating_point() else value


def _constant(value: Any) -> Any:
    """Return floats as float32 tensors; sizes, flags and small weights stay arrays."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return torch.from_numpy(value.astype(np.float32))
    return value
