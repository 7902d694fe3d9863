"""How large activations get, because float16 ends at 65,504."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from edgekit.export.graph import described, tensor_nodes
from edgekit.export.program import Feed, Program

HALF_LIMIT = 6e4
"""A little below float16's largest value: phones round and accumulate in their own ways."""


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
