"""Prompts as rows of a table: a word is known or it is not read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from edgekit.core.errors import EdgekitError

NO_WORD = 0
"""The number that fills the rest of a prompt; its row of the table is zeros. Words count from 1."""


def split_prompt(prompt: str) -> list[str]:
    """Return the words of a prompt: lowercase letters, split at everything else.

    >>> split_prompt("A red-striped cone, with a hat!")
    ['a', 'red', 'striped', 'cone', 'with', 'a', 'hat']
    """
    return re.findall(r"[^\W\d_]+", prompt.lower())


def vocabulary(prompts: Iterable[str]) -> tuple[str, ...]:
    """Return the words of all prompts, each once, sorted."""
    return tuple(sorted({word for prompt in prompts for word in split_prompt(prompt)}))


def tokens(prompts: Sequence[str], words: Sequence[str], length: int) -> Tensor:
    """Return n x `length`, int64: the number of each known word, in order, then `NO_WORD`.

    Raises EdgekitError for a prompt without any known word, or with more than `length` of them.

    >>> tokens(["a red cone", "cone"], ["cone", "red"], 3).tolist()
    [[2, 1, 0], [1, 0, 0]]
    """
    numbers = {word: number + 1 for number, word in enumerate(words)}
    rows = torch.full((len(prompts), length), NO_WORD, dtype=torch.int64)
    for row, prompt in zip(rows, prompts, strict=True):
        known = [numbers[word] for word in split_prompt(prompt) if word in numbers]
        if not known:
            raise EdgekitError(f"no word of {prompt!r} is known", hint=f"known: {', '.join(words)}")
        if len(known) > length:
            raise EdgekitError(
                f"{prompt!r} has {len(known)} words, {length} are read", hint="use fewer words"
            )
        row[: len(known)] = torch.tensor(known)
    return rows
