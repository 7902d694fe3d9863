"""Attention with its softmax written out, for targets without the operator.

Source: torch.nn.functional.scaled_dot_product_attention's own definition in its documentation.
"""

from __future__ import annotations

import torch
from torch import fx

from edgekit.export.rewrites.nodes import ATEN, call, constant, given, shape_of


def written_out_attention(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Replace scaled_dot_product_attention by two products and a softmax.

    Left alone converters make a guard of it against rows that are masked everywhere: a where,
    an any and a logical_not, which no delegate takes.
    """
    if node.target != ATEN.scaled_dot_product_attention.default or node.op != "call_function":
        return None
    if float(given(node, 4, 0.0, name="dropout_p")) or node.kwargs.get("enable_gqa"):
        return None
    query, key, value = node.args[:3]
    scale = node.kwargs.get("scale")
    factor = shape_of(query)[-1] ** -0.5 if scale is None else float(scale)  # type: ignore[arg-type]
    scaled = call(module, ATEN.mul.Tensor, query, factor)
    scores = call(
        module, ATEN.matmul.default, scaled, call(module, ATEN.transpose.int, key, -2, -1)
    )
    mask = given(node, 3, name="attn_mask")
    if given(node, 5, False, name="is_causal"):
        rows, columns = shape_of(query)[-2], shape_of(key)[-2]
        hidden = torch.full((rows, columns), -1e4).triu(1)
        scores = call(module, ATEN.add.Tensor, scores, constant(module, hidden))
    elif mask is not None:
        if mask.meta["val"].dtype == torch.bool:
            return None
        scores = call(module, ATEN.add.Tensor, scores, mask)
    weights = call(module, ATEN.softmax.int, scores, -1)
    return call(module, ATEN.matmul.default, weights, value)
