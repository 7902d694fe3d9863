"""The table of a search: every trial with its ranks, bytes, scores, seconds and end.

``search.json`` is written anew after every trial, at once or not at all; it is what a search that
was killed continues from, what the report plots, and what is left of the search in a run folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from edgekit.core.errors import BadInput
from edgekit.core.store import read_json, write_json
from edgekit.distill.ranks import GROUPS, Ranks

TABLE = "search.json"
CLOCK = "clock.json"
State = Literal["complete", "pruned", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training with some ranks."""

    number: int
    ranks: Ranks
    bytes: int
    """Of the adapter's file at these ranks."""
    state: State = "complete"
    """"complete"; "pruned": the curve promised nothing; "stopped": the time was over."""
    distance: float = 1.0
    """0 is the teacher, 1 the untouched source; of a trial that did not end, its last value."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Fréchet distance, feature distance and L1 behind `distance`."""
    curve: Sequence[tuple[int, float]] = ()
    """(step, distance) at every check."""
    steps: int = 0
    seconds: float = 0.0
    """Wall time, scoring included, over all continuations."""


Stop = Callable[[int, float], bool]
"""Asked after every check with the step and the distance; True ends the trial as pruned."""


class Evaluate(Protocol):
    """Trains with some ranks and tells how good that was."""

    def __call__(self, number: int, ranks: Ranks, stop: Stop) -> Trial:
        """Return the finished trial."""
        ...


def best_trial(trials: Sequence[Trial], *, gain: float) -> Trial | None:
    """Return the complete trial of fewest bytes whose distance is within `gain` of the best.

    A larger adapter must be worth its bytes; None if no trial is complete.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        return None
    bar = min(trial.distance for trial in complete) * (1 + gain)
    good = [trial for trial in complete if trial.distance <= bar]
    return min(good, key=lambda trial: (trial.bytes, trial.distance, trial.number))


def front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the complete trials that no other one beats in both distance and bytes, by bytes."""
    found: list[Trial] = []
    complete = (trial for trial in trials if trial.state == "complete")
    for trial in sorted(complete, key=lambda trial: (trial.bytes, trial.distance)):
        if not found or trial.distance < found[-1].distance:
            found.append(trial)
    return found


def same(one: Ranks, two: Ranks) -> bool:
    """Tell whether two sets of ranks are equal."""
    return all(one[group] == two[group] for group in GROUPS)


@dataclass(slots=True)
class Table:
    """The trials so far and the wall clock, both on disk; the only state of a search."""

    folder: Path
    work: Path
    fingerprint: str
    facts: Mapping[str, Any]
    """What else stands in the file: settings, protocol, scores of the untouched source."""
    gain: float
    trials: list[Trial] = field(default_factory=list)
    spent_s: float = 0.0
    running: tuple[int, float] = (-1, 0.0)
    """Number of the trial at work and its seconds so far."""
    since: float = field(default_factory=time.monotonic)
    clock: Callable[[], float] = time.monotonic

    def tick(self, number: int | None = None) -> float:
        """Add the time since the last tick, to trial `number` too; return all seconds."""
        now = self.clock()
        passed, self.since = now - self.since, now
        self.spent_s += passed
        if number is not None:
            before = self.running[1] if self.running[0] == number else 0.0
            self.running = (number, before + passed)
        clock = {"seconds": self.spent_s, "trial": self.running[0], "trial_s": self.running[1]}
        write_json(self.work / CLOCK, {"fingerprint": self.fingerprint, **clock})
        return self.spent_s

    def trial_seconds(self, number: int) -> float:
        """Return the seconds that trial `number` has taken so far."""
        return self.running[1] if self.running[0] == number else 0.0

    def find(self, ranks: Ranks) -> Trial | None:
        """Return the trial with these ranks, if there was one."""
        return next((trial for trial in self.trials if same(trial.ranks, ranks)), None)

    def add(self, trial: Trial) -> None:
        """Keep a trial, on disk too."""
        self.trials.append(trial)
        self.write()

    def write(self, stopped: str | None = None) -> dict[str, Any]:
        """Write the file; `stopped` says why the search is over. Return what it holds."""
        best = best_trial(self.trials, gain=self.gain)
        states = [trial.state for trial in self.trials]
        values = {
            "kind": "search",
            "schema": 1,
            "fingerprint": self.fingerprint,
            **self.facts,
            "seconds": round(self.spent_s, 2),
            "stopped": stopped,
            "counts": {state: states.count(state) for state in ("complete", "pruned", "stopped")},
            "best": None if best is None else best.number,
            "front": [trial.number for trial in front(self.trials)],
            "trials": [asdict(trial) for trial in self.trials],
        }
        write_json(self.folder / TABLE, values)
        return values


def opened_table(
    folder: Path,
    work: Path,
    fingerprint: str,
    facts: Mapping[str, Any],
    *,
    gain: float,
    clock: Callable[[], float] = time.monotonic,
) -> Table:
    """Return the table in `folder` and its clock in `work`; empty if they belong to other work."""
    table = Table(folder, work, fingerprint, facts, gain, since=clock(), clock=clock)
    found = _read(folder / TABLE)
    if found.get("fingerprint") == fingerprint:
        rows = (trial_from(row) for row in found["trials"])
        table.trials = [trial for trial in rows if trial.state != "stopped"]  # those go on
    kept = _read(work / CLOCK)
    if kept.get("fingerprint") == fingerprint:
        table.spent_s = float(kept["seconds"])
        table.running = (int(kept["trial"]), float(kept["trial_s"]))
    return table


def trial_from(row: Mapping[str, Any]) -> Trial:
    """Return the trial that a row of ``search.json`` describes."""
    curve = tuple((int(step), float(value)) for step, value in row["curve"])
    return Trial(**{**row, "curve": curve})


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except BadInput:
        return {}
    return found if isinstance(found, dict) else {}
