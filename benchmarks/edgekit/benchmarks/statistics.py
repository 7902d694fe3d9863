"""What raw samples say, and whether they can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.benchmarks.timing import Timing
from edgekit.core.tensors import Batch

SPREAD_LIMIT = 0.10
"""Median absolute deviation over median above which a measurement is called unstable."""
DRIFT_LIMIT = 0.15
"""Change from the first to the last third's median above which it is called drifting."""
BUSY_SHARE = 0.85
"""CPU time over wall time of one thread below which another process had the core meanwhile."""
ENOUGH = 10
"""Calls below which no p90 is given."""
ENOUGH_FOR_P99 = 100
"""Calls below which no p99 is given: it would be the slowest call under another name."""
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of one candidate's calls; milliseconds."""

    calls: int
    p50_ms: float
    p90_ms: float | None
    """None for fewer than `ENOUGH` calls."""
    p99_ms: float | None
    """None for fewer than `ENOUGH_FOR_P99` calls."""
    min_ms: float
    cpu_p50_ms: float
    spread: float
    """Median absolute deviation of the wall time over its median."""
    drift: float
    """Median of the last third of the calls over that of the first third; 1 is steady."""
    warnings: tuple[str, ...]


def summary(timing: Timing, *, threads: int) -> Summary:
    """Return the statistics of a timing, with a sentence for each reason to doubt it."""
    wall, cpu = np.asarray(timing.wall_ms), np.asarray(timing.cpu_ms)
    middle = float(np.median(wall))
    spread = float(np.median(np.abs(wall - middle))) / middle if middle else 0.0
    third = len(wall) // 3
    drift = float(np.median(wall[-third:]) / np.median(wall[:third])) if third else 1.0
    warnings = []
    if len(wall) < ENOUGH:
        warnings.append(f"only {len(wall)} {'call' if len(wall) == 1 else 'calls'}")
    if spread > SPREAD_LIMIT:
        warnings.append(f"unstable: half of the calls are more than {spread:.0%} off the median")
    if abs(drift - 1) > DRIFT_LIMIT:
        warnings.append(f"drifting: the last third took {drift:.2f} times the first third")
    busy = float(np.sum(cpu) / np.sum(wall)) if wall.sum() else 1.0
    if threads == 1 and busy < BUSY_SHARE:
        warnings.append(f"other processes were busy: only {busy:.0%} of the time on the CPU")
    return Summary(
        len(wall),
        middle,
        float(np.percentile(wall, 90)) if len(wall) >= ENOUGH else None,
        float(np.percentile(wall, 99)) if len(wall) >= ENOUGH_FOR_P99 else None,
        float(wall.min()),
        float(np.median(cpu)),
        spread,
        drift,
        tuple(warnings),
    )


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times longer `of` takes than `to`: medians, with a bootstrap interval."""

    of: str
    to: str
    wall: float
    wall_low: float | None
    """Lower end of the 95 % interval; None if one side has a single call."""
    wall_high: float | None
    cpu: float


def ratio(of: Timing, to: Timing, *, seed: int = 0) -> Ratio:
    """Compare the medians of two timings that were measured in turns."""
    low, high = interval(of.wall_ms, to.wall_ms, seed=seed)
    wall = float(np.median(of.wall_ms) / np.median(to.wall_ms))
    cpu_ms = float(np.median(to.cpu_ms))
    # A clock too coarse to see the call at all gives no second opinion.
    cpu = float(np.median(of.cpu_ms)) / cpu_ms if cpu_ms else wall
    return Ratio(of.name, to.name, wall, low, high, cpu)


def cautious(found: Mapping[str, Any], *, threads: int) -> float:
    """Return the ratio to claim, from a `Ratio` as JSON.

    With one thread that of wall or of CPU time, whichever is smaller: on a busy machine a long
    call loses more wall time to other processes than a short one does. With several threads CPU
    time says nothing about waiting, and the wall time counts.
    """
    return float(min(found["wall"], found["cpu"]) if threads == 1 else found["wall"])


def interval(
    one: Sequence[float], two: Sequence[float], *, seed: int = 0
) -> tuple[float | None, float | None]:
    """Return the 95 % percentile-bootstrap interval of median(one) / median(two).

    (None, None) if either has fewer than two values: one call says nothing about its spread.
    """
    if min(len(one), len(two)) < 2:
        return None, None
    from scipy.stats import bootstrap

    def medians(a: Batch, b: Batch, axis: int = -1) -> Batch:
        quotient: Batch = np.median(a, axis=axis) / np.median(b, axis=axis)
        return quotient

    found = bootstrap(
        (np.asarray(one), np.asarray(two)),
        medians,
        n_resamples=RESAMPLES,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)
