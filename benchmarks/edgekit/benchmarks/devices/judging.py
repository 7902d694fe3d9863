"""A session's samples and outputs as a row of the result: no number without the right answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from edgekit.benchmarks.devices.facts import DeviceFacts
from edgekit.benchmarks.devices.plan import Plan
from edgekit.benchmarks.devices.samples import Samples
from edgekit.benchmarks.devices.session import Run
from edgekit.benchmarks.devices.verdicts import Verdict, strict_faults, verdicts
from edgekit.benchmarks.statistics import Summary, summary
from edgekit.core.manifest import ModelEntry
from edgekit.core.tensors import Batch
from edgekit.runtime.verify import PASS_DB, bar_of, compared, max_abs_bar

Accuracy = tuple[float, float] | str
"""(worst dB, largest difference) on the golden samples, or why the outputs cannot be compared."""


@dataclass(slots=True)
class _Replay:
    """The device's outputs as a session: each call returns the next sample's."""

    entry: ModelEntry
    outputs: Mapping[str, bytes]
    samples: int
    turn: int = 0

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        found = {}
        for entry in self.entry.outputs:
            port = entry.port()
            whole = np.frombuffer(self.outputs[port.name], port.dtype)
            found[port.name] = whole.reshape(self.samples, *port.shape)[self.turn]
        self.turn += 1
        return found


def accuracy_of(
    outputs: Mapping[str, bytes], entry: ModelEntry, golden: Sequence[Mapping[str, Batch]]
) -> Accuracy:
    """Compare what the device computed with the golden samples."""
    replay: Any = _Replay(entry, outputs, len(golden))
    try:
        return compared(replay, entry, golden)
    except ValueError as error:
        return f"its outputs have another size than the manifest says: {error}"


def wrong_answer(entry: ModelEntry, accuracy: Accuracy) -> str:
    """Say how the outputs miss the bar of the file; "" if they do not."""
    if isinstance(accuracy, str):
        return accuracy
    db, worst = accuracy
    if entry.precision == "fp32":
        fits = worst <= max_abs_bar(entry)
    else:
        fits = db >= PASS_DB[entry.precision]
    return "" if fits else f"{db:.1f} dB, max abs {worst:.2g}, the bar is {bar_of(entry)}"


def judged(
    plan: Plan,
    samples: Samples,
    run: Run,
    accuracy: Accuracy | None,
    before: DeviceFacts,
    after: DeviceFacts | None,
    entry: ModelEntry,
) -> dict[str, Any]:
    """Return what a row says about its samples.

    A wrong answer loses its latency altogether; samples that were not compared (`accuracy` None,
    because the device was lost) are kept raw and get no statistics.
    """
    wrong = wrong_answer(entry, accuracy) if accuracy is not None else ""
    if wrong:
        samples = replace(samples, wall_ms=(), cpu_ms=(), warm_ms=(), first_ms=None)
    numbers = None
    if samples.wall_ms and accuracy is not None:
        numbers = summary(samples.timing(entry.path), threads=plan.threads)
    found = verdicts(
        samples,
        numbers,
        calls=plan.calls,
        min_seconds=plan.min_seconds,
        threads=plan.threads,
        before=before,
        after=after,
    )
    if wrong:
        found = [Verdict("wrong", wrong), *(row for row in found if row.name == "emulated")]
    close = accuracy if isinstance(accuracy, tuple) else (None, None)
    return {
        "problem": "wrong" if wrong else run.problem,
        "reason": wrong or run.reason,
        "hint": run.hint,
        "psnr_db": close[0],
        "max_abs": close[1],
        "bar": bar_of(entry),
        "load_ms": samples.loads_ms[0] if samples.loads_ms else None,
        "loads_ms": samples.loads_ms,
        "library_ms": samples.library_ms,
        "first_ms": samples.first_ms,
        "warm_ms": samples.warm_ms,
        "wall_ms": samples.wall_ms,
        "cpu_ms": samples.cpu_ms,
        "seconds": samples.seconds,
        "sensors": samples.sensors,
        "temperature_c": _ends(samples, before, after),
        "loaded_mb": samples.loaded_kb and round(samples.loaded_kb / 1024, 1),
        "peak_mb": samples.peak_kb and round(samples.peak_kb / 1024, 1),
        "summary": numbers and _told(numbers, samples),
        "verdicts": [asdict(row) for row in found],
        "strict": strict_faults(samples, found) if plan.strict else None,
    }


def _told(numbers: Summary, samples: Samples) -> dict[str, Any]:
    told = asdict(numbers)
    del told["warnings"]  # the verdicts say it with their own reasons
    if not samples.cpu_ms:
        told["cpu_p50_ms"] = None
    return told


def _ends(
    samples: Samples, before: DeviceFacts, after: DeviceFacts | None
) -> tuple[float | None, float | None]:
    first, last = samples.hottest_c(0), samples.hottest_c(-1)
    if first is not None and last is not None:
        return first, last
    return before.temperature_c, after.temperature_c if after else None
