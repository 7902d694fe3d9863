"""Activations that were written out, put back into one operation."""

from __future__ import annotations

import math
from typing import Any

from torch import fx

from edgekit.export.rewrites.nodes import ATEN, call, given

_MUL, _ADD, _DIV = ATEN.mul.Tensor, ATEN.add.Tensor, ATEN.div.Tensor


def fused_gelu(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Find x / 2 (1 + erf(x / sqrt 2)), in any order of its factors, and make it one GELU."""
    factors = _factors(node)
    error = [f for f in factors if isinstance(f, fx.Node) and _one_plus_erf(f) is not None]
    if node.op != "call_function" or node.target != _MUL or len(error) != 1:
        return None
    inner = _one_plus_erf(error[0])
    numbers = [float(f) for f in factors if isinstance(f, int | float)]
    rest = [f for f in factors if isinstance(f, fx.Node) and f is not error[0]]
    if len(rest) != 1 or rest[0] is not inner or abs(math.prod(numbers) - 0.5) > 1e-6:
        return None
    return call(module, ATEN.gelu.default, inner)


def written_out_tanh_gelu(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write GELU's tanh form out, for a converter that takes every GELU for the exact one.

    coremltools reads `approximate` only where TorchScript puts it (apple/coremltools#2863), and
    fuses this form back into one operation; ExecuTorch 1.5.1's XNNPACK delegate has the exact one
    alone (pytorch/executorch#22851).

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2.
    """
    if node.target != ATEN.gelu.default or node.kwargs.get("approximate", "none") != "tanh":
        return None
    x = node.args[0]
    cubed = call(module, _MUL, call(module, ATEN.pow.Tensor_Scalar, x, 3), 0.044715)
    inner = call(module, _MUL, call(module, _ADD, x, cubed), math.sqrt(2 / math.pi))
    gate = call(module, _ADD, call(module, ATEN.tanh.default, inner), 1.0)
    return call(module, _MUL, call(module, _MUL, x, 0.5), gate)


def written_out_elu(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write ELU as relu(x) + alpha (exp(min(x, 0)) - 1), for converters without the operator.

    Source: Clevert et al. 2015, arXiv:1511.07289, equation 15; min(x, 0) is -relu(-x).
    """
    if node.op != "call_function" or node.target != ATEN.elu.default:
        return None
    x = node.args[0]
    alpha, scale, inner = (float(given(node, i, 1.0)) for i in (1, 2, 3))
    negated = call(module, ATEN.relu.default, call(module, ATEN.neg.default, x))
    power = call(module, ATEN.exp.default, call(module, _MUL, negated, -inner))
    below = call(module, _MUL, call(module, _ADD, power, -1.0), alpha * scale)
    above = call(module, _MUL, call(module, ATEN.relu.default, x), scale)
    return call(module, _ADD, above, below)


def _factors(value: Any) -> list[Any]:
    """Return what a chain of products multiplies; a division by a number is a factor too."""
    if isinstance(value, fx.Node) and value.op == "call_function" and value.target == _MUL:
        return [part for argument in value.args for part in _factors(argument)]
    if isinstance(value, fx.Node) and value.op == "call_function" and value.target == _DIV:
        above, below = value.args
        if isinstance(below, int | float):
            return [*_factors(above), 1 / float(below)]
    return [value]


def _one_plus_erf(node: fx.Node) -> fx.Node | None:
    """Return x of 1 + erf(x / sqrt 2), None for anything else."""
    if node.op != "call_function" or node.target != _ADD or node.kwargs:
        return None
    parts = list(node.args)
    ones = [part for part in parts if isinstance(part, int | float) and float(part) == 1.0]
    errors = [
        part
        for part in parts
        if isinstance(part, fx.Node)
        and part.op == "call_function"
        and part.target == ATEN.erf.default
    ]
    if len(ones) != 1 or len(errors) != 1:
        return None
    factors = _factors(errors[0].args[0])
    nodes = [factor for factor in factors if isinstance(factor, fx.Node)]
    scale = math.prod(float(factor) for factor in factors if isinstance(factor, int | float))
    return nodes[0] if len(nodes) == 1 and abs(scale - math.sqrt(0.5)) < 1e-6 else None
