"""How many low-rank factors each group of a generator's layers gets.

Source: Gong et al. 2024, "E2GAN" (arXiv:2401.06127), section 3.2: LoRA on down, DS, TB, US and up,
not on the residual blocks, with ranks that a search finds.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.core.errors import EdgekitError, unknown_name

GROUPS = ("down", "ds", "transformer", "us", "up")
"""Groups of layers that an adapter changes, in the paper's words; residual blocks are in none."""
MOST = 64
"""The largest rank: beyond it a group is better trained whole."""
Ranks = Mapping[str, int]
"""A rank for each of `GROUPS`; 0 leaves the group as the base has it."""


def as_ranks(rank: int | Ranks) -> dict[str, int]:
    """Return a rank for each of `GROUPS`: the same for all, or those given and 0 for the others.

    Raises EdgekitError for an unknown group, a rank outside 0 to 64, or nothing but zeros.

    >>> as_ranks({"ds": 4, "up": 2})
    {'down': 0, 'ds': 4, 'transformer': 0, 'us': 0, 'up': 2}
    """
    given = dict.fromkeys(GROUPS, rank) if isinstance(rank, int) else dict(rank)
    for group, value in given.items():
        if group not in GROUPS:
            raise unknown_name("group of layers", group, GROUPS)
        if not 0 <= value <= MOST:
            raise EdgekitError(f"rank {value} of {group}", hint=f"choose a rank from 0 to {MOST}")
    if not any(given.values()):
        raise EdgekitError("every rank is 0", hint="give at least one group a rank")
    return {group: given.get(group, 0) for group in GROUPS}


def ranks_of_text(text: str) -> dict[str, int]:
    """Read ranks as they stand in a recipe; raises EdgekitError for anything else.

    >>> ranks_of_text("ds=4, up=2")["up"]
    2
    """
    found: dict[str, int] = {}
    for part in text.split(","):
        group, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value.isdecimal():
            raise EdgekitError(f"ranks = {text!r}", hint='write like "down=2,ds=4,up=8"')
        found[group] = int(value)
    return as_ranks(found)


def ranks_as_text(ranks: Ranks) -> str:
    """Write ranks as they stand in a recipe.

    >>> ranks_as_text(as_ranks(4))
    'down=4,ds=4,transformer=4,us=4,up=4'
    """
    return ",".join(f"{group}={value}" for group, value in as_ranks(ranks).items())
