"""Which pictures calibrate and which judge: two sets that share no picture, both named by a hash.

Calibration feeds are those that `edgekit distill` drew from the training pairs so that they cover
the rest; held-out feeds were never trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.export.program import CALIBRATION, Feed, Student, calibration_feeds, heldout_feeds

CALIBRATION_SAMPLES = 32
JUDGED_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class Samples:
    """Feeds for calibrating, feeds for judging, and what identifies them."""

    calibration: Sequence[Feed]
    heldout: Sequence[Feed]
    calibration_sha256: str
    heldout_sha256: str
    dropped: int
    """Calibration feeds that were left out because they are held out too."""


def samples_of(student: Student, *, judged: int = JUDGED_SAMPLES) -> Samples:
    """Return the samples of a student folder.

    Raises BadInput if a file is missing, has other shapes than the student's ports, or if every
    calibration picture is held out as well.
    """
    heldout = heldout_feeds(student, limit=judged)
    every = {_sha256(feed) for feed in heldout_feeds(student, limit=10_000)}
    found = calibration_feeds(student, limit=CALIBRATION_SAMPLES)
    kept = [feed for feed in found if _sha256(feed) not in every]
    if not kept:
        raise BadInput(
            f"every picture of {student.folder / CALIBRATION} is held out too, so nothing is left "
            "to calibrate with",
            hint="distil the student again, with more photos",
        )
    return Samples(kept, heldout, _all(kept), _all(heldout), len(found) - len(kept))


def _sha256(feed: Feed) -> str:
    digest = hashlib.sha256()
    for name in sorted(feed):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(feed[name]).tobytes())
    return digest.hexdigest()


def _all(feeds: Sequence[Feed]) -> str:
    return hashlib.sha256("".join(_sha256(feed) for feed in feeds).encode()).hexdigest()
