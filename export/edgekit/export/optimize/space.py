"""What a format offers to the search: its layers, the choices of each, whole recipes, a writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from edgekit.core.errors import TargetUnsupported
from edgekit.core.manifest import Format
from edgekit.core.seams import Precision
from edgekit.export.optimize.layers import Layer
from edgekit.export.optimize.plan import BITS, Plan
from edgekit.export.optimize.rounding import Rounding
from edgekit.export.program import Feed
from edgekit.export.rows import Workplace

MODULES: dict[Format, str] = {
    "onnx": "edgekit.export.optimize.space_onnx",
    "tflite": "edgekit.export.optimize.space_litert",
    "aimodel": "edgekit.export.optimize.space_coreai",
    "mlpackage": "edgekit.export.optimize.space_coreml",
    "openvino": "edgekit.export.optimize.space_openvino",
    "pte": "edgekit.export.optimize.space_executorch",
}
"""Format -> module with a function `space`; a format that is not here has one precision only."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a choice is expected to cost before it is measured."""

    bytes: float
    time: float
    """Of the layer, in units of its time in float32."""


class Space(Protocol):
    """What a module of the table offers."""

    layers: Sequence[Layer]
    """Layers whose precision can be chosen in this format."""
    emulated: frozenset[str]
    """Choices whose error is measured in PyTorch: exact for those that change weights alone."""
    times: Mapping[str, float]
    """Choice -> expected time in units of float32; empty where time is not measured."""
    rounding: Rounding

    def choices(self, layer: Layer) -> tuple[str, ...]:
        """Return what `layer` may be, the most exact first."""
        ...

    def options(self) -> Mapping[str, tuple[str, ...]]:
        """Return what holds for the whole file: name -> values, the usual one first."""
        ...

    def presets(self) -> Sequence[Plan]:
        """Return whole recipes of the back ends that fit the format, float ones first."""
        ...

    def write(self, plan: Plan, path: Path) -> str:
        """Write the file of `plan` to `path` and return the recipe in words."""
        ...


def cost(space: Space, layer: Layer, choice: str) -> Cost:
    """Return what a choice is expected to cost."""
    return Cost(layer.elements * BITS[choice] / 8, layer.macs * space.times.get(choice, 1.0))


def write_whole(place: Workplace, plan: Plan, path: Path) -> str:
    """Write the file of a back end's own recipe, such as ``int8 ends-1``; the recipe in words."""
    precision, _, recipe = plan.back_end.partition(" ")
    return place.converter.convert(
        place.program,
        path,
        precision=cast(Precision, precision),
        recipe=recipe or "plain",
        sources=place.sources(),
    )


def space_of(place: Workplace, feeds: Sequence[Feed]) -> Space:
    """Return the space of the format of `place`, calibrated on `feeds`.

    Raises TargetUnsupported for a format without choices.
    """
    if place.form not in MODULES:
        raise TargetUnsupported(
            f"a file of the format {place.form} has no precision that could be chosen by layer",
            hint=f"optimize one of: {', '.join(MODULES)}",
        )
    module = import_module(MODULES[place.form])
    return cast(Space, module.space(place, feeds))
