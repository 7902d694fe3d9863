"""What a search for ranks is told, checked before any work."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from edgekit.core.errors import EdgekitError, unknown_name
from edgekit.distill.ranks import MOST

MODES = ("tpe", "greedy")
CHOICES = (0, 1, 2, 4, 8, 16)
_UNITS: Mapping[str, float] = MappingProxyType({"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0})


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How ranks are searched; every number has a unit in its name or its comment."""

    mode: str = "tpe"
    """"tpe" proposes ranks for all groups at once, "greedy" doubles one group at a time."""
    choices: tuple[int, ...] = CHOICES
    """Ranks that a group may get, ascending; 0 leaves it as the base has it."""
    budget_s: float = 600.0
    """Wall seconds of the whole search over all continuations; the first trial always ends."""
    budget_kb: float = 100.0
    """Most kB (1000 bytes) of the adapter's file; ranks that need more are never trained."""
    trials: int = 0
    """Trials at most; 0 leaves it to the seconds."""
    steps: int = 0
    """Training steps of a trial; 0 takes a quarter of the final training's."""
    gain: float = 0.01
    """Share by which the distance to the teacher must fall to be worth more bytes."""
    validation: float = 0.25
    """Share of the training pairs that scores the trials instead of training them."""
    seed: int = 0
    """Decides proposals; those of the factors and of the pairs' order are the recipe's."""

    def __post_init__(self) -> None:
        """Reject what could only fail or mislead after minutes."""
        object.__setattr__(self, "choices", tuple(self.choices))
        if self.mode not in MODES:
            raise unknown_name("mode of search", self.mode, MODES)
        ascending = list(self.choices) == sorted(set(self.choices))
        if not ascending or len(self.choices) < 2 or not 0 <= self.choices[0] < self.choices[-1]:
            raise EdgekitError(
                f"choices of ranks {list(self.choices)}", hint="write at least two, ascending"
            )
        if self.choices[-1] > MOST:
            raise EdgekitError(f"a rank of {self.choices[-1]}", hint=f"choose at most {MOST}")
        for name, low, high in (
            ("budget_s", 1e-3, math.inf),
            ("budget_kb", 1e-3, math.inf),
            ("trials", 0, 100_000),
            ("steps", 0, 10_000_000),
            ("gain", 0, 1),
            ("validation", 0.05, 0.9),
            ("seed", 0, 2**31 - 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise EdgekitError(
                    f"search: {name} = {value:g}", hint=f"choose a value from {low:g} to {high:g}"
                )
        if math.isinf(self.budget_s) and not self.trials:
            raise EdgekitError("the search would never end", hint="give a --budget or --trials")

    def values(self) -> dict[str, Any]:
        """Return the settings as JSON values; no limit of time is None."""
        values = asdict(self)
        values["choices"] = list(self.choices)
        for name in ("budget_s", "budget_kb"):
            values[name] = None if math.isinf(values[name]) else values[name]
        return values

    def identity(self) -> dict[str, Any]:
        """Return the settings without those that only say when to stop."""
        stops = ("budget_s", "trials")
        return {name: value for name, value in self.values().items() if name not in stops}


def seconds_of(text: str) -> float:
    """Read a time like 90, 90s, 10m, 1.5h or 1h30m; raises EdgekitError for anything else.

    >>> seconds_of("1h30m"), seconds_of("90")
    (5400.0, 90.0)
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*([smh]?)", "", text.strip().lower()).strip()
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not parts or rest or total <= 0:
        raise EdgekitError(f"{text!r} is not a time", hint="write like 90s, 10m or 1h30m")
    return total
