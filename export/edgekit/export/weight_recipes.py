"""The language in which small weights are asked for, layer by layer, of Core ML and Core AI.

A recipe is a name such as ``palette-4-group-16``, or JSON that says it for each layer::

    {"weights": "palette-6", "layers": {"head": "float16", "residual1.0": "linear-8"},
     "activations": "int8", "ranges": "minmax", "float_activations": ["head"]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgekit.core.errors import EdgekitError

_NAME = re.compile(
    r"(?P<kind>linear|palette)-(?P<bits>\d)(?:-(?P<split>group|block)-(?P<size>\d+))?"
    r"(?P<scaled>-scaled)?"
)
_IOS16_PALETTES = {1, 2, 4, 6, 8}


@dataclass(frozen=True, slots=True)
class Weights:
    """How the weights of one layer are stored."""

    kind: Literal["float16", "linear", "palette"] = "float16"
    bits: int = 16
    group: int = 0
    """Output channels that share a palette; 0 for one palette a layer."""
    block: int = 0
    """Inputs that share a scale; 0 for one scale an output channel."""
    scaled: bool = False
    """Whether each output channel has a scale besides its palette."""

    @property
    def ios(self) -> int:
        """Oldest iOS that can read it."""
        if self.kind == "float16":
            return 15
        if self.kind == "linear":
            return 16 if self.bits == 8 and not self.block else 18
        plain = self.bits in _IOS16_PALETTES and not self.group and not self.scaled
        return 16 if plain else 18


@dataclass(frozen=True, slots=True)
class Recipe:
    """What becomes of every layer of a package."""

    weights: Weights
    layers: Mapping[str, Weights] = field(default_factory=dict)
    """Path of a layer's module -> how its weights are stored, where not like `weights`."""
    int8_activations: bool = False
    ranges: Literal["minmax", "percentile"] = "minmax"
    float_activations: tuple[str, ...] = ()
    """Layers whose inputs and outputs stay float16."""

    @property
    def ios(self) -> int:
        """Oldest iOS that can run it."""
        every = [self.weights, *self.layers.values()]
        return max([choice.ios for choice in every] + [17 if self.int8_activations else 15])


NAMED: dict[str, str] = {
    "weights": "linear-8",
    "w8a8": '{"weights": "linear-8", "activations": "int8"}',
    "w8a8-percentile": '{"weights": "linear-8", "activations": "int8", "ranges": "percentile"}',
    "a8": '{"weights": "float16", "activations": "int8"}',
}
"""Names of whole recipes; every name of weights is one as well."""


def weights_named(name: str) -> Weights:
    """Return what a name of weights stands for; EdgekitError for one that is none.

    >>> weights_named("palette-4-group-16")
    Weights(kind='palette', bits=4, group=16, block=0, scaled=False)
    """
    if name == "float16":
        return Weights()
    found = _NAME.fullmatch(name)
    bits = int(found["bits"]) if found else 0
    split, size = (found["split"], int(found["size"] or 0)) if found else (None, 0)
    allowed = {"linear": ((4, 8), "block"), "palette": ((1, 2, 3, 4, 6, 8), "group")}
    if found and bits in allowed[found["kind"]][0] and split in (None, allowed[found["kind"]][1]):
        linear = found["kind"] == "linear"
        if not (linear and found["scaled"]) and (split is None or size):
            return Weights(
                "linear" if linear else "palette",
                bits,
                0 if linear else size,
                size if linear else 0,
                bool(found["scaled"]),
            )
    raise EdgekitError(
        f"unknown weights {name!r}",
        hint="known: float16, linear-8, linear-4[-block-N], "
        "palette-1 to palette-8[-group-N][-scaled]",
    )


def parsed(recipe: str) -> Recipe:
    """Return what a recipe (a name or JSON) stands for; EdgekitError for one that is none."""
    text = NAMED.get(recipe, recipe)
    if not text.lstrip().startswith("{"):
        return Recipe(weights_named(text))
    try:
        facts = json.loads(text)
    except json.JSONDecodeError as error:
        raise EdgekitError(f"a recipe is no JSON: {error}", hint="see docs/coreml.md") from error
    known = {"weights", "layers", "activations", "ranges", "float_activations"}
    if unknown := set(facts) - known:
        raise EdgekitError(
            f"a recipe has no {', '.join(sorted(unknown))}",
            hint=f"known: {', '.join(sorted(known))}",
        )
    activations, ranges = facts.get("activations", "float16"), facts.get("ranges", "minmax")
    if activations not in ("float16", "int8") or ranges not in ("minmax", "percentile"):
        raise EdgekitError(
            f"activations {activations!r} with ranges {ranges!r} are not known",
            hint="activations: float16 or int8; ranges: minmax or percentile",
        )
    return Recipe(
        weights_named(facts.get("weights", "float16")),
        {path: weights_named(name) for path, name in facts.get("layers", {}).items()},
        activations == "int8",
        ranges,
        tuple(facts.get("float_activations", ())),
    )


def described(recipe: Recipe) -> str:
    """Say a recipe in words that can be repeated."""
    words = _words(recipe.weights)
    for path, choice in recipe.layers.items():
        words += f"; {path}: {_words(choice)}"
    if recipe.int8_activations:
        words += f"; int8 activations, symmetric, ranges by {recipe.ranges} over all samples"
        if recipe.float_activations:
            words += f", float16 around {', '.join(recipe.float_activations)}"
        return words
    return f"{words}; computed in float16"


def _words(choice: Weights) -> str:
    if choice.kind == "float16":
        return "float16 weights"
    if choice.kind == "linear":
        where = f"block of {choice.block} inputs" if choice.block else "channel"
        return f"int{choice.bits} weights per {where} (symmetric)"
    where = f"{choice.group} channels" if choice.group else "tensor"
    scaled = ", scaled per channel" if choice.scaled else ""
    return f"palette of {2**choice.bits} values per {where} (k-means{scaled})"
