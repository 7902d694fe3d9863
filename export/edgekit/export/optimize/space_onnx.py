"""What the search may choose in an ONNX file: float, float16, int8 stored, int8 computed, 4 bits.

Beside the choices by layer stand the whole recipes of ONNX Runtime's own quantizer and, where it is
installed, of NNCF.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx

from edgekit.export.optimize.layers import Layer, layers_of, weight_of
from edgekit.export.optimize.matching import Match, matches
from edgekit.export.optimize.plan import GRIDS, LAYERS, Plan
from edgekit.export.optimize.rounding import Rounding
from edgekit.export.optimize.rules import allowed
from edgekit.export.program import Feed, Program
from edgekit.export.quantize_onnx import INT8_RECIPES
from edgekit.export.quantize_onnx_layers import (
    COMPUTED,
    Ranges,
    Stored,
    activation_ranges,
    weights_of,
    write_layers,
)
from edgekit.export.rows import Workplace

WHOLE = ("ends-1", "ends-2", "all", "percentile", "s8s8")


class OnnxSpace:
    """Choices by layer of one student's ONNX file."""

    emulated = frozenset({"float", "half", "w8", "w4"})
    times: Mapping[str, float] = {"w8a8": 0.4}

    def __init__(self, program: Program, feeds: Sequence[Feed], source: Path) -> None:
        """`source` is the float32 file that all others are made of."""
        self._program, self._feeds, self._source = program, feeds, source
        self.rounding = Rounding(program, feeds)
        self._nearest = Rounding(program, feeds, nearest=True)
        model: Any = onnx.load(source)
        every = layers_of(program)
        self._found: dict[str, Match] = matches(
            weights_of(model),
            {layer.name: (weight_of(program, layer).numpy(), layer.out_axis) for layer in every},
        )
        self.layers: Sequence[Layer] = tuple(x for x in every if x.name in self._found)
        self._operator: dict[str, str] = {
            node.input[1]: str(node.op_type) for node in model.graph.node if len(node.input) > 1
        }

    @cached_property
    def _ranges(self) -> dict[str, Ranges]:
        return activation_ranges(self._source, self._feeds)

    def choices(self, layer: Layer) -> tuple[str, ...]:
        """Return what `layer` may be."""
        computed = self._operator[self._found[layer.name].key] in COMPUTED
        return allowed("onnx", layer, ("half", "w8", *(("w8a8",) if computed else ()), "w4"))

    def options(self) -> Mapping[str, tuple[str, ...]]:
        """Return how the ranges of activations are set."""
        return {"ranges": ("least error", "minmax")}

    def presets(self) -> Sequence[Plan]:
        """Return ONNX Runtime's own recipes, and NNCF's."""
        names = ["fp32", "fp16", *(f"int8 {name}" for name in WHOLE)]
        if find_spec("nncf") is not None:
            names.append("nncf")
        return [Plan(name) for name in names]

    def write(self, plan: Plan, path: Path) -> str:
        """Write the file of `plan`."""
        if plan.back_end != LAYERS:
            return self._whole(plan, path)
        choices: dict[str, Any] = {}
        weights = {}
        rounding = self._nearest if plan.options.get("rounding") == "nearest" else self.rounding
        for layer in self.layers:
            choice = plan.layers.get(layer.name, "float")
            match = self._found[layer.name]
            choices[match.key] = choice
            if choice in GRIDS:
                made = rounding.rounded(layer, GRIDS[choice])
                assert made.scale is not None
                weights[match.key] = Stored(
                    match.stored(made.weight.numpy()), made.scale.numpy(), match.out_axis
                )
        write_layers(
            self._source,
            path,
            choices=choices,
            weights=weights,
            ranges=self._ranges if "w8a8" in choices.values() else {},
            how="minmax" if plan.options.get("ranges") == "minmax" else "least error",
        )
        return f"static QDQ for ONNX Runtime; {plan.words(len(self._feeds))}"

    def _whole(self, plan: Plan, path: Path) -> str:
        from edgekit.export.targets import onnx as target

        if plan.back_end.startswith("nncf"):
            from edgekit.export.quantize_nncf import quantize_onnx

            fast = plan.back_end == "nncf"
            return quantize_onnx(self._source, path, feeds=self._feeds, fast_bias=fast)
        kind, _, recipe = plan.back_end.partition(" ")
        if kind == "int8":
            from edgekit.export.quantize_onnx import static_int8

            assert recipe in INT8_RECIPES, recipe
            return static_int8(self._source, path, recipe=recipe, feeds=self._feeds)
        if kind == "fp16":
            return target.half_file(self._source, path, self._feeds)
        path.write_bytes(self._source.read_bytes())
        return "float32"


def space(place: Workplace, feeds: Sequence[Feed]) -> OnnxSpace:
    """Return the choices for the ONNX file of a student."""
    return OnnxSpace(place.program, feeds, place.sources().made("fp32"))


def mixed(program: Program, source: Path, path: Path, *, recipe: str, feeds: Sequence[Feed]) -> str:
    """Write the file of a recipe that a search found."""
    from edgekit.export.optimize.plan import read_plan

    return OnnxSpace(program, feeds, source).write(read_plan(recipe), path)
