"""What the search may choose in files for Apple's devices: how many bits each layer's weights take.

Activations stay float16. A weight is put on its grid in the program itself; the converter then
finds no more than 2^b values (or even steps), which it stores as they are. Latency is not measured:
away from a phone both formats are evaluated, and an evaluator's time means nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgekit.core.seams import Precision
from edgekit.export.optimize.layers import Layer, layers_of, with_weights
from edgekit.export.optimize.plan import GRIDS, LAYERS, Plan
from edgekit.export.optimize.rounding import Rounding
from edgekit.export.optimize.rules import allowed
from edgekit.export.program import Feed
from edgekit.export.rows import Workplace
from edgekit.export.weight_recipes import weights_named

NAMES = {
    "half": "float16",
    "w8": "linear-8",
    "p8": "palette-8",
    "p6": "palette-6",
    "p4": "palette-4",
    "p3": "palette-3",
    "p2": "palette-2",
    "p6g": "palette-6-group-16",
    "p4g": "palette-4-group-16",
    "p3g": "palette-3-group-16",
    "p2g": "palette-2-group-16",
}
"""Choice of a layer -> its name in the language of weights."""
CHOICES = ("half", "w8", "p6", "p4", "p3", "p2")
GROUPED = ("half", "w8", "p6g", "p4g", "p3g", "p2g")
"""From iOS 18 on; a palette for every 16 outputs costs a few bytes and gains some decibels."""


class AppleSpace:
    """Choices by layer of one student's Core ML package or Core AI asset."""

    emulated = frozenset(NAMES)
    times: Mapping[str, float] = {}

    def __init__(
        self, place: Workplace, feeds: Sequence[Feed], whole: Sequence[str], ios: int
    ) -> None:
        """`whole` are recipes of the converter for the entire file."""
        self._place, self._feeds, self._whole, self._ios = place, feeds, whole, ios
        self.rounding = Rounding(place.program, feeds)
        self._nearest = Rounding(place.program, feeds, nearest=True)
        self._float = place.sources().made("fp32")
        self.layers: Sequence[Layer] = tuple(
            layer
            for layer in layers_of(place.program)
            if place.form == "mlpackage" or layer.weight.endswith(".weight")
        )

    def choices(self, layer: Layer) -> tuple[str, ...]:
        """Return what `layer` may be on the oldest system asked for."""
        grouped = self._ios >= 18 and layer.groups == 1 and layer.kind != "transposed"
        found = allowed(self._place.form, layer, GROUPED if grouped else CHOICES)
        return tuple(name for name in found if weights_named(NAMES[name]).ios <= self._ios)

    def options(self) -> Mapping[str, tuple[str, ...]]:
        """Return nothing: a file has no choice that is not one of its layers'."""
        return {}

    def presets(self) -> Sequence[Plan]:
        """Return the converter's own recipes."""
        return [Plan("fp32"), Plan("fp16"), *(Plan(f"int8 {name}") for name in self._whole)]

    def write(self, plan: Plan, path: Path) -> str:
        """Write the file of `plan`."""
        place, converter = self._place, self._place.converter
        if plan.back_end != LAYERS:
            kind, _, recipe = plan.back_end.partition(" ")
            if kind == "fp32":
                _copied(self._float, path)
                return "float32"
            precision: Precision = "int8" if kind == "int8" else "fp16"
            return converter.convert(
                place.program,
                path,
                precision=precision,
                recipe=recipe or "plain",
                sources=place.sources(),
            )
        rounding = self._nearest if plan.options.get("rounding") == "nearest" else self.rounding
        chosen = {x.name: plan.layers.get(x.name, "half") for x in self.layers}
        weights = {
            layer.weight: rounding.rounded(layer, GRIDS[chosen[layer.name]]).weight
            for layer in self.layers
            if chosen[layer.name] in GRIDS
        }
        recipe = json.dumps(
            {"weights": "float16", "layers": {name: NAMES[c] for name, c in chosen.items()}}
        )
        beside = path.with_name(f"half-{path.name}")
        with with_weights(place.program, weights):

            def made(precision: Precision) -> Path:
                if precision == "fp32":
                    return self._float
                converter.convert(
                    place.program,
                    beside,
                    precision=precision,
                    recipe="plain",
                    sources=replace(place.sources(), made=made),
                )
                return beside

            converter.convert(
                place.program,
                path,
                precision="mixed",
                recipe=recipe,
                sources=replace(place.sources(), made=made),
            )
        shutil.rmtree(beside, ignore_errors=True)
        return f"weights by layer, computed in float16; {plan.words(len(self._feeds))}"


def _copied(source: Path, path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(source, path)
