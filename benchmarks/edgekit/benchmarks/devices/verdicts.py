"""Whether a session's numbers can be believed: verdicts with their reasons, and MLPerf's rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekit.benchmarks.devices.facts import DeviceFacts
from edgekit.benchmarks.devices.samples import Samples
from edgekit.benchmarks.statistics import DRIFT_LIMIT, SPREAD_LIMIT, Summary

VerdictName = Literal["wrong", "emulated", "incomplete", "throttled", "unstable", "preempted"]

TAIL_LIMIT = 1.25
"""p90 over p50 above which the calls are called unstable."""
SLOWER_LIMIT = 1.10
"""Last over first third above which warming explains slowness."""
WARMER_C = 3.0
CLOCK_DROP = 0.90
"""Clock speed at the end over that at the beginning below which the processor was slowed."""
BUSY_SHARE = 0.90
"""CPU time over wall time of one thread below which something else had the core."""
STRICT_CALLS = 1024
STRICT_SECONDS = 60.0
"""MLPerf Mobile, single stream: at least so many calls and so long; the score is p90."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One reason to doubt a number."""

    name: VerdictName
    why: str


def verdicts(
    samples: Samples,
    summary: Summary | None,
    *,
    calls: int,
    min_seconds: float,
    threads: int,
    before: DeviceFacts,
    after: DeviceFacts | None,
) -> list[Verdict]:
    """Return every reason to doubt the session, worst first; `summary` None without calls."""
    found = []
    if before.emulated:
        found.append(Verdict("emulated", before.emulated_because))
    if reason := _incomplete(samples, calls, min_seconds):
        found.append(Verdict("incomplete", reason))
    if summary is None:
        return found
    heat = _throttled(samples, summary, before, after)
    if heat:
        found.append(Verdict("throttled", heat))
    if reason := _unstable(summary, drifted_by_heat=bool(heat)):
        found.append(Verdict("unstable", reason))
    if samples.cpu_ms and threads == 1:
        share = sum(samples.cpu_ms) / sum(samples.wall_ms)
        if share < BUSY_SHARE:
            why = f"only {share:.0%} of the time on the processor: other programs had the core"
            found.append(Verdict("preempted", why))
    return found


def _incomplete(samples: Samples, calls: int, min_seconds: float) -> str:
    done = len(samples.wall_ms)
    if not samples.ended:
        return f"it broke off after {done} of {calls} calls"
    if done < calls:
        why = "the time was over" if samples.ended == "budget" else "it was stopped"
        return f"{why} after {done} of {calls} calls"
    if samples.seconds < min_seconds:
        return f"it ended after {samples.seconds:.1f} of {min_seconds:g} s"
    return ""


def _throttled(
    samples: Samples, summary: Summary, before: DeviceFacts, after: DeviceFacts | None
) -> str:
    """Say what shows that heat slowed the device down; "" if nothing does."""
    status = after.thermal_status if after else None
    if status is not None and status > 1 and status > (before.thermal_status or 0):
        return f"Android's thermal status rose to {status}"
    first, last = samples.fastest_khz(0), samples.fastest_khz(-1)
    warmer = _warmer(samples, before, after)
    slower = f"the last third of the calls took {summary.drift:.2f} times the first"
    if summary.drift <= SLOWER_LIMIT:
        return ""
    if first and last and last < CLOCK_DROP * first:
        return f"{slower}, the clock fell from {first / 1e6:.2f} to {last / 1e6:.2f} GHz"
    if warmer is not None and warmer >= WARMER_C:
        return f"{slower}, the device became {warmer:.1f} °C warmer"
    return ""


def _warmer(samples: Samples, before: DeviceFacts, after: DeviceFacts | None) -> float | None:
    first, last = samples.hottest_c(0), samples.hottest_c(-1)
    if first is None or last is None:
        first, last = before.temperature_c, after.temperature_c if after else None
    return None if first is None or last is None else last - first


def _unstable(summary: Summary, *, drifted_by_heat: bool) -> str:
    if summary.spread > SPREAD_LIMIT:
        return f"half of the calls are more than {summary.spread:.0%} off the median"
    if summary.p90_ms is not None and summary.p90_ms > TAIL_LIMIT * summary.p50_ms:
        return f"p90 is {summary.p90_ms / summary.p50_ms:.2f} times p50"
    if abs(summary.drift - 1) > DRIFT_LIMIT and not drifted_by_heat:
        return f"the last third of the calls took {summary.drift:.2f} times the first"
    return ""


def strict_faults(samples: Samples, found: list[Verdict]) -> list[str]:
    """Return why the session is no valid one by MLPerf Mobile's rule; empty if it is."""
    faults = []
    if len(samples.wall_ms) < STRICT_CALLS:
        faults.append(f"{len(samples.wall_ms)} calls, at least {STRICT_CALLS} count")
    if samples.seconds < STRICT_SECONDS:
        faults.append(f"{samples.seconds:.1f} s, at least {STRICT_SECONDS:g} s count")
    fatal = ("wrong", "emulated", "incomplete", "throttled", "preempted")
    return faults + [f"{row.name}: {row.why}" for row in found if row.name in fatal]
