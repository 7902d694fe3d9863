"""What each choice of each layer costs on its own: measured once, the ground of the search.

All other layers stay float32. A choice that changes weights alone is measured in PyTorch, which
gives the same numbers as the file would; a choice that rounds activations is measured on a file, or
where making one takes long, by rounding the layer's inputs in PyTorch.
Errors of different layers are nearly independent, so their squares add up: that is how candidates
are ranked before any of them is made.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.core.progress import Report, silent
from edgekit.export.optimize.judge import Judge, error
from edgekit.export.optimize.layers import Layer, weight_of, with_weights
from edgekit.export.optimize.plan import BITS, GRIDS, LAYERS, Plan
from edgekit.export.optimize.rounding import Rounding
from edgekit.export.optimize.space import Space, cost
from edgekit.export.optimize.tune import COMPUTED_IN_INT8, stepped
from edgekit.export.program import Feed, run
from edgekit.export.rows import Workplace

PICTURES = 3
STEPS = (0.0, *(10.0 ** (k / 2) for k in range(-12, 3)))
"""Prices of a byte and of a millisecond, in units of the error of the cheapest file."""


@dataclass
class Sensitivity:
    """Layer -> choice -> mean squared error of the output, black to white being 1."""

    noise: dict[str, dict[str, float]] = field(default_factory=dict)

    def predicted(self, plan: Mapping[str, str]) -> float:
        """Return the decibels that a plan of layers should reach."""
        total = sum(self.noise[name][choice] for name, choice in plan.items())
        return -10 * math.log10(max(total, 1e-15))


UNIFORM_AFTER = 4
"""Ranked plans before those in which every layer has the same choice."""


def measured_alone(
    place: Workplace,
    space: Space,
    rounding: Rounding,
    judge: Judge,
    feeds: Sequence[Feed],
    *,
    scratch: Path,
    known: Mapping[str, Mapping[str, float]],
    save: Callable[[Mapping[str, Mapping[str, float]]], None],
    report: Report = silent,
) -> Sensitivity:
    """Measure every choice of every layer that `known` lacks; `save` is called after each layer."""
    some = list(feeds[:PICTURES])
    references = [run(place.program, feed) for feed in some]
    found = {name: dict(choices) for name, choices in known.items()}
    for done, layer in enumerate(space.layers):
        mine = found.setdefault(layer.name, {})
        for choice in space.choices(layer):
            if choice in mine:
                continue
            if choice in space.emulated:
                mine[choice] = _emulated(place, layer, choice, rounding, some, references)
            else:
                path = scratch / f"alone.{place.form}"
                others = {x.name: "float" for x in space.layers if x.name != layer.name}
                space.write(Plan(LAYERS, {layer.name: choice, **others}), path)
                mine[choice] = judge.noise(path, some, references)
        save(found)
        report("sensitivity", done + 1, len(space.layers), layer.name)
    return Sensitivity(found)


def _emulated(
    place: Workplace,
    layer: Layer,
    choice: str,
    rounding: Rounding,
    feeds: Sequence[Feed],
    references: Sequence[Mapping[str, object]],
) -> float:
    if choice == "float":
        return 0.0
    if choice in GRIDS:
        weight = rounding.rounded(layer, GRIDS[choice]).weight
    else:
        weight = weight_of(place.program, layer).half().float()
    hooks = []
    if choice in COMPUTED_IN_INT8:
        inner = place.program.module.get_submodule(layer.weight.removesuffix(".weight"))
        hooks.append(inner.register_forward_pre_hook(lambda _, given: (stepped(given[0]),)))
    with with_weights(place.program, {layer.weight: weight}):
        made = [run(place.program, feed) for feed in feeds]
    for hook in hooks:
        hook.remove()
    errors = [error(place, one, two) for one, two in zip(references, made, strict=True)]  # type: ignore[arg-type]
    return sum(errors) / len(errors)


def ranked_plans(
    space: Space,
    sensitivity: Sensitivity,
    score: Callable[[float, float, float], float],
    *,
    fixed_bytes: float,
    most: int,
) -> list[Plan]:
    """Return the best plans of layers by prediction: the greedy start of the search.

    For each price of a byte and of a millisecond the cheapest choice of every layer is taken by
    itself; that gives every plan on the lower hull. `score` maps bytes, decibels and speed to a
    number; the best half is taken by it, the rest from along the front.
    """
    layers = space.layers
    total_bytes = sum(layer.elements * BITS["float"] / 8 for layer in layers)
    total_time = sum(layer.macs for layer in layers) or 1
    cheapest = sum(max(sensitivity.noise[x.name].values()) for x in layers) or 1e-12
    prices = itertools.product(STEPS, STEPS if space.times else (0.0,))
    seen: dict[tuple[str, ...], tuple[float, float, float]] = {}
    for byte, moment in prices:
        picked = []
        for layer in layers:
            options = space.choices(layer)

            expected = {choice: cost(space, layer, choice) for choice in options}
            price = {
                choice: sensitivity.noise[layer.name][choice] / cheapest
                + byte * expected[choice].bytes / total_bytes
                + moment * expected[choice].time / total_time
                for choice in options
            }
            picked.append(min(options, key=price.__getitem__))
        key = tuple(picked)
        if key in seen:
            continue
        costs = [cost(space, x, choice) for x, choice in zip(layers, picked, strict=True)]
        size = fixed_bytes + sum(entry.bytes for entry in costs)
        speed = total_time / max(sum(entry.time for entry in costs), 1e-9)
        named = dict(zip((x.name for x in layers), picked, strict=True))
        seen[key] = (size, sensitivity.predicted(named), speed)
    by_score = sorted(seen, key=lambda key: -score(*seen[key]))
    chosen = by_score[: most // 2]
    rest = sorted((key for key in seen if key not in chosen), key=lambda key: seen[key])
    step = max(1, math.ceil(len(rest) / max(1, most - len(chosen))))
    chosen += rest[::step]
    names = [layer.name for layer in layers]
    plans = [Plan(LAYERS, dict(zip(names, key, strict=True))) for key in chosen]
    return [*plans[:UNIFORM_AFTER], *_uniform(space), *plans[UNIFORM_AFTER:]]


def _uniform(space: Space) -> list[Plan]:
    """Return one plan for each choice, taken by every layer that may have it."""
    offered = {layer.name: space.choices(layer) for layer in space.layers}
    every = dict.fromkeys(choice for choices in offered.values() for choice in choices)
    plans = []
    for choice in every:
        small = {
            name: choice if choice in choices else _fallback(choices)
            for name, choices in offered.items()
        }
        if BITS[choice] <= 8 and any(taken == choice for taken in small.values()):
            plans.append(Plan(LAYERS, small))
    return list({plan.key: plan for plan in plans}.values())


def _fallback(choices: Sequence[str]) -> str:
    """Return what a layer takes that may not have the choice of the others: 8 bits if it can."""
    return next((choice for choice in choices if BITS[choice] == 8), choices[0])
