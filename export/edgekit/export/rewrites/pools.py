"""Pools whose stride is written down."""

from __future__ import annotations

from torch import fx

from edgekit.export.rewrites.nodes import ATEN, call


def explicit_pool_stride(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write down the stride of a max pool that is left to its default, the kernel.

    coremltools 9 refuses it otherwise: "max_pool2d got 2 input(s), expected minimum 3".
    """
    if node.op != "call_function" or node.target != ATEN.max_pool2d.default:
        return None
    if node.kwargs or (len(node.args) > 2 and node.args[2]):
        return None
    x, kernel, *rest = node.args
    return call(module, ATEN.max_pool2d.default, x, kernel, kernel, *rest[1:])
