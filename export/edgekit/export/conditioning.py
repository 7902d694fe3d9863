"""How much of an answer is noise: a student run with each value off by its last digit.

A flat picture makes flat maps, and a norm divides their rounding errors by the root of its epsilon:
a factor of 300, a hundred thousand after two of them. What a student says there no other runtime
repeats, a right one no more than a wrong one. A feed that no photo looks like is therefore judged
only where the student's answer is about as firm as on photos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgekit.core.seams import Precision
from edgekit.export.parity import EXACT_DB, psnr_db
from edgekit.export.program import Feed, Program, run

LAST_DIGIT: Mapping[Precision, float] = {
    "fp32": 2.0**-23,
    "fp16": 2.0**-10,
    "int8": 2.0**-8,
    "mixed": 2.0**-8,
}
"""Distance of 1 from the next number, of values that span their range for int8."""


UNSTABLE_DB = 20.0
"""A feed on which that noise costs this much more than on photos is unstable. On 16 modules the
others were within 12 dB of their photos, flat maps through norms 45 to 120 dB below."""


def unstable(program: Program, feed: Feed, photos: Sequence[Feed], precision: Precision) -> bool:
    """Tell whether rounding decides what `program` says on `feed`, unlike on `photos`."""
    usual = min(rounding_noise(program, photo, precision) for photo in photos)
    return rounding_noise(program, feed, precision) < usual - UNSTABLE_DB


def rounding_noise(program: Program, feed: Feed, precision: Precision) -> float:
    """Return the dB that `program` reaches on `feed` with a noise of one last digit on every value.

    The noise is uniform, independent at each element, as large as the sum of the element and the
    mean magnitude of its tensor, because a sum of many terms rounds as its terms do. Of two draws
    the worse one counts.
    """
    wanted = run(program, feed)
    scores = []
    for seed in range(2):
        noisy = _Noisy(program.module, LAST_DIGIT[precision], seed)
        got = run(replace(program, module=noisy), feed)  # type: ignore[arg-type]
        scores += [
            psnr_db(wanted[port.name], got[port.name], peak=port.high - port.low)
            for port in program.outputs
        ]
    return max(-EXACT_DB, min(EXACT_DB, *scores))


class _Noisy(nn.Module):
    """Runs a graph with noise on every value that it takes or computes."""

    def __init__(self, module: fx.GraphModule, unit: float, seed: int) -> None:
        super().__init__()
        self._run = _Noise(module, unit, seed)

    def forward(self, *inputs: Tensor) -> Any:
        return self._run.run(*inputs)


class _Noise(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, unit: float, seed: int) -> None:
        super().__init__(module)
        self._unit = unit
        self._random = torch.Generator().manual_seed(seed)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        stored = n.op in ("get_attr", "output")
        if stored or not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        size = value.abs()
        draw = torch.rand(value.shape, generator=self._random) * 2 - 1
        return value + self._unit * draw * (size + size.mean())
