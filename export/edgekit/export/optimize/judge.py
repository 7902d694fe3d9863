"""A candidate's file executed: bytes, decibels and FLIP against PyTorch, CPU time against float.

Decibels are those of `edgekit.export.parity`: the mean over held-out pictures, and the worst.
Time is process time of one thread, the candidate and the float32 file of the same runtime in turns,
so that a busy minute hits both; only their ratio is compared between candidates.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.images import to_bytes
from edgekit.core.seams import Session
from edgekit.core.store import size_bytes
from edgekit.core.tensors import Batch
from edgekit.export.parity import EXACT_DB, from_layout, psnr_db, to_layout
from edgekit.export.program import Feed
from edgekit.export.rows import Workplace, opened, port_pairs

CALLS, WARM_UP = 15, 3
CONFIRMING_CALLS = 30
"""Calls of each of the leading candidates when a search ends, all of them in turns."""
FLIP_PICTURES = 2


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out of executing one file."""

    bytes: int
    db: float
    """Mean over held-out pictures; 999 for equal outputs."""
    worst_db: float
    flip: float | None
    """Mean of NVIDIA's FLIP over the first pictures; None without flip_evaluator or a picture."""
    ms: float | None
    """Median CPU time of a call; None where time means nothing here."""
    float_ms: float | None
    """The float32 file's, measured in turns with it."""

    @property
    def speed(self) -> float:
        """How many times faster than the float32 file; 1 where time is not measured."""
        return self.float_ms / self.ms if self.ms and self.float_ms else 1.0

    def values(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "speed": round(self.speed, 3)}


@dataclass(frozen=True, slots=True)
class Judge:
    """Measures the files of one format."""

    place: Workplace
    timed: bool
    float_file: Path

    def measure(self, path: Path) -> Measured:
        """Execute the file on every held-out feed of the workplace."""
        session = session_of(self.place, path)
        feeds, references = self.place.feeds, self.place.references
        scores, flips = [], []
        for index, (feed, reference) in enumerate(zip(feeds, references, strict=True)):
            got = outputs_of(self.place, session, feed)
            scores.append(_db(self.place, reference, got))
            if index < FLIP_PICTURES and (found := _flip(self.place, reference, got)) is not None:
                flips.append(found)
        ms, float_ms = self._times(session) if self.timed else (None, None)
        return Measured(
            size_bytes(path),
            round(float(np.mean(scores)), 3),
            round(min(scores), 3),
            round(statistics.mean(flips), 5) if flips else None,
            ms,
            float_ms,
        )

    def noise(self, path: Path, feeds: Sequence[Feed], references: Sequence[Any]) -> float:
        """Return the mean squared error of the file, peak to peak 1, on `feeds`."""
        session = session_of(self.place, path)
        found = [
            error(self.place, reference, outputs_of(self.place, session, feed))
            for feed, reference in zip(feeds, references, strict=True)
        ]
        return float(np.mean(found))

    def timed_again(self, paths: Sequence[Path]) -> tuple[list[float], float]:
        """Return the CPU ms of each file and of the float32 file, all of them in turns."""
        feed = file_feed(self.place, self.place.feeds[0])
        sessions = [session_of(self.place, path) for path in (*paths, self.float_file)]
        calls = [lambda session=session: session.run(feed) for session in sessions]
        *found, reference = interleaved(calls, CONFIRMING_CALLS, WARM_UP)
        return [round(ms, 4) for ms in found], round(reference, 4)

    def _times(self, session: Session) -> tuple[float, float]:
        feed = file_feed(self.place, self.place.feeds[0])
        calls = [lambda: session.run(feed)]
        reference = session_of(self.place, self.float_file)
        calls.append(lambda: reference.run(feed))
        one, two = interleaved(calls, CALLS, WARM_UP)
        return round(one, 4), round(two, 4)


def interleaved(calls: Sequence[Callable[[], object]], count: int, warm_up: int) -> list[float]:
    """Return the median process time of each call in ms, called in turns."""
    samples: list[list[float]] = [[] for _ in calls]
    for _ in range(count + warm_up):
        for kept, call in zip(samples, calls, strict=True):
            start = time.process_time()
            call()
            kept.append((time.process_time() - start) * 1e3)
    return [statistics.median(kept[warm_up:]) for kept in samples]


def session_of(place: Workplace, path: Path) -> Session:
    """Open a file; NotImplementedError where nothing here can run it."""
    found = opened(place, path)
    if found is None:
        raise NotImplementedError(f"{path.name} cannot be executed on this machine")
    return found[0]


def file_feed(place: Workplace, feed: Feed) -> dict[str, Batch]:
    """Return `feed` as the format's files take it."""
    return {
        entry.name: to_layout(feed[port.name], port, entry.port())
        for port, entry in port_pairs(place.converter, place.program.inputs, output=False)
    }


def outputs_of(place: Workplace, session: Session, feed: Feed) -> dict[str, Batch]:
    """Run a session and return its outputs as the student gives them.

    A Core ML package gives bytes; here it is asked for what it computed before it rounded, since
    one gray level would hide everything above 59 dB.
    """
    given = file_feed(place, feed)
    pairs = port_pairs(place.converter, place.program.outputs, output=True)
    if unrounded := getattr(session, "unrounded", None):
        plain = unrounded(given)
        return {
            port.name: (plain[entry.name] / np.float32(255 / (port.high - port.low)) + port.low)
            if entry.dtype == "image"
            else plain[entry.name]
            for port, entry in pairs
        }
    result = session.run(given)
    return {
        port.name: from_layout(np.asarray(result[entry.name]), port, entry.port())
        for port, entry in pairs
    }


def _db(place: Workplace, reference: Mapping[str, Batch], got: Mapping[str, Batch]) -> float:
    found = min(
        psnr_db(reference[port.name], got[port.name], peak=port.high - port.low)
        for port in place.program.outputs
    )
    return min(EXACT_DB, max(-EXACT_DB, found))


def error(place: Workplace, reference: Mapping[str, Batch], got: Mapping[str, Batch]) -> float:
    """Return the mean squared error of the worst output, black to white being 1."""
    errors = []
    for port in place.program.outputs:
        difference = reference[port.name].astype(np.float64) - got[port.name]
        errors.append(float(np.mean(difference**2)) / (port.high - port.low) ** 2)
    worst = max(errors)
    return worst if np.isfinite(worst) else 1e6


def _flip(
    place: Workplace, reference: Mapping[str, Batch], got: Mapping[str, Batch]
) -> float | None:
    pictures = [
        port
        for port in place.program.outputs
        if port.layout == "nchw" and len(port.shape) == 4 and port.shape[1] == 3
    ]
    if not pictures or find_spec("flip_evaluator") is None:
        return None
    import flip_evaluator

    port = pictures[0]
    one, two = (
        (to_bytes(values[port.name], low=port.low, high=port.high)[0] / 255)
        .transpose(1, 2, 0)
        .astype(np.float32)
        for values in (reference, got)
    )
    _, value, _ = flip_evaluator.evaluate(one, two, "LDR", applyMagma=False)
    return float(value)
