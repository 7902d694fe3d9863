"""What the search may choose in an ExecuTorch program: int8 by PT2E for XNNPACK, or float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekit.export.optimize.layers import Layer, layers_of, with_weights
from edgekit.export.optimize.plan import GRIDS, LAYERS, Plan
from edgekit.export.optimize.rounding import Rounding
from edgekit.export.optimize.space import write_whole
from edgekit.export.program import Feed
from edgekit.export.quantize_executorch import layers_quantized
from edgekit.export.rewrites import rewritten_for
from edgekit.export.rows import Workplace
from edgekit.export.targets import executorch as target


class ExecuTorchSpace:
    """Choices by layer of one student's ExecuTorch program."""

    emulated = frozenset({"float", "i8"})
    times: Mapping[str, float] = {"i8": 0.4}

    def __init__(self, place: Workplace, feeds: Sequence[Feed]) -> None:
        """Only layers that are modules can be named to the quantizer."""
        self._place, self._feeds = place, feeds
        self.rounding = Rounding(place.program, feeds)
        self._nearest = Rounding(place.program, feeds, nearest=True)
        self.layers: Sequence[Layer] = tuple(
            layer
            for layer in layers_of(place.program)
            if layer.kind != "transposed" and layer.weight.endswith(".weight")
        )

    def choices(self, layer: Layer) -> tuple[str, ...]:
        """Return what `layer` may be."""
        return ("float", "i8")

    def options(self) -> Mapping[str, tuple[str, ...]]:
        """Return nothing: a program has no choice that is not one of its layers'."""
        return {}

    def presets(self) -> Sequence[Plan]:
        """Return torchao's whole recipe."""
        return [Plan("fp32"), Plan("int8 static")]

    def write(self, plan: Plan, path: Path) -> str:
        """Write the program of `plan`."""
        place = self._place
        if plan.back_end != LAYERS:
            return write_whole(place, plan, path)
        rounding = self._nearest if plan.options.get("rounding") == "nearest" else self.rounding
        chosen = [x for x in self.layers if plan.layers.get(x.name) == "i8"]
        changed = {x.weight: rounding.rounded(x, GRIDS["i8"]).weight for x in chosen}
        names = [x.weight.removesuffix(".weight") for x in chosen]
        with with_weights(place.program, changed):
            program, rewrites = rewritten_for("pte", place.program)
            made = layers_quantized(program, self._feeds, names)
            target.write(made, program, path)
        return f"PT2E by layer for XNNPACK; {plan.words(len(self._feeds))}{rewrites}"


def space(place: Workplace, feeds: Sequence[Feed]) -> ExecuTorchSpace:
    """Return the choices for the ExecuTorch program of a student."""
    return ExecuTorchSpace(place, feeds)
