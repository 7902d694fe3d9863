"""How large activations get, because float16 ends at 65,504."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from edgekit.core.seams import Port
from edgekit.export.graph import described, tensor_nodes
from edgekit.export.program import Feed, Program

HALF_LIMIT = 6e4
"""A little below float16's largest value: phones round and accumulate in their own ways."""
KEEP_WIDE = ("onnx", "mlpackage", "aimodel", "engine", "trt")
"""Formats whose converters keep float32 where a value would leave float16's range."""
HALF_SMALL = 6e-5
"""About float16's smallest normal number: a tensor that stays below it loses its digits."""


def outside_half(largest: float) -> bool:
    """Tell whether a tensor with the largest absolute value `largest` needs float32.

    A tensor of zeros does not.

    >>> [outside_half(value) for value in (0.0, 1e-6, 1.0, 7e4, float("nan"))]
    [False, True, False, True, True]
    """
    return not (largest == 0 or HALF_SMALL <= largest <= HALF_LIMIT)


class _Largest(fx.Interpreter):
    """Runs a graph and keeps the largest absolute value of each node."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.largest: dict[str, float] = {}

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
            found = float(value.abs().max())
            self.largest[n.name] = max(found, self.largest.get(n.name, 0.0))
        return value


def largest_activations(program: Program, feeds: Sequence[Feed]) -> dict[str, float]:
    """Return node name -> largest absolute value over `feeds`."""
    recorder = _Largest(program.module)
    with torch.no_grad():
        for feed in feeds:
            recorder.run(*(torch.from_numpy(feed[port.name]) for port in program.inputs))
    return recorder.largest


def half_overflow(program: Program, feeds: Sequence[Feed]) -> str | None:
    """Say which layer leaves float16's range on `feeds`; None if all stay inside."""
    largest = largest_activations(program, feeds)
    for node in tensor_nodes(program.module):
        if not largest.get(node.name, 0.0) <= HALF_LIMIT:  # also true for NaN
            return (
                f"{described(node)} reaches {largest[node.name]:.3g}, "
                f"beyond float16's range (limit {HALF_LIMIT:.0f})"
            )
    return None


def outside_half_operators(
    module: torch.nn.Module, ports: Sequence[Port], feeds: Sequence[Feed]
) -> list[Any]:
    """Return the operators of a traced module that give or take a value outside float16's range."""
    if not isinstance(module, fx.GraphModule):
        raise ValueError(f"only a traced module can be watched, got {type(module)}")
    recorder = _Largest(module)
    with torch.no_grad():
        for feed in feeds:
            recorder.run(*(torch.from_numpy(feed[port.name]) for port in ports))
    outside = {name for name, value in recorder.largest.items() if outside_half(value)}
    return list(
        dict.fromkeys(
            node.target
            for node in module.graph.nodes
            if node.op == "call_function"
            and outside & {node.name, *(taken.name for taken in node.all_input_nodes)}
        )
    )
