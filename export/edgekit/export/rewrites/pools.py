"""Pools in the words that converters know: a stride written down, borders that count."""

from __future__ import annotations

import torch
from torch import fx

from edgekit.export.rewrites.nodes import ATEN, call, constant, given, shape_of


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


def average_pool_by_count(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Average with the zeros of the border, then undo it by a stored map of how many there were.

    coreai-torch 0.4.3 counts the border whatever `count_include_pad` says, and says nothing.
    """
    if node.op != "call_function" or node.target != ATEN.avg_pool2d.default:
        return None
    size, padding = given(node, 1), given(node, 3, 0, name="padding")
    stride = given(node, 2, None, name="stride") or size
    counts = bool(given(node, 5, True, name="count_include_pad"))
    rounds_up = bool(given(node, 4, False, name="ceil_mode"))
    padded = any(padding) if isinstance(padding, list | tuple) else bool(padding)
    if counts or rounds_up or not padded or given(node, 6, name="divisor_override") is not None:
        return None
    ones = torch.ones(1, 1, *shape_of(node.args[0])[2:])
    share = ATEN.avg_pool2d.default(ones, size, stride, padding, False, True)
    pooled = call(module, ATEN.avg_pool2d.default, node.args[0], size, stride, padding, False, True)
    return call(module, ATEN.mul.Tensor, pooled, constant(module, 1 / share))


def channel_average_by_sums(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write an average over neighbouring channels, a pool in three dimensions, as a sum of slices.

    PyTorch makes local response norms of it; ExecuTorch 1.5.1 writes the operator into a file
    that then cannot be loaded, because no kernel has it.
    """
    if node.op != "call_function" or node.target != ATEN.avg_pool3d.default:
        return None
    size, *others = (int(n) for n in given(node, 1))
    strides = given(node, 2, None, name="stride") or given(node, 1)
    border = given(node, 3, 0, name="padding")
    if others != [1, 1] or list(strides) not in ([1, 1, 1], [1]) or given(node, 6) is not None:
        return None
    if any(border) if isinstance(border, list | tuple) else border:
        return None
    count = shape_of(node)[2]
    total = call(module, ATEN.slice.Tensor, node.args[0], 2, 0, count)
    for i in range(1, size):
        part = call(module, ATEN.slice.Tensor, node.args[0], 2, i, i + count)
        total = call(module, ATEN.add.Tensor, total, part)
    return call(module, ATEN.mul.Tensor, total, 1 / size)
