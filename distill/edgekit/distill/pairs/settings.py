"""What decides a set of pairs, checked at once."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgekit.core.errors import EdgekitError, unknown_name
from edgekit.distill.pairs.clusters import METHODS
from edgekit.distill.pairs.quality import Bars

VARIATIONS = ("make it autumn", "make it sunset", "make it foggy")
"""Edits that leave a photo a photo: applied by the teacher to a crop, they give a new source."""
POOL = 6
"""Crops looked at for each pair that is edited: a crop costs 20 ms, an edit a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSettings:
    """Every knob of `make_pairs`; the same settings, photos and teacher give the same bytes."""

    prompt: str
    """The edit in the teacher's words, for example ``make it night``."""
    photos: Path | None = None
    """A folder of photos or one photo; None takes those inside scikit-image and scikit-learn."""
    count: int = 96
    """Pairs to make, before the quality check rejects some."""
    size_px: int = 128
    """Side of the square sources and edits."""
    seed: int = 0
    """Decides crops, flips, variations and the teacher's noise."""
    heldout: float = 0.15
    """Share of the pairs that no training may see, in (0, 0.5]."""
    variation: float = 0.25
    """Share of the training sources that the teacher itself first varies, in [0, 1]."""
    variations: tuple[str, ...] = VARIATIONS
    """Prompts of those variations; one that shares a word with `prompt` is left out."""
    select: str = ""
    """How to choose the training sources among more crops, a method of `clusters.selected`; empty
    takes the crops as they are drawn."""
    pool: int = 0
    """Crops to choose from if `select` is set; 0 draws `POOL` for each pair."""
    shard_pairs: int = 16
    """Pairs in a shard: the unit that is written at once and that a killed run repeats."""
    bars: Bars = field(default_factory=Bars)
    """What a pair must clear to be kept."""

    def __post_init__(self) -> None:
        """Reject settings that could only fail after minutes of sampling."""
        object.__setattr__(self, "photos", Path(self.photos) if self.photos is not None else None)
        object.__setattr__(self, "variations", tuple(self.variations))
        _need(
            bool(self.prompt.strip()),
            "the prompt is empty",
            "name the edit: --concept 'make it night'",
        )
        _need(self.count >= 2, f"count = {self.count}", "ask for at least 2 pairs: one is held out")
        _need(
            32 <= self.size_px <= 2048 and self.size_px % 8 == 0,
            f"size = {self.size_px}",
            "choose a multiple of 8 from 32 to 2048",
        )
        _need(0 <= self.seed < 2**63, f"seed = {self.seed}", "choose a number from 0 to 2^63 - 1")
        _need(
            math.isfinite(self.heldout) and 0 < self.heldout <= 0.5,
            f"heldout = {self.heldout}",
            "hold out a share above 0 and up to 0.5",
        )
        _need(
            0 <= self.variation <= 1, f"variation = {self.variation}", "choose a share from 0 to 1"
        )
        if self.select and self.select not in METHODS:
            raise unknown_name("method of selection", self.select, METHODS)
        _need(
            self.pool == 0 or (bool(self.select) and self.pool >= self.count),
            f"pool = {self.pool}",
            f"choose at least {self.count}, the number of pairs, and a --select method",
        )
        _need(
            self.shard_pairs >= 1, f"shard_pairs = {self.shard_pairs}", "put at least 1 in a shard"
        )

    @property
    def pool_size(self) -> int:
        """Crops to draw before the selection, held-out ones included."""
        return (self.pool or POOL * self.count) if self.select else self.count

    @property
    def usable_variations(self) -> tuple[str, ...]:
        """Variations that do not already contain what the prompt asks for.

        >>> PairSettings(prompt="make it a sunset").usable_variations
        ('make it autumn', 'make it foggy')
        """
        asked = _content_words(self.prompt)
        return tuple(
            text
            for text in self.variations
            if not any(
                one.startswith(two) or two.startswith(one)  # "fog" and "foggy"
                for one in _content_words(text)
                for two in asked
            )
        )

    def recipe(self) -> dict[str, Any]:
        """Return the settings as JSON values, without the place of the photos.

        Photos count by their content, which `make_pairs` adds: a moved folder is the same recipe.
        """
        values = asdict(self)
        del values["photos"]
        if not self.select:  # as before there was a choice: old folders stay complete
            del values["select"], values["pool"]
        else:
            values["pool"] = self.pool_size
        values["variations"] = list(self.usable_variations)
        return values


def is_heldout(index: int, share: float) -> bool:
    """Tell whether pair `index` is held out; the held-out ones are spread evenly.

    >>> [is_heldout(i, 0.25) for i in range(8)]
    [False, False, False, True, False, False, False, True]
    """
    return math.floor((index + 1) * share + 1e-9) > math.floor(index * share + 1e-9)


_FILLERS = frozenset(
    {
        "a",
        "an",
        "as",
        "at",
        "by",
        "for",
        "in",
        "into",
        "it",
        "make",
        "of",
        "on",
        "the",
        "to",
        "turn",
    }
)


def _content_words(text: str) -> frozenset[str]:
    return frozenset(text.lower().split()) - _FILLERS


def _need(holds: bool, what: str, hint: str) -> None:
    if not holds:
        raise EdgekitError(f"pairs: {what}", hint=hint)
