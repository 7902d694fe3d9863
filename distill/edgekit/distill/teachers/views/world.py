"""A small world of toys with names: 8 shapes, 8 themes, 4 accessories, and a mesh for each name.

Of the 320 things that can be said, 64 are *the* prompts: each shape in each theme, with an
accessory that neither of the two gives away. The eight on the diagonal are never shown to a
generator, though it sees each of their words with others.

Every toy has eyes in front, so that a front and a back exist to be confused.

Source of the protocol: Qian et al. 2024, "AToM" (arXiv:2402.00867), section 4: 64 pigs, of which 56
are trained on and the diagonal is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgekit.core.errors import EdgekitError, unknown_name
from edgekit.distill.teachers.views.patterns import PATTERNS
from edgekit.distill.teachers.views.solids import BODIES, ColoredMesh, Toy, toy

SHAPES = tuple(BODIES)
THEMES = tuple(PATTERNS)
ACCESSORIES = ("hat", "wings", "legs", "ring")
_ARTICLE = {"hat": "a ", "ring": "a "}


@dataclass(frozen=True, slots=True)
class Thing:
    """What a prompt asks for."""

    shape: str
    theme: str
    accessory: str | None = None

    @property
    def prompt(self) -> str:
        """The words that ask for it.

        >>> Thing("cone", "red striped", "hat").prompt
        'a red striped cone with a hat'
        """
        article = "an" if self.theme[0] in "aeiou" else "a"
        said = f"{article} {self.theme} {self.shape}"
        if self.accessory is None:
            return said
        return f"{said} with {_ARTICLE.get(self.accessory, '')}{self.accessory}"


def _things() -> list[Thing]:
    """The 64, shape by shape; along each row, column and the diagonal, accessories are even."""
    return [
        Thing(shape, theme, ACCESSORIES[(row + column + column // 4) % 4])
        for row, shape in enumerate(SHAPES)
        for column, theme in enumerate(THEMES)
    ]


def prompts() -> list[str]:
    """The 64 prompts, shape by shape."""
    return [thing.prompt for thing in _things()]


def split() -> tuple[list[str], list[str]]:
    """The 56 prompts to train on and the 8 of the diagonal."""
    said = prompts()
    diagonal = [place * (len(THEMES) + 1) for place in range(len(SHAPES))]
    return [p for place, p in enumerate(said) if place not in diagonal], [
        said[place] for place in diagonal
    ]


def every_prompt() -> list[str]:
    """All 320: each shape in each theme, with each accessory and with none.

    A teacher that knows the words is trained on these, as a large one knows many words; which of
    them a generator sees is the business of `split`.
    """
    return [
        Thing(shape, theme, accessory).prompt
        for shape in SHAPES
        for theme in THEMES
        for accessory in (None, *ACCESSORIES)
    ]


WORDS: tuple[str, ...] = tuple(
    dict.fromkeys(word for prompt in every_prompt() for word in prompt.split())
)
"""Every word of the prompts once, in the order in which they first occur."""


def parse(prompt: str) -> Thing:
    """Return the thing that `prompt` asks for; words like "a" and "with" do not matter.

    Raises EdgekitError if a word is unknown, or no shape or no theme is named.

    >>> parse("A rainbow fish!")
    Thing(shape='fish', theme='rainbow', accessory=None)
    """
    words = re.findall(r"[a-z]+", prompt.lower())
    for word in words:
        if word not in WORDS:
            raise unknown_name("word", word, WORDS)
    shape = [name for name in SHAPES if name in words]
    theme = [name for name in THEMES if set(name.split()) <= set(words)]
    accessory = [name for name in ACCESSORIES if name in words]
    if len(shape) != 1 or len(theme) != 1 or len(accessory) > 1:
        raise EdgekitError(
            f"{prompt!r} does not name one shape, one theme and at most one accessory",
            hint=f"say it like {prompts()[16]!r}",
        )
    return Thing(shape[0], theme[0], accessory[0] if accessory else None)


def world_mesh(prompt: str, seed: int = 0) -> ColoredMesh:
    """Return the toy that `prompt` names, within 0.9 of the origin, its front towards +z.

    `seed` changes proportions, shades and the places of the pattern a little; 0 is the plain one.
    Toys of one shape, accessory and seed differ in nothing but the colors of their bodies.
    """
    thing = parse(prompt)
    made = _toy(thing.shape, thing.accessory, seed)
    return made.painted(PATTERNS[thing.theme](made.body.centers, _dice(seed, 2)))


@lru_cache(maxsize=8)
def _toy(shape: str, accessory: str | None, seed: int) -> Toy:
    return toy(shape, accessory, _dice(seed, 0), _dice(seed, 1))


def _dice(seed: int, which: int) -> np.random.Generator | None:
    return np.random.default_rng([seed, which]) if seed else None
