"""Prompts to the rows of a table: a word that is not known is an error, never left out."""

from __future__ import annotations

import difflib
import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.core.tensors import Batch

JOINING = frozenset(("a", "an", "and", "of", "the", "with"))
"""Words without which a prompt means the same: left out where a table does not know them."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a generator reads: a row of `table` a word, the first `length` words of a prompt."""

    names: tuple[str, ...]
    table: Batch
    length: int

    def text(self, prompt: str) -> Batch:
        """Return `length` x width: the rows of the prompt's words in their order, then zeros.

        Raises BadInput for a prompt without words, with too many, or with one that is not known.
        """
        spoken = split_prompt(prompt)
        if not spoken:
            raise BadInput("the prompt is empty", hint=f"write words of these: {self.known}")
        said = [word for word in spoken if word in self.names or word not in JOINING]
        if strange := [word for word in dict.fromkeys(said) if word not in self.names]:
            raise BadInput(
                f"unknown {'words' if len(strange) > 1 else 'word'} "
                + ", ".join(repr(word) for word in strange),
                hint=self._instead(strange),
            )
        if all(word in JOINING for word in said):
            raise BadInput(f"{prompt!r} names nothing", hint=f"write words of these: {self.known}")
        if len(said) > self.length:
            raise BadInput(
                f"the prompt has {len(said)} words and {self.length} are read",
                hint="say it in fewer words",
            )
        rows = np.zeros((self.length, self.table.shape[1]), np.float32)
        rows[: len(said)] = self.table[[self.names.index(word) for word in said]]
        return rows

    @property
    def known(self) -> str:
        """The words that mean something, in one line."""
        return ", ".join(name for name in self.names if name not in JOINING)

    def _instead(self, strange: list[str]) -> str:
        near = {word: difflib.get_close_matches(word, self.names, n=1) for word in strange}
        found = [f"{names[0]!r} for {word!r}" for word, names in near.items() if names]
        meant = f"did you mean {' and '.join(found)}? " if found else ""
        return f"{meant}known: {self.known}"


def split_prompt(prompt: str) -> list[str]:
    """Return the words of a prompt: lowercase letters, split at everything else.

    >>> split_prompt("A red-striped cone, with 2 hats!")
    ['a', 'red', 'striped', 'cone', 'with', 'hats']
    """
    return re.findall(r"[^\W\d_]+", prompt.lower())


def read_words(path: Path) -> Words:
    """Read a table of words that a generator was distilled with (``words.safetensors``).

    Raises BadInput for a file that is no such table.
    """
    try:
        data = path.read_bytes()
        (size,) = struct.unpack_from("<Q", data)
        if size > len(data) - 8:
            raise ValueError("its header is longer than the file")
        header = json.loads(data[8 : 8 + size])
        told, entry = header["__metadata__"], header["table"]
        names, length = tuple(json.loads(told["words"])), int(told["length"])
        if entry["dtype"] != "F32" or len(entry["shape"]) != 2 or length < 1:
            raise ValueError("its table is not one of float32")
        start, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + size + start : 8 + size + end], "<f4")
        return Words(names, values.reshape(len(names), entry["shape"][1]), length)
    except (OSError, struct.error, KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{path} is no table of words: {error}", hint="copy the bundle again or export it anew"
        ) from error
