"""Which ranks may be tried at all: those whose file fits the budget of bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.core.errors import EdgekitError
from edgekit.distill.ranks import GROUPS, Ranks
from edgekit.distill.search.sizes import Sizes

USUAL = 4
"""The rank that adapters have without a search."""


class Candidates:
    """Every set of ranks made of `choices`, and a memory of those that were too large."""

    def __init__(self, choices: tuple[int, ...], sizes: Sizes, most_bytes: float) -> None:
        """Raise EdgekitError if not even the smallest adapter has at most `most_bytes`."""
        self.choices, self.sizes, self.most_bytes = choices, sizes, most_bytes
        self._grid = np.array(list(itertools.product(choices, repeat=len(GROUPS))))
        self._places = np.array(list(itertools.product(range(len(choices)), repeat=len(GROUPS))))
        self._possible: NDArray[np.bool_] = np.asarray(self._grid.any(1))
        least = next(rank for rank in choices if rank)
        smallest = min(self.sizes({group: least}) for group in GROUPS)
        if 0 not in choices:
            smallest = self.sizes(dict.fromkeys(GROUPS, least))
        if smallest > most_bytes:
            raise EdgekitError(
                f"budget_kb = {most_bytes / 1000:g}: the smallest adapter to choose from has "
                f"{smallest / 1000:.1f} kB",
                hint=f"allow at least --budget-kb {-(-smallest // 1000)}",
            )

    def fits(self, ranks: Ranks) -> bool:
        """Tell whether the file at these ranks has at most the bytes allowed; never all zeros."""
        key = [ranks[group] for group in GROUPS]
        fitting = any(key) and self.sizes(ranks) <= self.most_bytes
        if not fitting and any(key):  # bytes grow with every rank: nothing above it fits either
            self._possible &= ~(self._grid >= key).all(1)
        return fitting

    def uniform(self) -> Iterator[dict[str, int]]:
        """Yield the same rank for every group, nearest to the usual one first."""
        ranks = sorted((r for r in self.choices if r), key=lambda r: (abs(np.log2(r / USUAL)), r))
        for rank in ranks:
            if self.fits(every := dict.fromkeys(GROUPS, rank)):
                yield every

    def nearest(
        self, places: Sequence[int], tried: Iterable[Ranks], *, seed: tuple[int, ...]
    ) -> dict[str, int] | None:
        """Return the ranks that fit, were not tried and lie nearest to `places` in `choices`.

        Distance counts steps along `choices` in all groups together; `seed` breaks ties. None if
        everything that fits was tried.
        """
        left: NDArray[np.bool_] = self._possible.copy()
        for ranks in tried:
            left &= ~(self._grid == [ranks[group] for group in GROUPS]).all(1)
        steps = np.abs(self._places - np.array(places)).sum(1)
        lot = np.random.default_rng(seed).random(len(steps))
        for row in np.lexsort((lot, steps)):
            if left[row] and self._possible[row]:
                ranks = dict(zip(GROUPS, map(int, self._grid[row]), strict=True))
                if self.fits(ranks):
                    return ranks
        return None
