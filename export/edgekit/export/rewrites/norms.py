"""Norms in forms that fuse, or that do not overflow.

Source: group normalization is instance normalization of groups (Wu and He 2018, arXiv:1803.08494,
equation 7); the root mean square of x is the standard deviation of (x, -x), whose mean is zero.
"""

from __future__ import annotations

import math

from torch import fx

from edgekit.export.rewrites.nodes import ATEN, call, given, shape_of, stored


def group_norm_by_instances(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Normalize groups as the channels of an instance norm.

    coremltools takes a group norm apart into means and squares, and a square leaves float16's
    range where the norm does not (250 squared is 62,500); an instance norm stays one operation.
    """
    if node.target != ATEN.group_norm.default or node.op != "call_function":
        return None
    x, groups = node.args[0], int(node.args[1])  # type: ignore[arg-type]
    shape = shape_of(x)
    if len(shape) < 3:
        return None
    batch, channels, *rest = shape
    inner = [batch, groups, channels // groups * math.prod(rest[:-1]), rest[-1]]
    epsilon = float(given(node, 4, 1e-5, name="eps"))
    wide = call(module, ATEN.reshape.default, x, inner)
    normed = call(
        module, ATEN.instance_norm.default, wide, None, None, None, None, True, 0.1, epsilon, False
    )
    back = call(module, ATEN.reshape.default, normed, shape)
    return _affine(module, node, back, [channels] + [1] * len(rest), (2, 3))


def plain_group_norm_by_instances(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Do the same to a group norm without its own scale and shift.

    OpenVINO 2026.4.1 ends the process when it compiles one whose values are then scaled and
    shifted by computed ones, as diffusion networks do with the time.
    """
    if node.op != "call_function" or node.target != ATEN.group_norm.default:
        return None
    if given(node, 2, name="weight") is not None or given(node, 3, name="bias") is not None:
        return None
    return group_norm_by_instances(module, node)


def instance_norm_by_moments(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write an instance norm out as means, so that a delegate without the operator takes it."""
    if node.target != ATEN.instance_norm.default or node.op != "call_function":
        return None
    if stored(module, given(node, 3)) is not None or not bool(given(node, 5, True)):
        return None
    x = node.args[0]
    shape = shape_of(x)
    axes = list(range(2, len(shape)))
    epsilon = float(given(node, 7, 1e-5))
    mean = call(module, ATEN.mean.dim, x, axes, True)
    centred = call(module, ATEN.sub.Tensor, x, mean)
    square = call(module, ATEN.mul.Tensor, centred, centred)
    variance = call(module, ATEN.mean.dim, square, axes, True)
    scale = call(module, ATEN.rsqrt.default, call(module, ATEN.add.Tensor, variance, epsilon))
    normed = call(module, ATEN.mul.Tensor, centred, scale)
    return _affine(module, node, normed, [shape[1]] + [1] * len(axes), (1, 2))


def rms_norm_by_layer_norm(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Normalize (x, -x) by a layer norm and keep the first half: one operation, no square of x."""
    if node.target != ATEN.rms_norm.default or node.op != "call_function":
        return None
    x, axes = node.args[0], list(node.args[1])  # type: ignore[arg-type]
    epsilon = given(node, 3, None, name="eps")
    if len(axes) != 1 or epsilon is None:
        return None
    size = shape_of(x)[-1]
    both = call(module, ATEN.cat.default, [x, call(module, ATEN.neg.default, x)], -1)
    normed = call(module, ATEN.layer_norm.default, both, [2 * size], None, None, float(epsilon))
    half = call(module, ATEN.slice.Tensor, normed, -1, 0, size)
    weight = given(node, 2, None, name="weight")
    return half if weight is None else call(module, ATEN.mul.Tensor, half, weight)


def variance_by_means(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write a variance or a standard deviation over axes as means, for converters without it."""
    if node.op != "call_function" or node.target not in (ATEN.var.dim, ATEN.std.dim):
        return None
    x, axes = node.args[0], given(node, 1, name="dim")
    shape = shape_of(x)
    axes = sorted(int(axis) % len(shape) for axis in (axes or range(len(shape))))
    count = math.prod(shape[axis] for axis in axes)
    fewer = int(bool(given(node, 2, True, name="unbiased")))
    if count <= fewer:
        return None
    centred = call(module, ATEN.sub.Tensor, x, call(module, ATEN.mean.dim, x, axes, True))
    square = call(module, ATEN.mul.Tensor, centred, centred)
    mean = call(module, ATEN.mean.dim, square, axes, bool(given(node, 3, False, name="keepdim")))
    made = call(module, ATEN.mul.Tensor, mean, count / (count - fewer)) if fewer else mean
    return call(module, ATEN.sqrt.default, made) if node.target == ATEN.std.dim else made


def _affine(
    module: fx.GraphModule,
    node: fx.Node,
    normed: fx.Node,
    shape: list[int],
    places: tuple[int, int],
) -> fx.Node:
    """Scale and shift each channel by the tensors at `places` of the norm's arguments."""
    weight, bias = given(node, places[0], name="weight"), given(node, places[1], name="bias")
    if weight is not None:
        wide = call(module, ATEN.reshape.default, weight, shape)
        normed = call(module, ATEN.mul.Tensor, normed, wide)
    if bias is not None:
        wide = call(module, ATEN.reshape.default, bias, shape)
        normed = call(module, ATEN.add.Tensor, normed, wide)
    return normed
