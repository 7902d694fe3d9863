"""What the search may choose in an OpenVINO folder: computed in int8 by NNCF, or float16 weights.

NNCF quantizes the layers that it is not told to ignore; their weights were put on its grid before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.telemetry import silenced
from edgekit.export.optimize.layers import Layer, layers_of, weight_of, with_weights
from edgekit.export.optimize.matching import matches
from edgekit.export.optimize.plan import GRIDS, LAYERS, Plan
from edgekit.export.optimize.rounding import Rounding
from edgekit.export.optimize.space import write_whole
from edgekit.export.program import Feed
from edgekit.export.rows import Workplace

silenced()
import nncf  # noqa: E402 - its telemetry has to be switched off first

from edgekit.export.targets import openvino as target  # noqa: E402

WHOLE = ("all", "ends-1", "convolutions-1")
_TAKERS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
_OTHERS = ("Add", "AvgPool", "Interpolate", "MVN", "Multiply", "ReduceMean", "Softmax")
"""Operations that only cost accuracy in int8: nothing becomes smaller."""


class OpenVinoSpace:
    """Choices by layer of one student's OpenVINO folder."""

    emulated = frozenset({"half", "i8"})
    times: Mapping[str, float] = {"i8": 0.3}

    def __init__(self, place: Workplace, feeds: Sequence[Feed]) -> None:
        """Find the program's weights in its float32 folder."""
        self._place, self._feeds = place, feeds
        self._float = place.sources().made("fp32")
        self.rounding = Rounding(place.program, feeds)
        self._nearest = Rounding(place.program, feeds, nearest=True)
        every = layers_of(place.program)
        weights = {x.name: (weight_of(place.program, x).numpy(), x.out_axis) for x in every}
        known = matches(_weights(target.converted(place.program))[0], weights)
        self.layers: Sequence[Layer] = tuple(x for x in every if x.name in known)

    def choices(self, layer: Layer) -> tuple[str, ...]:
        """Return what `layer` may be."""
        return ("half", "i8")

    def options(self) -> Mapping[str, tuple[str, ...]]:
        """Return nothing: a folder has no choice that is not one of its layers'."""
        return {}

    def presets(self) -> Sequence[Plan]:
        """Return NNCF's whole recipes."""
        return [Plan("fp32"), Plan("fp16"), *(Plan(f"int8 {name}") for name in WHOLE)]

    def write(self, plan: Plan, path: Path) -> str:
        """Write the folder of `plan`."""
        place = self._place
        if plan.back_end != LAYERS:
            return write_whole(place, plan, path)
        rounding = self._nearest if plan.options.get("rounding") == "nearest" else self.rounding
        chosen = [x for x in self.layers if plan.layers.get(x.name) == "i8"]
        changed = {x.weight: rounding.rounded(x, GRIDS["i8"]).weight for x in chosen}
        with with_weights(place.program, changed):
            model = target.converted(place.program)
            weights = {x.name: (weight_of(place.program, x).numpy(), x.out_axis) for x in chosen}
        stored, takers = _weights(model)
        found = matches(stored, weights)
        kept = {takers[match.key] for match in found.values()}
        if kept:
            model = self._quantized(model, kept)
        target.save(model, path, half=True)
        return f"NNCF by layer; {plan.words(len(self._feeds))}"

    def _quantized(self, model: Any, kept: set[str]) -> Any:
        nncf.set_log_level(logging.ERROR)
        held = {operation.get_type_name() for operation in model.get_ordered_ops()}
        ignored = [
            operation.get_friendly_name()
            for operation in model.get_ordered_ops()
            if operation.get_type_name() in _TAKERS and operation.get_friendly_name() not in kept
        ]
        names = [port.name for port in self._place.program.inputs]
        return nncf.quantize(
            model,
            nncf.Dataset([[feed[name] for name in names] for feed in self._feeds]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(self._feeds),
            ignored_scope=nncf.IgnoredScope(
                names=ignored, types=[kind for kind in _OTHERS if kind in held]
            ),
        )


def _weights(model: Any) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """Return the constants that layers take, and the name of the operation that takes each."""
    stored, takers = {}, {}
    for operation in model.get_ordered_ops():
        if operation.get_type_name() not in _TAKERS:
            continue
        source = operation.input(1).get_source_output().get_node()
        while source.get_type_name() in ("Convert", "Reshape", "Transpose"):
            source = source.input(0).get_source_output().get_node()
        if source.get_type_name() == "Constant":
            name = source.get_friendly_name()
            stored[name] = np.array(source.get_data(), np.float32)
            takers[name] = operation.get_friendly_name()
    return stored, takers


def space(place: Workplace, feeds: Sequence[Feed]) -> OpenVinoSpace:
    """Return the choices for the OpenVINO folder of a student."""
    return OpenVinoSpace(place, feeds)
