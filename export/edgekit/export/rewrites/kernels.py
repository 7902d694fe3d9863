"""Convolutions whose kernel is computed, for converters that take stored kernels only.

Source: a convolution is a product of its kernel, one row an output channel, with the input moved
to each tap, one column an output pixel (im2col: Chellapilla et al. 2006).
"""

from __future__ import annotations

from typing import Any

from torch import fx

from edgekit.export.rewrites.nodes import ATEN, call, given, shape_of, stored


def computed_kernel_by_products(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write a convolution with a computed kernel as one matrix product.

    litert-torch turns the kernel as if it were stored and then finds other channels than there are.
    """
    if node.op != "call_function" or node.target != ATEN.conv2d.default:
        return None
    x, kernel = node.args[:2]
    if stored(module, kernel) is not None or int(given(node, 6, 1)) != 1:
        return None
    stride, padding, dilation = (_pair(given(node, i), d) for i, d in ((3, 1), (4, 0), (5, 1)))
    outputs, inputs, *taps = shape_of(kernel)
    batch, _, *sizes = shape_of(node)
    if any(padding):
        around = [padding[1], padding[1], padding[0], padding[0]]
        x = call(module, ATEN.constant_pad_nd.default, x, around, 0.0)
    moved = []
    for row in range(taps[0]):
        for column in range(taps[1]):
            part: Any = x
            for axis, place in enumerate((row, column)):
                start = place * dilation[axis]
                end = start + (sizes[axis] - 1) * stride[axis] + 1
                part = call(module, ATEN.slice.Tensor, part, 2 + axis, start, end, stride[axis])
            moved.append(call(module, ATEN.reshape.default, part, [batch, inputs, -1]))
    columns = call(module, ATEN.cat.default, moved, 1) if len(moved) > 1 else moved[0]
    turned = call(module, ATEN.permute.default, kernel, [0, 2, 3, 1])
    rows = call(module, ATEN.reshape.default, turned, [1, outputs, -1])
    made = call(module, ATEN.matmul.default, rows, columns)
    made = call(module, ATEN.reshape.default, made, [batch, outputs, *sizes])
    bias = given(node, 2, name="bias")
    if bias is None:
        return made
    wide = call(module, ATEN.reshape.default, bias, [1, outputs, 1, 1])
    return call(module, ATEN.add.Tensor, made, wide)


def _pair(value: Any, default: int) -> list[int]:
    values = [default] if value is None else list(value)
    return [int(values[0]), int(values[-1])]
