"""How large the values of a package get on its way, over all samples of a calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from edgekit.core.tensors import Batch
from edgekit.export.mil.package import Operation, Result
from edgekit.export.mil.session import open_package
from edgekit.export.ranges import outside_half

PERCENTILE = 0.9999
MOST_VALUES = 200_000
"""Values of one tensor that a percentile looks at; larger tensors are thinned out evenly."""


def activation_ranges(
    source: Path, feeds: Sequence[Mapping[str, Batch]], *, percentile: bool = False
) -> dict[str, tuple[float, float]]:
    """Return the name of each float value -> the range that it takes over all of `feeds`.

    With `percentile` the outermost values of each sample (one in ten thousand on each side) do
    not count. Values that are joined by a concatenation share one range, because Core ML passes
    them on in 8 bits only if their scales are equal.
    """
    package = open_package(source)
    found: dict[str, tuple[float, float]] = {}

    def watch(operation: Operation, result: Result, value: Tensor) -> None:
        if not value.is_floating_point() or not value.numel():
            return
        low, high = _span(value, percentile)
        before = found.get(result.name, (low, high))
        found[result.name] = (min(low, before[0]), max(high, before[1]))

    for feed in feeds:
        package.watched(feed, watch)
    for group in _joined(package.package.operations):
        known = [found[name] for name in group if name in found]
        for name in group:
            if name in found:
                found[name] = min(low for low, _ in known), max(high for _, high in known)
    return found


def outside_half_operations(source: Path, feeds: Sequence[Mapping[str, Batch]]) -> list[str]:
    """Return the operations of a float32 package that must not be computed in float16.

    Those are the operations that give a value outside float16's range on any of `feeds`, and
    those that take one, in order. What a converter makes of a norm counts here, which PyTorch's
    own graph does not show: a square may overflow where the norm as a whole does not.
    """
    package = open_package(source, rounding=False)
    largest: dict[str, float] = {}

    def watch(operation: Operation, result: Result, value: Tensor) -> None:
        if value.is_floating_point() and value.numel():
            found = float(value.abs().max())
            largest[result.name] = max(found, largest.get(result.name, 0.0))

    for feed in feeds:
        package.watched(feed, watch)
    outside = {name for name, value in largest.items() if outside_half(value)}
    return [
        operation.gives[0].name
        for operation in package.package.operations
        if operation.kind != "const"
        and outside
        & {
            *(result.name for result in operation.gives),
            *(
                name
                for taken in operation.takes.values()
                for name in taken
                if isinstance(name, str)
            ),
        }
    ]


def _span(value: Tensor, percentile: bool) -> tuple[float, float]:
    if not percentile:
        return float(value.min()), float(value.max())
    flat = value.flatten()[:: max(1, value.numel() // MOST_VALUES)]
    levels = torch.tensor([1 - PERCENTILE, PERCENTILE])
    low, high = torch.quantile(flat.float(), levels).tolist()
    return low, high


def _joined(operations: Sequence[Operation]) -> list[set[str]]:
    groups: list[set[str]] = []
    for operation in operations:
        if operation.kind != "concat":
            continue
        names = {name for name in operation.takes["values"] if isinstance(name, str)}
        names |= {result.name for result in operation.gives}
        touching = [group for group in groups if group & names]
        groups = [group for group in groups if not group & names]
        groups.append(names.union(*touching))
    return groups
