"""Are the photos of a person really of one person, and of nobody on the other side of the split?

Only warnings: a recognizer errs, most of all on children, old photos and faces turned away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from edgekit.distill.faces.recognition import SAME
from edgekit.distill.faces.store import FaceEntry

TWINS = 0.35
"""Faces of two names that are this close are taken for one person: on 1,788 official portraits 46 %
of 589 pairs of one person were closer, and 1 of 1,596,989 pairs of two people."""


def suspicions(entries: Sequence[FaceEntry], descriptors: np.ndarray) -> list[str]:
    """Return a sentence for each person whose photos differ too much, or who has two names.

    `descriptors` are N x 128, one for each of `entries`.
    """
    own: dict[str, list[int]] = defaultdict(list)
    for row, entry in enumerate(entries):
        own[entry.identity].append(row)
    found = []
    for identity, rows in sorted(own.items()):
        apart = _distances(descriptors[rows], descriptors[rows])
        if len(rows) == 2 and apart[0, 1] > SAME:
            names = " and ".join(entries[row].source for row in rows)
            found.append(
                f"{identity}: {names} look like two people ({apart[0, 1]:.2f} apart); remove one"
            )
        elif len(rows) > 2:
            others = apart[~np.eye(len(rows), dtype=bool)].reshape(len(rows), -1)
            medians = np.median(others, axis=1)
            found += [
                f"{identity}: {entries[row].source} looks like somebody else "
                f"({median:.2f} from the other photos); remove or move it"
                for row, median in zip(rows, medians, strict=True)
                if median > SAME
            ]
    return found + _leaks(entries, descriptors)


def _leaks(entries: Sequence[FaceEntry], descriptors: np.ndarray) -> list[str]:
    """Name people who seem to be in two splits under two names."""
    found: dict[tuple[str, str], str] = {}
    train = [row for row, entry in enumerate(entries) if entry.split == "train"]
    held = [row for row, entry in enumerate(entries) if entry.split != "train"]
    for row in held:
        apart = _distances(descriptors[[row]], descriptors[train])[0]
        for place in np.flatnonzero(apart < TWINS):
            one, two = entries[row], entries[train[int(place)]]
            found.setdefault(
                (one.identity, two.identity),
                f"{one.source} ({one.split}) and {two.source} ({two.split}) look like one person "
                f"({apart[place]:.2f} apart); give both the same name",
            )
    return list(found.values())


def _distances(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    apart: np.ndarray = np.linalg.norm(one[:, None] - two[None], axis=2)
    return apart
