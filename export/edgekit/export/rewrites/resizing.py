"""Resizes that few targets have, as ones that all have.

Every resize is linear and works on rows and columns apart, so it is two products with fixed
matrices; the matrices are what the resize makes of the unit vectors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from edgekit.export.rewrites.nodes import ATEN, call, constant, given, shape_of

_EXACT = (ATEN._upsample_nearest_exact2d.vec, ATEN._upsample_nearest_exact2d.default)
_NEAREST = (ATEN.upsample_nearest2d.vec, ATEN.upsample_nearest2d.default)
_RARE = (
    ATEN.upsample_bicubic2d.vec,
    ATEN.upsample_bicubic2d.default,
    ATEN._upsample_bilinear2d_aa.vec,
    ATEN._upsample_bilinear2d_aa.default,
    ATEN._upsample_bicubic2d_aa.vec,
    ATEN._upsample_bicubic2d_aa.default,
)


def nearest_exact_as_nearest(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write nearest-exact by whole factors as nearest: the same pixels, known everywhere."""
    if node.op != "call_function" or node.target not in _EXACT:
        return None
    x = node.args[0]
    before, after = shape_of(x)[2:], shape_of(node)[2:]
    if any(new % old for old, new in zip(before, after, strict=True)):
        return None
    factors = [float(new // old) for old, new in zip(before, after, strict=True)]
    return call(module, ATEN.upsample_nearest2d.vec, x, None, factors)


def resize_by_products(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write a resize that few targets have as rows @ x @ columns with fixed matrices.

    These are bicubic and antialiased ones, and nearest ones by factors that are not whole, where
    LiteRT and Core AI take other pixels than PyTorch.
    """
    if node.op != "call_function" or node.target not in (*_RARE, *_EXACT, *_NEAREST):
        return None
    x = node.args[0]
    before, after = shape_of(x)[2:], shape_of(node)[2:]
    if node.target in _NEAREST and not any(a % b for a, b in zip(after, before, strict=True)):
        return None
    if _scales(node) is not None and not _whole(before, after, _scales(node)):
        return None
    corners = node.target in _RARE and bool(given(node, 2, False, name="align_corners"))
    rows, columns = (
        _matrix(node.target, old, new, corners) for old, new in zip(before, after, strict=True)
    )
    right = call(module, ATEN.matmul.default, x, constant(module, columns.T))
    return call(module, ATEN.matmul.default, constant(module, rows), right)


def _scales(node: fx.Node) -> Any:
    if not str(node.target).endswith("vec"):
        return None
    return given(node, 3 if node.target in _RARE else 2)


def _whole(before: list[int], after: list[int], scales: Any) -> bool:
    """Tell whether the sizes say the same as the scales; otherwise the grid is another."""
    return all(
        abs(new / old - float(scale)) < 1e-9
        for old, new, scale in zip(before, after, scales, strict=True)
    )


def _matrix(target: Any, old: int, new: int, corners: bool) -> Tensor:
    """Return what the resize makes of each unit vector: new rows, old columns."""
    units = torch.eye(old).reshape(1, old, old, 1).expand(1, old, old, 2).contiguous()
    settings = (corners,) if target in _RARE else ()
    made = target.overloadpacket.default(units, [new, 2], *settings, None, None)
    matrix: Tensor = made[0, :, :, 0].T.contiguous()
    return matrix
