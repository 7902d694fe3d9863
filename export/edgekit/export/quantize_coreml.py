"""Small weights and 8-bit activations for Core ML, layer by layer, by coremltools on any system.

`recipes_for_search` names what a search may combine; docs/coreml.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coremltools as ct
import coremltools.optimize.coreml as cto
import numpy as np
from coremltools.converters.mil.frontend.milproto import load as from_proto
from coremltools.models import utils as model_utils
from coremltools.optimize.coreml import _post_training_quantization as post_training

from edgekit.core.tensors import Batch
from edgekit.export.palette import nearest_values, palette
from edgekit.export.weight_recipes import Recipe, Weights, weights_named

MIN_ELEMENTS = 512
"""Smaller weights stay float16: they save nothing."""


def recipes_for_search(ios: int) -> tuple[str, ...]:
    """Return names of weights for each layer, from large to small, that iOS `ios` can read.

    Any of them is a recipe by itself and may stand in ``layers`` of a JSON recipe.
    """
    names = (
        "float16",
        "linear-8",
        "palette-8",
        "palette-6",
        "palette-4-group-8",
        "palette-4",
        "linear-4-block-16",
        "palette-3-group-8",
        "palette-3",
        "palette-2",
    )
    return tuple(name for name in names if weights_named(name).ios <= ios)


def compressed(
    source: Path,
    recipe: Recipe,
    *,
    constants: Mapping[str, str],
    statistics: Mapping[str, tuple[float, float]],
) -> Any:
    """Return the model of the float16 package `source` as `recipe` says.

    `constants` maps a layer's path to the name of its weight in the package; `statistics` holds
    the range of each activation (may be empty without int8 activations).
    """
    model = ct.models.MLModel(str(source), skip_model_load=True)
    facts = _weights_in(model)
    if recipe.int8_activations:
        floats = [
            op.name
            for path in recipe.float_activations
            if constants.get(path) in facts
            for op in facts[constants[path]].users
        ]
        model = _with_int8_activations(model, statistics, floats)
    paths = {constant: path for path, constant in constants.items()}
    choices = {
        constant: recipe.layers.get(paths.get(constant, ""), recipe.weights) for constant in facts
    }
    shapes = {constant: entry.shape for constant, entry in facts.items()}
    transposed = {
        constant
        for constant, entry in facts.items()
        if any(op.op_type == "conv_transpose" for op in entry.users)
    }
    linear = {
        name: _linear_config(choice, shapes[name], name in transposed)
        for name, choice in choices.items()
        if choice.kind == "linear"
    }
    palettes = {
        name: _palette_config(choice, shapes[name], name in transposed)
        for name, choice in choices.items()
        if choice.kind == "palette"
    }
    if linear:
        everything = {name: linear.get(name) for name in choices}
        model = cto.linear_quantize_weights(
            model, cto.OptimizationConfig(op_name_configs=everything)
        )
    if palettes:
        config = cto.OptimizationConfig(op_name_configs={n: palettes.get(n) for n in choices})
        model = cto.palettize_weights(model, config)
    return model


@dataclass(frozen=True, slots=True)
class _Weight:
    shape: tuple[int, ...]
    users: tuple[Any, ...]
    """Operations that take it."""


def _weights_in(model: Any) -> dict[str, _Weight]:
    """Return the constants that may be compressed: matrices, and not long biases.

    A constant that is one of several inputs of an equal kind, as of a concat, is no weight but a
    value of the computation and stays as it is. (`get_weights_metadata` of coremltools 9.0 fails
    on such a constant.)
    """
    version = model.get_spec().specificationVersion
    program = model_utils._convert_model_spec_to_pymil_prog(model, version, from_proto.load)
    found = {}
    for op in (op for function in program.functions.values() for op in function.operations):
        value = op.outputs[0].val if op.op_type == "const" else None
        if not isinstance(value, np.ndarray) or value.ndim < 2 or value.size < MIN_ELEMENTS:
            continue
        users = tuple(dict.fromkeys(op.outputs[0].child_ops))
        given = [value for user in users for value in user.inputs.values()]
        if not any(isinstance(value, tuple | list) for value in given):
            found[op.name] = _Weight(tuple(value.shape), users)
    return found


def _linear_config(choice: Weights, shape: tuple[int, ...], transposed: bool) -> Any:
    if not choice.block:
        return cto.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype=f"int{choice.bits}", weight_threshold=MIN_ELEMENTS
        )
    inputs = shape[0] if transposed else shape[1]
    return cto.OpLinearQuantizerConfig(
        mode="linear_symmetric",
        dtype=f"int{choice.bits}",
        granularity="per_block",
        block_size=math.gcd(inputs, choice.block),
        weight_threshold=MIN_ELEMENTS,
    )


def _palette_config(choice: Weights, shape: tuple[int, ...], transposed: bool) -> Any:
    def found(weight: Batch) -> tuple[Batch, Batch]:
        values = palette(np.asarray(weight, np.float32).reshape(-1), choice.bits)
        rounded = values.astype(weight.dtype)
        places = nearest_values(np.asarray(weight, np.float32).reshape(-1), values)
        return rounded, places.astype(np.uint8)

    outputs = shape[1] if transposed else shape[0]
    split = (
        {"granularity": "per_grouped_channel", "group_size": math.gcd(outputs, choice.group)}
        if choice.group
        else {}
    )
    return cto.OpPalettizerConfig(
        mode="custom",
        lut_function=found,
        weight_threshold=MIN_ELEMENTS,
        **split,
    )


def _with_int8_activations(
    model: Any, statistics: Mapping[str, tuple[float, float]], floats: Sequence[str]
) -> Any:
    """Insert quantize and dequantize around what Core ML computes in int8.

    coremltools measures ranges by running the model, which only macOS can, and its update keeps
    those of the last sample alone. Here `statistics` stand in for that one step; everything else
    is coremltools' own.
    """
    ranges = {name: {"rmin": low, "rmax": high} for name, (low, high) in statistics.items()}
    config = cto.OptimizationConfig(
        global_config=cto.OpLinearQuantizerConfig(mode="linear_symmetric"),
        op_name_configs=dict.fromkeys(floats) or None,
    )
    measure = post_training._get_activation_calibration_stats
    post_training._get_activation_calibration_stats = lambda *_: ranges
    try:
        return cto.linear_quantize_activations(model, config, [])
    finally:
        post_training._get_activation_calibration_stats = measure
