"""One call timed: wall time and CPU time, by clocks that a test can replace; raw samples kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgekit.core.seams import Session
from edgekit.core.tensors import Batch

Clock = Callable[[], int]
"""Returns nanoseconds."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks of a measurement."""

    wall_ns: Clock = time.perf_counter_ns
    cpu_ns: Clock = time.process_time_ns
    """CPU time of this process over all its threads: not disturbed by other processes."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The calls of one candidate, in milliseconds; statistics are computed from them."""

    name: str
    load_ms: float
    """From the file to something that can be called."""
    first_ms: float
    """The very first call, which may compile kernels and fill caches; not among the samples."""
    warmup: int
    """Calls run after the first one and not kept."""
    wall_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]


def timed(call: Callable[[], object], clocks: Clocks) -> tuple[float, float]:
    """Run `call` once; return its wall and CPU time in milliseconds."""
    cpu, wall = clocks.cpu_ns(), clocks.wall_ns()
    call()
    return (clocks.wall_ns() - wall) / 1e6, (clocks.cpu_ns() - cpu) / 1e6


def time_session(
    session: Session,
    feeds: Mapping[str, Batch],
    *,
    calls: int = 50,
    warmup: int = 5,
    clocks: Clocks | None = None,
) -> Timing:
    """Run an open `session` on `feeds` 1 + `warmup` + `calls` times and keep the last `calls`.

    To compare sessions use `edgekit.benchmarks.compare.measure`, which takes turns.
    Raises ValueError for fewer than 1 call or less than no warm-up.
    """
    check_counts(calls, warmup)
    used = clocks or Clocks()
    first, _ = timed(lambda: session.run(feeds), used)
    for _ in range(warmup):
        session.run(feeds)
    samples = [timed(lambda: session.run(feeds), used) for _ in range(calls)]
    return Timing(
        "session",
        0.0,
        first,
        warmup,
        tuple(wall for wall, _ in samples),
        tuple(cpu for _, cpu in samples),
    )


def check_counts(calls: int, warmup: int) -> None:
    """Raise ValueError unless calls >= 1 and warmup >= 0."""
    if calls < 1 or warmup < 0:
        raise ValueError(f"expected calls >= 1 and warmup >= 0, got {calls} and {warmup}")
