"""Small helpers of the rewrites: new nodes, constants and stored tensors of a graph."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx

ATEN = torch.ops.aten


def shape_of(node: Any) -> list[int]:
    """Return the shape of a node's tensor."""
    return [int(n) for n in node.meta["val"].shape]


def call(module: fx.GraphModule, target: Any, *arguments: Any, shape: Any = None) -> fx.Node:
    """Return a new node that calls an operator."""
    return module.graph.call_function(target, arguments)


def constant(module: fx.GraphModule, value: Tensor) -> fx.Node:
    """Return a new node that holds `value`, which is stored in the module."""
    taken = {name for name, _ in module.named_buffers()}
    name = next(f"rewritten_{i}" for i in range(len(taken) + 1) if f"rewritten_{i}" not in taken)
    module.register_buffer(name, value.contiguous())
    return module.graph.get_attr(name)


def stored(module: fx.GraphModule, argument: Any) -> Tensor | None:
    """Return the tensor of an argument that is stored; None if it is computed or missing."""
    if not isinstance(argument, fx.Node) or argument.op != "get_attr":
        return None
    value: Tensor = attrgetter(str(argument.target))(module)
    return value.detach()


def given(node: fx.Node, position: int, default: Any = None, *, name: str = "") -> Any:
    """Return the argument of `node` at `position` or by `name`."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)
