"""A search without any model of the ranks: start small, double while that pays.

Source: Gong et al. 2024, "E2GAN" (arXiv:2401.06127), section 3.2: ranks are doubled until the
Fréchet distance stops improving by more than a threshold. The paper's figures are those of a scale
that many layers share; so all groups are doubled together first, then each on its own, in turns,
until nothing gains. One group alone rarely gains enough to leave rank 1: the search would end
there.
"""

from __future__ import annotations

from collections.abc import Callable

from edgekit.core.errors import EdgekitError
from edgekit.distill.ranks import GROUPS, Ranks
from edgekit.distill.search.candidates import Candidates
from edgekit.distill.search.settings import SearchSettings
from edgekit.distill.search.trials import Evaluate, Stop, Table, Trial

MOVES: tuple[tuple[str, ...], ...] = (GROUPS, *((name,) for name in GROUPS))
"""Groups that are doubled together, in the order in which they take turns."""


def search_greedy(
    evaluate: Evaluate,
    candidates: Candidates,
    settings: SearchSettings,
    table: Table,
    over: Callable[[], str | None],
    *,
    steps: int,
) -> str:
    """Double ranks until nothing gains, or until `over` gives a reason; return the reason.

    Trials in the table are taken from it, so that a search that was killed goes on. Raises
    EdgekitError if the smallest rank in every group does not fit.
    """
    start = first_ranks(candidates)
    here: Trial | None = None
    failed = 0
    turn = 0
    while failed < len(MOVES):
        wanted: dict[str, int] | None = start
        if here is not None:
            wanted = _doubled(here.ranks, MOVES[turn % len(MOVES)], settings.choices)
            turn += 1
        if wanted is None or not candidates.fits(wanted):
            failed += 1
            continue
        found = table.find(wanted)
        if found is None:
            if reason := over():
                return reason
            found = evaluate(len(table.trials), wanted, _hopeless(here, steps))
            table.add(found)
        if found.state == "stopped":
            return "budget"
        if here is None:
            here = found
        elif found.state == "complete" and found.distance < here.distance * (1 - settings.gain):
            here, failed = found, 0
            turn -= 1  # the same groups once more: doubling them paid
        else:
            failed += 1
    return "nothing gains"


def _doubled(
    ranks: Ranks, groups: tuple[str, ...], choices: tuple[int, ...]
) -> dict[str, int] | None:
    """Return ranks with those of `groups` one choice further; None if one is at its end."""
    wanted = dict(ranks)
    for group in groups:
        larger = [rank for rank in choices if rank > ranks[group]]
        if not larger:
            return None
        wanted[group] = larger[0]
    return wanted


def first_ranks(candidates: Candidates) -> dict[str, int]:
    """Return the smallest rank in every group; raises EdgekitError if that does not fit."""
    least = next(rank for rank in candidates.choices if rank)
    ranks = dict.fromkeys(GROUPS, least)
    if not candidates.fits(ranks):
        size = candidates.sizes(ranks)
        raise EdgekitError(
            f"a greedy search starts at rank {least} everywhere, which has {size / 1000:.1f} kB",
            hint=f"allow --budget-kb {-(-size // 1000)}, or search with --search tpe",
        )
    return ranks


def _hopeless(here: Trial | None, steps: int) -> Stop:
    """Return the rule that ends a doubling which is behind its start over half of the way."""
    curve = dict(here.curve) if here else {}

    def hopeless(step: int, distance: float) -> bool:
        return step >= steps / 2 and step in curve and distance >= curve[step]

    return hopeless
