"""Convolutions as products and products as convolutions, where one is computed better.

Source: a convolution is a product of its kernel, one row an output channel, with the input moved
to each tap, one column an output pixel (im2col: Chellapilla et al. 2006).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

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


def linear_by_convolution(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write a linear layer over tokens (B x N x C) as a 1 x 1 convolution of (B x C x 1 x N).

    In float16 Core AI's interpreter sums a product of 192 terms in float16 (54 dB) and those of a
    convolution in float32 (68 dB). Source of the layout: Apple, Deploying Transformers on the
    Apple Neural Engine (2022).
    """
    if node.op != "call_module":
        return None
    name = str(node.target)
    linear, x = module.get_submodule(name), node.args[0]
    shared = sum(other.target == node.target for other in module.graph.nodes) > 1
    if not isinstance(linear, nn.Linear) or shared or len(shape_of(x)) != 3:
        return None
    layer = nn.Conv2d(linear.in_features, linear.out_features, 1, bias=linear.bias is not None)
    with torch.no_grad():
        layer.weight.copy_(linear.weight[:, :, None, None])
        if layer.bias is not None:
            layer.bias.copy_(linear.bias)
    module.set_submodule(name, layer)
    channels = call(module, ATEN.transpose.int, x, 1, 2)
    row = call(module, ATEN.unsqueeze.default, channels, 2)
    made = module.graph.call_module(name, (row,))
    back = call(module, ATEN.squeeze.dim, made, 2)
    return call(module, ATEN.transpose.int, back, 1, 2)


def _pair(value: Any, default: int) -> list[int]:
    values = [default] if value is None else list(value)
    return [int(values[0]), int(values[-1])]
