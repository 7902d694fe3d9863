"""The same picture twice, also mirrored: a reference that is its target teaches copying."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from edgekit.core.images import resized
from edgekit.core.tensors import Photo
from edgekit.distill.faces.store import FaceEntry, FaceSet, Refused, decoded

ALIKE = 0.945
"""Correlation above which two photos are one. Of 440 pairs of portraits of one person the highest
was 0.927; copies of half the pixels, JPEG quality 60, a pixel aside had 0.987 or more. Photos of
one sitting can lie above it too, and help as little (benchmarks/faces_copies.py)."""
INNER = 0.6
SIDE_PX = 20


def without_copies(
    faces: FaceSet, entries: Sequence[FaceEntry]
) -> tuple[list[FaceEntry], list[Refused]]:
    """Part `entries` into those that are kept and copies of an earlier photo of the same person.

    Of two copies the one that had more pixels stays.
    """
    looks = {entry.key: look(decoded(jpeg)) for entry, jpeg in faces.jpegs(entries)}
    own: dict[str, list[FaceEntry]] = defaultdict(list)
    dropped: dict[str, Refused] = {}
    for entry in sorted(entries, key=lambda one: (-one.native_px, one.key)):
        for other in own[entry.identity]:
            alike, mirrored = likeness(looks[entry.key], looks[other.key])
            if alike > ALIKE:
                dropped[entry.key] = Refused(
                    source=entry.source,
                    identity=entry.identity,
                    what=f"it is nearly the same picture as {other.source}"
                    f"{', mirrored' if mirrored else ''} (likeness {alike:.2f})",
                    hint="nothing to do: the larger of the two is kept",
                )
                break
        else:
            own[entry.identity].append(entry)
    kept = [entry for entry in entries if entry.key not in dropped]
    return kept, [dropped[key] for key in sorted(dropped)]


def look(photo: Photo) -> np.ndarray:
    """Return the inner face as a few gray values with mean 0 and length 1."""
    edge = round(photo.shape[0] * (1 - INNER) / 2)
    inner = resized(photo[edge:-edge, edge:-edge], SIDE_PX, SIDE_PX).mean(2)
    centered = inner - inner.mean()
    unit: np.ndarray = centered / max(float(np.linalg.norm(centered)), 1e-6)
    return unit


def likeness(one: np.ndarray, two: np.ndarray) -> tuple[float, bool]:
    """Return the correlation of two looks, and whether it is that with the mirror image."""
    straight, mirrored = float((one * two).sum()), float((one * two[:, ::-1]).sum())
    return max(straight, mirrored), mirrored > straight
