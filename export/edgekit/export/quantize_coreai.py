"""8-bit weights for Core AI by coreai-opt; activations stay float."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from coreai_opt.palettization import KMeansPalettizer, KMeansPalettizerConfig
from coreai_opt.quantization import ExecutionMode, Quantizer, QuantizerConfig


@dataclass(frozen=True, slots=True)
class Choice:
    """How weights become 8 bits, and whether the rest computes in float16."""

    palette: bool
    half_math: bool

    def half(self) -> tuple[bool, str]:
        """Return whether to cast to float16, and the recipe in words."""
        weights = (
            "palette of 256 values per tensor (k-means)"
            if self.palette
            else "int8 weights per channel (symmetric)"
        )
        math = "float16" if self.half_math else "float32"
        return self.half_math, f"{weights}, computed in {math}"


INT8_RECIPES: dict[str, Choice] = {
    "palette-half": Choice(palette=True, half_math=True),
    "palette": Choice(palette=True, half_math=False),
    "linear-half": Choice(palette=False, half_math=True),
    "linear": Choice(palette=False, half_math=False),
}


class _Plain(torch.nn.Module):
    """A module around a graph: coreai-opt asks modules, not graphs, whether they train."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results: tuple[torch.Tensor, ...] = self.inner(*inputs)
        return results


def eight_bit(
    module: torch.nn.Module, examples: tuple[torch.Tensor, ...], choice: Choice
) -> torch.nn.Module:
    """Return a copy of `module` whose convolution and linear weights take 8 bits each."""
    copied = _Plain(copy.deepcopy(module)).eval()
    work = (
        KMeansPalettizer(copied, KMeansPalettizerConfig.presets.w8())
        if choice.palette
        else Quantizer(copied, QuantizerConfig.presets.w8(execution_mode=ExecutionMode.EAGER))
    )
    work.prepare(examples)
    finished: torch.nn.Module = work.finalize()
    return finished.eval()
