"""The runner's lines as numbers: every sample is kept, nothing is averaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.benchmarks.timing import Timing

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Samples:
    """One session: milliseconds."""

    start: Event
    """What the runner said about itself; empty if it never came so far."""
    library_ms: float | None
    """Opening the runtime's shared library, before any model."""
    loads_ms: tuple[float, ...]
    """From the file to something that can be called: the first time in this process, and again."""
    first_ms: float | None
    warm_ms: tuple[float, ...]
    wall_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]
    """CPU time over all threads of the runner, of each call; empty where only the sum is known."""
    seconds: float
    """From the first timed call to the end of the last."""
    sensors: tuple[Event, ...]
    """Temperatures (thousandths of a degree) and clock speeds (kHz) once a second."""
    loaded_kb: int | None
    peak_kb: int | None
    ended: str
    """done, budget or signal; empty if the end never came."""

    def timing(self, name: str) -> Timing:
        """Return the samples as the statistics take them."""
        return Timing(
            name,
            self.loads_ms[0] if self.loads_ms else 0.0,
            self.first_ms or 0.0,
            len(self.warm_ms),
            self.wall_ms,
            self.cpu_ms or self.wall_ms,
        )

    def hottest_c(self, which: int) -> float | None:
        """Return the highest plausible temperature at the first (0) or last (-1) look."""
        found = [_plausible(event.get("milli_c", ())) for event in self.sensors]
        known = [value for value in found if value is not None]
        return known[which] if known else None

    def fastest_khz(self, which: int) -> int | None:
        """Return the highest clock speed at the second look (calls ramp it up) or the last."""
        found = [max(event["khz"]) for event in self.sensors if event.get("khz")]
        if not found:
            return None
        return int(found[which] if which < 0 else found[min(1, len(found) - 1)])


def samples_of(events: Iterable[Event]) -> Samples:
    """Sort the events of one session; a session that broke off has fewer of them."""
    kept: dict[str, list[Event]] = {}
    for event in events:
        kept.setdefault(str(event["event"]), []).append(event)
    start = (kept.get("start") or [{}])[0]
    end = (kept.get("end") or [{}])[0]
    first = kept.get("first")
    loads, runs = kept.get("load", []), kept.get("run", [])
    wall = _ms(runs, "ns")
    return Samples(
        start=start,
        library_ms=start["library_ns"] / 1e6 if "library_ns" in start else None,
        loads_ms=_ms(loads, "ns"),
        first_ms=first[0]["ns"] / 1e6 if first else None,
        warm_ms=_ms(kept.get("warm", []), "ns"),
        wall_ms=wall,
        cpu_ms=_ms([run for run in runs if run.get("cpu_ns", -1) >= 0], "cpu_ns"),
        seconds=end["wall_ns"] / 1e9 if end else float(np.sum(wall)) / 1e3,
        sensors=tuple(kept.get("sensors", [])),
        loaded_kb=_positive(loads[-1].get("rss_kb")) if loads else None,
        peak_kb=_positive(end.get("peak_rss_kb")),
        ended=str(end.get("ended", "")),
    )


def _ms(events: list[Event], key: str) -> tuple[float, ...]:
    return tuple(event[key] / 1e6 for event in events)


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _plausible(milli: Iterable[int]) -> float | None:
    found = [value / 1000 for value in milli if 1_000 < value < 130_000]
    return max(found) if found else None
