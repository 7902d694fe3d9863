"""Transposed convolutions as convolutions and a pixel shuffle.

Output pixel s i + r of a transposed convolution sees input pixel i + d through the tap
r + p - s d of the kernel, so each of the s x s phases r is a small convolution, and the pixel
shuffle puts the phases side by side.

Source: Shi et al. 2016, arXiv:1609.07009 ("Is the deconvolution layer the same as a
convolutional layer?").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from edgekit.export.rewrites.nodes import ATEN, call, constant, given, shape_of, stored


def transposed_by_pixel_shuffle(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write a transposed convolution whose output is a whole multiple of its input that way.

    For runtimes that compute convolutions in int8 but no transposed ones; it multiplies by more
    zeros (2.25 times as many products for a 4 x 4 kernel of stride 2).
    """
    if node.op != "call_function" or node.target != ATEN.conv_transpose2d.input:
        return None
    weight, bias = stored(module, node.args[1]), stored(module, given(node, 2))
    if weight is None or (given(node, 2) is not None and bias is None):
        return None
    stride, padding, extra = (_pair(given(node, i), d) for i, d in ((3, 1), (4, 0), (5, 0)))
    dilation = _pair(given(node, 7), 1)
    if int(given(node, 6, 1)) != 1 or dilation != [1, 1] or stride[0] != stride[1]:
        return None
    if any(
        k + e - 2 * p != s
        for k, e, p, s in zip(weight.shape[2:], extra, padding, stride, strict=True)
    ):
        return None  # the output is no whole multiple of the input
    s = stride[0]
    kernel, around = _phases(weight, s, padding)
    wide = None if bias is None else bias.repeat_interleave(s * s)
    made = call(
        module,
        ATEN.conv2d.default,
        call(module, ATEN.constant_pad_nd.default, node.args[0], around, 0.0),
        constant(module, kernel),
        None if wide is None else constant(module, wide),
    )
    return call(module, ATEN.pixel_shuffle.default, made, s) if s > 1 else made


def transposed_without_border(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write a transposed convolution with an odd border as one without, and cut the border off.

    litert-torch takes those whose output is as large as input times stride, and those without
    padding (google-ai-edge/litert-torch#316).
    """
    if node.op != "call_function" or node.target != ATEN.conv_transpose2d.input:
        return None
    stride, padding, extra = (_pair(given(node, i), d) for i, d in ((3, 1), (4, 0), (5, 0)))
    kernel, dilation = shape_of(node.args[1])[2:], _pair(given(node, 7), 1)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    even = all(r - s == 2 * p for r, s, p in zip(reach, stride, padding, strict=True))
    if (even or not any(padding)) and not any(extra):
        return None
    if any(e > p for e, p in zip(extra, padding, strict=True)):
        return None  # more is added than is cut off
    groups = int(given(node, 6, 1))
    arguments = (*node.args[:2], given(node, 2), stride, [0, 0], [0, 0], groups, dilation)
    made = call(module, ATEN.conv_transpose2d.input, *arguments)
    for axis, (start, size) in enumerate(zip(padding, shape_of(node)[2:], strict=True)):
        made = call(module, ATEN.slice.Tensor, made, 2 + axis, start, start + size)
    return made


def _phases(weight: Tensor, s: int, padding: list[int]) -> tuple[Tensor, list[int]]:
    """Return the kernel (outputs x s x s, inputs, taps) and the padding around the input."""
    inputs, outputs, height, width = weight.shape
    reach = []
    for k, p in zip((height, width), padding, strict=True):
        offsets = [d for d in range(-k, k + 1) if any(0 <= r + p - s * d < k for r in range(s))]
        reach.append((min(offsets), max(offsets)))
    (low_y, high_y), (low_x, high_x) = reach
    shape = (outputs, s, s, inputs, high_y - low_y + 1, high_x - low_x + 1)
    kernel = torch.zeros(shape, dtype=weight.dtype)
    for y in range(s):
        for x in range(s):
            for dy in range(low_y, high_y + 1):
                for dx in range(low_x, high_x + 1):
                    ty, tx = y + padding[0] - s * dy, x + padding[1] - s * dx
                    if 0 <= ty < height and 0 <= tx < width:
                        kernel[:, y, x, :, dy - low_y, dx - low_x] = weight[:, :, ty, tx].T
    around = [-low_x, high_x, -low_y, high_y]
    return kernel.reshape(outputs * s * s, inputs, *shape[4:]), around


def _pair(value: Any, default: int) -> list[int]:
    values = [default] if value is None else list(value)
    return [int(values[0]), int(values[-1])]
