"""Models timed in turns, so that a slow minute of the machine hits all of them alike.

Protocol latency-1: every candidate is loaded (load time), called once (first call) and warmed up;
then rounds follow, in each of which every candidate has one call, starting with another one each
time. A candidate with fewer calls than there are rounds has them spread evenly. Every sample is
kept, wall time and CPU time; medians, p90 and ratios are computed from the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgekit.benchmarks.timing import Clocks, Timing, check_counts, timed
from edgekit.core.progress import Report, silent

PROTOCOL = "latency-1/interleaved"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that can be loaded and then called again and again on the same input."""

    name: str
    load: Callable[[], Callable[[], object]]
    calls: int | None = None
    """Fewer calls than the others have; None for as many."""
    warmup: int | None = None
    once: bool = False
    """Keep the very first call as the only sample: for calls that take minutes."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the result's row says about it besides the times."""


def measure(
    candidates: Sequence[Candidate],
    *,
    calls: int = 50,
    warmup: int = 5,
    clocks: Clocks | None = None,
    report: Report = silent,
) -> tuple[Timing, ...]:
    """Time the candidates in turns; return one timing each, in their order.

    Raises ValueError for no candidate, equal names, or counts below 1 (calls) and 0 (warm-up).
    """
    check_counts(calls, warmup)
    names = [candidate.name for candidate in candidates]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"expected at least one candidate and no name twice, got {names}")
    used = clocks or Clocks()
    own = [min(c.calls or calls, calls) if not c.once else 0 for c in candidates]
    warm = [0 if c.once else warmup if c.warmup is None else c.warmup for c in candidates]
    total, done = sum(own) + sum(warm) + len(candidates), 0

    loaded: list[Callable[[], object]] = []
    loads, firsts = [], []
    for candidate, warm_calls in zip(candidates, warm, strict=True):
        holder: list[Callable[[], object]] = []
        load_ms, _ = timed(lambda c=candidate, h=holder: h.append(c.load()), used)  # type: ignore[misc]
        loads.append(load_ms)
        firsts.append(timed(holder[0], used))
        for _ in range(warm_calls):
            holder[0]()
        # A candidate of one call is done: let go of what may be gigabytes before the others run.
        loaded.append(_spent if candidate.once else holder[0])
        done += 1 + warm_calls
        report("bench", done, total, candidate.name)

    samples: list[list[tuple[float, float]]] = [
        [first] if candidate.once else []
        for candidate, first in zip(candidates, firsts, strict=True)
    ]
    for index, turn in turns(own):
        samples[index].append(timed(loaded[index], used))
        done += 1
        report("bench", done, total, f"round {turn + 1}")
    return tuple(
        Timing(
            name,
            loads[i],
            firsts[i][0],
            warm[i],
            tuple(wall for wall, _ in samples[i]),
            tuple(cpu for _, cpu in samples[i]),
        )
        for i, name in enumerate(names)
    )


def _spent() -> object:
    raise AssertionError("a candidate of one call was called twice")


def turns(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Return (candidate, round) in the order of calls, for `counts` calls of each candidate.

    >>> turns([3, 1])
    [(0, 0), (1, 0), (0, 1), (0, 2)]
    """
    rounds = max(counts, default=0)
    order = []
    for turn in range(rounds):
        for step in range(len(counts)):
            index = (turn + step) % len(counts)
            count = counts[index]
            # True in `count` of the rounds, evenly spread from the first one on.
            if turn * count // rounds != (turn - 1) * count // rounds:
                order.append((index, turn))
    return order
