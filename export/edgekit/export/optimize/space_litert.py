"""What the search may choose in a LiteRT file: float, float16, int8 stored, dynamic or static int8.

Whole recipes beside them: ai-edge-quantizer's dynamic, weight-only and static int8, half weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.export.optimize.judge import file_feed
from edgekit.export.optimize.layers import Layer, layers_of, weight_of
from edgekit.export.optimize.matching import matches
from edgekit.export.optimize.plan import GRIDS, LAYERS, Plan
from edgekit.export.optimize.rounding import Rounding
from edgekit.export.optimize.rules import allowed
from edgekit.export.program import Feed
from edgekit.export.quantize_litert import half_weights, int8
from edgekit.export.quantize_litert_layers import FloatFile, static_int8, write_layers
from edgekit.export.rows import Workplace

STATIC_SAMPLES = 8
"""Calibration feeds for static int8: ai-edge-quantizer needs seconds for each."""


class LiteRTSpace:
    """Choices by layer of one student's LiteRT file."""

    emulated = frozenset({"float", "half", "w8"})
    times: Mapping[str, float] = {"d8": 0.35, "s8": 0.4}

    def __init__(self, place: Workplace, feeds: Sequence[Feed], source: Path) -> None:
        """`source` is the float32 file that all others are made of."""
        self._program, self._feeds = place.program, feeds
        self.rounding = Rounding(place.program, feeds)
        self._nearest = Rounding(place.program, feeds, nearest=True)
        self._file = FloatFile(source)
        self._given = [file_feed(place, feed) for feed in feeds[:STATIC_SAMPLES]]
        every = layers_of(place.program)
        self._found = matches(
            self._file.weights,
            {x.name: (weight_of(place.program, x).numpy(), x.out_axis) for x in every},
        )
        self.layers: Sequence[Layer] = tuple(x for x in every if x.name in self._found)

    def choices(self, layer: Layer) -> tuple[str, ...]:
        """Return what `layer` may be; static int8 pays where dynamic int8 is refused."""
        found = allowed("tflite", layer, ("half", "w8", "d8"))
        return found if "d8" in found else (*found, "s8")

    def options(self) -> Mapping[str, tuple[str, ...]]:
        """Return nothing: a file has no choice that is not one of its layers'."""
        return {}

    def presets(self) -> Sequence[Plan]:
        """Return ai-edge-quantizer's whole recipes."""
        names = ("fp32", "fp16", "int8 dynamic", "int8 weights", "int8 static")
        return [Plan(name) for name in names]

    def write(self, plan: Plan, path: Path) -> str:
        """Write the file of `plan`."""
        source = self._file.path
        if plan.back_end != LAYERS:
            kind, _, recipe = plan.back_end.partition(" ")
            if recipe == "static":
                return static_int8(source, path, feeds=self._given)
            if kind == "int8":
                return int8(source, path, recipe=recipe)
            if kind == "fp16":
                return half_weights(source, path)
            path.write_bytes(source.read_bytes())
            return "float32"
        choices: dict[str, Any] = {}
        weights = {}
        rounding = self._nearest if plan.options.get("rounding") == "nearest" else self.rounding
        for layer in self.layers:
            choice = plan.layers.get(layer.name, "float")
            match = self._found[layer.name]
            choices[match.key] = choice
            if choice in GRIDS:
                made = rounding.rounded(layer, GRIDS[choice])
                weights[match.key] = match.stored(made.weight.numpy())
        write_layers(self._file, path, choices=choices, weights=weights, feeds=self._given)
        return f"ai-edge-quantizer by layer; {plan.words(len(self._feeds))}"


def space(place: Workplace, feeds: Sequence[Feed]) -> LiteRTSpace:
    """Return the choices for the LiteRT file of a student."""
    return LiteRTSpace(place, feeds, place.sources().made("fp32"))
