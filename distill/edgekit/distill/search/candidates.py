"""Which ranks may be tried at all: those whose file fits the budget of bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from edgekit.core.errors import EdgekitError
from edgekit.distill.ranks import GROUPS
from edgekit.distill.search.sizes import Sizes

USUAL = 4
"""The rank that adapters have without a search."""


@dataclass(slots=True)
class Candidates:
    """Every set of ranks made of `choices`, and a memory of those that were too large."""

    choices: tuple[int, ...]
    sizes: Sizes
    most_bytes: float
    large: list[tuple[int, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise EdgekitError if not even the smallest adapter fits."""
        least = next(rank for rank in self.choices if rank)
        smallest = min(self.sizes({group: least}) for group in GROUPS)
        if 0 not in self.choices:
            smallest = self.sizes(dict.fromkeys(GROUPS, least))
        if smallest > self.most_bytes:
            raise EdgekitError(
                f"budget_kb = {self.most_bytes / 1000:g}: the smallest adapter to choose from has "
                f"{smallest / 1000:.1f} kB",
                hint=f"allow at least --budget-kb {-(-smallest // 1000)}",
            )

    def fits(self, ranks: dict[str, int]) -> bool:
        """Tell whether the file at these ranks has at most the bytes allowed; never all zeros."""
        key = tuple(ranks[group] for group in GROUPS)
        if not any(key):
            return False
        if any(all(a >= b for a, b in zip(key, one, strict=True)) for one in self.large):
            return False  # bytes grow with every rank
        fitting = self.sizes(ranks) <= self.most_bytes
        if not fitting:
            self.large.append(key)
        return fitting

    def uniform(self) -> Iterator[dict[str, int]]:
        """Yield the same rank for every group, nearest to the usual one first."""
        ranks = sorted((r for r in self.choices if r), key=lambda r: (abs(np.log2(r / USUAL)), r))
        for rank in ranks:
            if self.fits(every := dict.fromkeys(GROUPS, rank)):
                yield every

    def nearest(
        self, places: tuple[int, ...], tried: Iterable[dict[str, int]], *, seed: tuple[int, ...]
    ) -> dict[str, int] | None:
        """Return the ranks that fit, were not tried and lie nearest to `places` in `choices`.

        Distance counts steps along `choices` in all groups together; `seed` breaks ties. None if
        everything that fits was tried.
        """
        known = {tuple(ranks[group] for group in GROUPS) for ranks in tried}
        every = np.array(list(itertools.product(range(len(self.choices)), repeat=len(GROUPS))))
        steps = np.abs(every - np.array(places)).sum(1)
        lot = np.random.default_rng(seed).random(len(every))
        for row in np.lexsort((lot, steps)):
            key = tuple(self.choices[place] for place in every[row])
            ranks = dict(zip(GROUPS, key, strict=True))
            if key not in known and self.fits(ranks):
                return ranks
        return None
