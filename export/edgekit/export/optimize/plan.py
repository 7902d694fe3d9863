"""What a candidate is: one back end, one choice a layer, and a few words that hold for the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgekit.core.errors import BadInput
from edgekit.core.store import value_sha256
from edgekit.export.optimize.rounding import Grid

LAYERS = "layers"
"""Back end of a plan that chooses for each layer; any other is a whole recipe of a converter."""

GRIDS = {
    "w8": Grid("linear", 8),
    "w4": Grid("linear", 4),
    "w8a8": Grid("linear", 8),
    "d8": Grid("linear", 8),
    "s8": Grid("linear", 8),
    "i8": Grid("linear", 8),
    "p8": Grid("palette", 8),
    "p6": Grid("palette", 6),
    "p4": Grid("palette", 4),
    "p3": Grid("palette", 3),
    "p2": Grid("palette", 2),
    "p6g": Grid("palette", 6, 16),
    "p4g": Grid("palette", 4, 16),
    "p3g": Grid("palette", 3, 16),
    "p2g": Grid("palette", 2, 16),
}
"""Choice of a layer -> the grid that its weights lie on; no grid for float and half."""

BITS = {"float": 32.0, "half": 16.0} | {name: float(grid.bits) for name, grid in GRIDS.items()}

MEANING = {
    "float": "float32 weights",
    "half": "float16 weights",
    "w8": "int8 weights, computed in float",
    "w4": "4-bit weights, computed in float",
    "w8a8": "int8 weights and uint8 activations with fixed ranges, computed in int8",
    "d8": "int8 weights, activations quantized on the fly, computed in int8",
    "s8": "int8 weights and activations with fixed ranges, computed in int8",
    "i8": "int8 weights and activations, computed in int8",
    "p8": "palette of 256 weights",
    "p6": "palette of 64 weights",
    "p4": "palette of 16 weights",
    "p3": "palette of 8 weights",
    "p2": "palette of 4 weights",
    "p6g": "palette of 64 weights for every 16 outputs",
    "p4g": "palette of 16 weights for every 16 outputs",
    "p3g": "palette of 8 weights for every 16 outputs",
    "p2g": "palette of 4 weights for every 16 outputs",
}


@dataclass(frozen=True)
class Plan:
    """One candidate."""

    back_end: str
    layers: Mapping[str, str] = field(default_factory=dict)
    """Name of the layer -> choice; empty for a whole recipe."""
    options: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the JSON that a converter takes as the recipe of the precision ``mixed``."""
        return json.dumps(
            {"back_end": self.back_end, "layers": dict(self.layers), "options": dict(self.options)},
            sort_keys=True,
        )

    @property
    def key(self) -> str:
        """A name that equal plans share."""
        return value_sha256(json.loads(self.text()))[:12]

    def words(self, samples: int) -> str:
        """Say what a plan of layers does, so that a person could do it again."""
        groups: dict[str, list[str]] = {}
        for name, choice in self.layers.items():
            groups.setdefault(choice, []).append(name)
        largest = max(groups, key=lambda choice: len(groups[choice]))
        parts = []
        for choice in sorted(groups, key=lambda choice: -len(groups[choice])):
            names = groups[choice]
            which = "all other layers" if choice == largest and len(groups) > 1 else None
            which = which or ("all layers" if len(groups) == 1 else ", ".join(names))
            parts.append(f"{which}: {MEANING[choice]}")
        options = ", ".join(f"{name} {value}" for name, value in sorted(self.options.items()))
        rounding = (
            f"weights rounded by GPTQ on {samples} calibration samples"
            if self.options.get("rounding", "gptq") == "gptq"
            else "weights rounded to nearest"
        )
        return "; ".join([*parts, rounding, *([options] if options else [])])


def read_plan(text: str) -> Plan:
    """Read what `Plan.text` gave; BadInput if it is something else."""
    try:
        value = json.loads(text)
        return Plan(str(value["back_end"]), dict(value["layers"]), dict(value["options"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"not a recipe of `edgekit optimize`: {text[:80]!r}",
            hint="take the recipe from front.json of a search",
        ) from error
