"""Small weights for Core AI by coreai-opt, layer by layer; activations stay float."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from coreai_opt.palettization import (
    KMeansPalettizer,
    KMeansPalettizerConfig,
    ModuleKMeansPalettizerConfig,
    PalettizationSpec,
)
from coreai_opt.palettization.config.palettization_config import OpKMeansPalettizerConfig
from coreai_opt.palettization.spec.granularity import (
    PerGroupedChannelGranularity,
    PerTensorGranularity,
)
from coreai_opt.quantization import ExecutionMode, ModuleQuantizerConfig, Quantizer, QuantizerConfig
from torch import nn

from edgekit.core.errors import EdgekitError
from edgekit.export.weight_recipes import Recipe, Weights

MIN_ELEMENTS = 512
"""Smaller weights stay float: they save nothing."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How weights become 8 bits, and whether the rest computes in float16."""

    palette: bool
    half_math: bool

    @property
    def recipe(self) -> Recipe:
        """The same in the language of weights."""
        return Recipe(Weights("palette" if self.palette else "linear", 8))

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


def recipes_for_search() -> tuple[str, ...]:
    """Return names of weights for each layer, from large to small; each is a recipe by itself."""
    return (
        "float16",
        "linear-8",
        "palette-8",
        "palette-6-group-16",
        "palette-4-group-8",
        "palette-4-group-16",
        "palette-4-scaled",
        "palette-4",
        "linear-4-block-16",
        "palette-2",
    )


class _Plain(torch.nn.Module):
    """A module around a graph: coreai-opt asks modules, not graphs, whether they train."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results: tuple[torch.Tensor, ...] = self.inner(*inputs)
        return results


def small_weights(
    module: torch.nn.Module,
    examples: tuple[torch.Tensor, ...],
    recipe: Recipe,
    layers: Mapping[str, str],
) -> torch.nn.Module:
    """Return a copy of `module` whose convolution and linear weights are stored as `recipe` says.

    `layers` maps the path of a layer in the student to its name in `module`. Raises EdgekitError
    for a layer that `module` does not have.
    """
    if unknown := set(recipe.layers) - set(layers):
        raise EdgekitError(
            f"the program has no layer {', '.join(sorted(unknown))} with weights",
            hint=f"it has: {', '.join(layers)}",
        )
    paths = {name: path for path, name in layers.items()}
    made: nn.Module = _Plain(copy.deepcopy(module)).eval()
    choices = {
        f"inner.{name}": (recipe.layers.get(paths.get(name, name), recipe.weights), layer)
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        and layer.weight.numel() >= MIN_ELEMENTS
    }
    for kind in ("palette", "linear"):
        wanted = {
            re.escape(name): _palette(choice, layer.weight.shape)
            if kind == "palette"
            else _linear(choice, layer.weight.shape)
            for name, (choice, layer) in choices.items()
            if choice.kind == kind
        }
        if wanted:
            work: Any = (
                KMeansPalettizer(
                    made, KMeansPalettizerConfig(global_config=None, module_name_configs=wanted)
                )
                if kind == "palette"
                else Quantizer(
                    made,
                    QuantizerConfig(
                        global_config=None,
                        module_name_configs=wanted,
                        execution_mode=ExecutionMode.EAGER,
                    ),
                )
            )
            work.prepare(examples)
            made = work.finalize()
    return made.eval()


def _palette(choice: Weights, shape: torch.Size) -> Any:
    group = math.gcd(shape[0], choice.group)
    spec = PalettizationSpec(
        n_bits=choice.bits,
        granularity=PerGroupedChannelGranularity(axis=0, group_size=group)
        if choice.group
        else PerTensorGranularity(),
        enable_per_channel_scale=choice.scaled,
    )
    return ModuleKMeansPalettizerConfig(
        op_input_spec=None,
        op_output_spec=None,
        op_state_spec=dict.fromkeys(OpKMeansPalettizerConfig.get_default_state_spec(), spec),
        rounding_precision=6,  # 4 by default: a palette chosen beforehand would be moved
    )


def _linear(choice: Weights, shape: torch.Size) -> Any:
    presets = ModuleQuantizerConfig.presets
    if choice.block:
        size = math.gcd(shape[1], choice.block)
        return presets.w4_per_block(block_size=size) if choice.bits == 4 else presets.w8()
    return presets.w4() if choice.bits == 4 else presets.w8()
