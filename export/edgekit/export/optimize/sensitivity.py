"""What each choice of each layer costs on its own: measured once, the ground of the search.

All other layers stay float32. A choice that changes weights alone is measured in PyTorch, which
gives the same numbers as the file would; a choice that rounds activations is measured on a file.
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
from edgekit.export.program import Feed, run
from edgekit.export.rows import Workplace

PICTURES = 4
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
    with with_weights(place.program, {layer.weight: weight}):
        made = [run(place.program, feed) for feed in feeds]
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
    return [Plan(LAYERS, dict(zip(names, key, strict=True))) for key in chosen]
