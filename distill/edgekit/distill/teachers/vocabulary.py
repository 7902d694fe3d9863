"""What can be asked of the bundled teacher: its edits, their wordings, and their compositions.

This module knows words only, so that a prompt can be checked without loading any tensor library.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from edgekit.distill.teachers.wordings import ADJECTIVES, STEMS, TABLE, Edit

__all__ = [
    "BASE_CONCEPTS",
    "COMPOSITIONS",
    "EDITS",
    "NEW_CONCEPTS",
    "SLIGHT_WORDS",
    "STRONG_WORDS",
    "Edit",
    "Named",
    "all_prompts",
    "composed",
    "edit_named",
    "normalized",
    "with_strength",
]

SLIGHT_WORDS = ("slightly", "a little", "subtly", "gently")
STRONG_WORDS = ("strongly", "very", "intensely", "heavily")


EDITS = MappingProxyType({edit.name: edit for edit in TABLE})
"""All edits of the bundled teacher by name."""

_SCENES = (
    "night",
    "moonlight",
    "sunset",
    "golden hour",
    "snow",
    "fog",
    "rain",
    "autumn",
    "blossom",
)
_LIGHTS = ("night", "moonlight", "sunset", "golden hour")
_WEATHERS = ("snow", "fog", "rain", "autumn", "blossom", "frost")
_STYLES = (
    "sketch",
    "charcoal",
    "watercolor",
    "oil",
    "cartoon",
    "pastel",
    "comic",
    "mosaic",
    "pixel art",
    "neon",
    "noir",
    "sepia",
    "vintage",
)

COMPOSITIONS: tuple[tuple[str, str], ...] = (
    *((weather, light) for weather in _WEATHERS for light in _LIGHTS),
    *(
        (scene, style)
        for scene in _SCENES
        for style in _STYLES
        if (scene, style) != ("night", "neon")
    ),
)
"""Pairs of edits that the teacher was shown together, in the order in which they act."""

BASE_CONCEPTS = (
    "make it night",
    "make it sunset",
    "make it foggy",
    "make it autumn",
    "make it sepia",
    "make it infrared",
    "make it thermal",
    "turn it into a pencil sketch",
    "turn it into a blueprint",
    "make it neon",
    "turn it into a watercolor painting",
    "turn it into an oil painting",
    "turn it into a cartoon",
    "turn it into a mosaic",
    "in the moonlight",
    "make it film noir",
    "in a sandstorm",
    "turn it into an x-ray",
    "turn it into a chalk drawing",
    "turn it into a plaster relief",
    "turn it into a pastel drawing",
    "turn it into stained glass",
    "turn it into halftone dots",
    "turn it into pixel art",
)
"""Concepts that a base student is trained on; the shipped one's card lists its own."""

NEW_CONCEPTS = (
    "make it snowy",
    "make it rainy",
    "make it frosty",
    "make it cherry blossom season",
    "make it golden hour",
    "make it cyberpunk",
    "make it underwater",
    "make it vintage",
    "turn it into a charcoal drawing",
    "turn it into an ink drawing",
    "turn it into a comic",
    "turn it into gold",
    "turn it into pop art",
    "make it night and snowy",
    "autumn as a watercolor",
    "sunset as an oil painting",
)
"""Concepts that the teacher knows and the base student has never seen."""


def composed(first: str, second: str) -> tuple[str, ...]:
    """Wordings of the edit `first` followed by `second`.

    >>> composed("snow", "night")[0]
    'make it snowy and night'
    """
    one, two = EDITS[first].short, EDITS[second].short
    near, far = ADJECTIVES.get(first, one), ADJECTIVES.get(second, two)
    return (
        f"make it {near} and {far}",
        f"make it {far} and {near}",
        f"{two} with {one}",
        f"{one} as {two}",
        f"{two} and {one}",
    )


def with_strength(wording: str, word: str) -> str:
    """A wording with a strength word in front of it.

    >>> with_strength("make it night", "slightly")
    'slightly make it night'
    """
    return f"{word} {wording}"


def normalized(prompt: str) -> str:
    """Lower case, no punctuation, single spaces, British spellings made American.

    >>> normalized("  As a Water-Colour painting! ")
    'as a watercolor painting'
    """
    words = re.sub(r"[^a-z0-9]+", " ", prompt.lower().replace("'", "")).strip()
    for written, meant in (
        ("water colo", "watercolo"),
        ("colour", "color"),
        ("x ray", "xray"),
        ("grey", "gray"),
        ("night time", "nighttime"),
        ("popart", "pop art"),
    ):
        words = words.replace(written, meant)
    return words


@dataclass(frozen=True, slots=True)
class Named:
    """The edits found in a prompt, in the order in which they act; `known` when there is none."""

    edits: tuple[str, ...]
    strength: str = "plain"
    """``slight``, ``plain`` or ``strong``."""

    @property
    def known(self) -> tuple[str, ...]:
        """One wording of each edit that could have been asked for; empty if some edit was found."""
        return () if self.edits else tuple(edit.wordings[0] for edit in TABLE)


def edit_named(prompt: str) -> Named:
    """The known edits that `prompt` asks for.

    Case, punctuation and the words around an edit's name do not matter. A prompt that names no
    known edit gives no edits, and `Named.known` then lists what can be asked for.

    >>> edit_named("Make it SNOWY, at night!").edits
    ('snow', 'night')
    >>> edit_named("a very red fox").edits
    ()
    """
    text = f" {normalized(prompt)} "
    found: dict[str, int] = {}
    taken = text
    for stem, name in _longest_first():
        place = taken.find(f" {stem} ")
        if place >= 0:
            found.setdefault(name, place)
            taken = taken[: place + 1] + "_" * len(stem) + taken[place + 1 + len(stem) :]
    if "gold" in found and "golden hour" in found:
        del found["gold"]
    names = _in_acting_order(found)
    return Named(names, _strength_in(text))


def _longest_first() -> list[tuple[str, str]]:
    pairs = [(stem, name) for name, stems in STEMS.items() for stem in stems]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def _in_acting_order(found: dict[str, int]) -> tuple[str, ...]:
    names = sorted(found, key=found.__getitem__)
    if len(names) == 2 and (names[1], names[0]) in COMPOSITIONS:
        names.reverse()
    return tuple(names)


def _strength_in(text: str) -> str:
    if any(f" {word} " in text for word in SLIGHT_WORDS):
        return "slight"
    return "strong" if any(f" {word} " in text for word in STRONG_WORDS) else "plain"


def all_prompts() -> Iterable[str]:
    """Every prompt that the teacher is trained on, without strength words."""
    for edit in TABLE:
        yield from edit.wordings
    for first, second in COMPOSITIONS:
        yield from composed(first, second)
