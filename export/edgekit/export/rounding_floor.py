"""What rounding alone costs a student: the least that a good fp16 or int8 file must reach.

One bar for all students is too low for most: a trained generator's int8 files reach 50 dB and
more, so a file at 40 dB has a fault although it clears 35 dB. The student itself is run with its
values rounded as the file's would be; a file may be a fixed number of decibels below that.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgekit.core.seams import Precision
from edgekit.export.parity import EXACT_DB, psnr_db
from edgekit.export.program import Feed, Program, run


def rounded_db(program: Program, feeds: Sequence[Feed], precision: Precision) -> list[float]:
    """Return the dB that `program` reaches on each feed when only its values are rounded."""
    module = copy.deepcopy(program.module)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                weight = layer.weight
                layer.weight.copy_(weight.half() if precision == "fp16" else eight_bits(weight))
    simulated = replace(program, module=_Rounded(module, precision))  # type: ignore[arg-type]
    found = []
    for feed in feeds:
        wanted, got = run(program, feed), run(simulated, feed)
        scores = [
            psnr_db(wanted[port.name], got[port.name], peak=port.high - port.low)
            for port in program.outputs
        ]
        found.append(max(-EXACT_DB, min(EXACT_DB, *scores)))
    return found


def eight_bits(weight: Tensor) -> Tensor:
    """Round a weight to int8 with one scale an output."""
    flat = weight.detach().flatten(1)
    scale = (flat.abs().amax(1, keepdim=True) / 127).clamp(min=1e-30)
    return ((flat / scale).round() * scale).reshape(weight.shape)


class _Rounded(nn.Module):
    """Runs a graph with each value in float16, or each layer's input in 8 bits."""

    def __init__(self, module: fx.GraphModule, precision: Precision) -> None:
        super().__init__()
        self._run = _Rounding(module, precision)

    def forward(self, *inputs: Tensor) -> Any:
        return self._run.run(*inputs)


class _Rounding(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, precision: Precision) -> None:
        super().__init__(module)
        self._half = precision == "fp16"

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if self._half and isinstance(value, Tensor) and value.is_floating_point():
            return value.half().float()
        return value

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        if not self._half:
            x = args[0]
            low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
            step = max((high - low) / 255, 1e-30)
            args = ((x / step).round() * step, *args[1:])
        return super().call_module(target, args, kwargs)
