"""A package as a session: each operation in order, rounded to the precision that it declares.

Values declared float16 are rounded to float16 after each operation while sums run in float32. A
phone's GPU and Neural Engine accumulate in their own ways, so this proves what the file says, not
what one chip makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgekit.core.seams import Port
from edgekit.core.tensors import Batch
from edgekit.export.mil.operations import MEANING
from edgekit.export.mil.package import Feature, Operation, Package, read_package

PROTOCOL = "edgekit.mil"
"""Goes into the parity protocol, because it is not Apple's runtime that was asked."""


@dataclass(frozen=True, slots=True)
class EvaluatedPackage:
    """A Core ML package that can be called without Core ML; pictures are uint8 NHWC."""

    package: Package
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        values = self._computed(feeds)
        return {
            feature.name: _given(values[feature.name], feature) for feature in self.package.outputs
        }

    def unrounded(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Return the outputs before Core ML makes bytes of pictures: float32, NCHW."""
        values = self._computed(feeds)
        return {port.name: values[port.name].float().numpy() for port in self.outputs}

    def _computed(self, feeds: Mapping[str, Batch]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for feature in self.package.inputs:
            value = _taken(feeds[feature.name], feature)
            half = feature.name in self.package.half_inputs
            values[feature.name] = value.half().float() if half else value
        with torch.no_grad():
            for operation in self.package.operations:
                _evaluate(operation, values)
        return values


def open_package(path: Path) -> EvaluatedPackage:
    """Read a package so that it can be called.

    Raises NotImplementedError if it holds an operation that is not known here.
    """
    package = read_package(path)
    unknown = {step.kind for step in package.operations} - MEANING.keys() - {"const"}
    if unknown:
        raise NotImplementedError(f"MIL operations {', '.join(sorted(unknown))}")
    return EvaluatedPackage(
        package,
        tuple(_port(feature) for feature in package.inputs),
        tuple(_port(feature) for feature in package.outputs),
    )


def _port(feature: Feature) -> Port:
    if not feature.picture:
        return Port(feature.name, feature.shape, layout="flat")
    batch, colours, height, width = feature.shape
    return Port(feature.name, (batch, height, width, colours), "uint8", "nhwc", 0.0, 255.0)


def _taken(batch: Batch, feature: Feature) -> Tensor:
    value = torch.from_numpy(np.ascontiguousarray(batch)).float()
    return value.permute(0, 3, 1, 2) if feature.picture else value


def _given(value: Tensor, feature: Feature) -> Batch:
    if not feature.picture:
        return value.float().numpy()
    pixels: Batch = value.permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels


def _evaluate(operation: Operation, values: dict[str, Any]) -> None:
    if operation.kind == "const":
        values[operation.gives[0].name] = _constant(operation.constants["val"])
        return
    arguments = {key: _constant(value) for key, value in operation.constants.items()}
    for parameter, names in operation.takes.items():
        found = [values[name] for name in names]
        arguments[parameter] = found if parameter == "values" else found[0]
    results = MEANING[operation.kind](arguments)
    for result, value in zip(
        operation.gives, results if isinstance(results, list) else [results], strict=True
    ):
        if result.shape is not None and tuple(value.shape) != result.shape:
            raise ValueError(
                f"{operation.kind} {result.name}: declared {result.shape}, got {tuple(value.shape)}"
            )
        values[result.name] = value.half().float() if result.dtype == "FLOAT16" else value


def _constant(value: Any) -> Any:
    """Return floats as float32 tensors; sizes, flags and int8 weights stay arrays."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return torch.from_numpy(value.astype(np.float32))
    return value
