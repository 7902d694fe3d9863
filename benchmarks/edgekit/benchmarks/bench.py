"""A bundle's files, and whatever stands beside them, measured in one run and written as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgekit.benchmarks.compare import PROTOCOL, Candidate, measure
from edgekit.benchmarks.host import host_facts, load_average, peak_memory_mb
from edgekit.benchmarks.statistics import cautious, ratio, summary
from edgekit.benchmarks.timing import Clocks
from edgekit.core.errors import BadInput, QualityFailed, unknown_name
from edgekit.core.manifest import BundleManifest, LatencyEntry, ModelEntry, read_bundle
from edgekit.core.progress import Report, silent
from edgekit.core.tensors import Batch
from edgekit.runtime.pipeline import from_golden
from edgekit.runtime.sessions import backend_of, obstacle, open_session
from edgekit.runtime.verify import compared, read_golden


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not measured, and why."""

    path: str
    reason: str


def bench_bundle(
    folder: Path,
    *,
    target: str | None = None,
    threads: int = 1,
    calls: int = 50,
    warmup: int = 5,
    baselines: Sequence[Candidate] = (),
    clocks: Clocks | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Time every file of the bundle in `folder` that can be timed here, beside `baselines`.

    All take turns on one golden sample with `threads` threads. The result holds the raw samples,
    their statistics, how far each file's output is from the student, the ratio of each baseline
    and file to the fastest file, and what the host was like: a JSON value.

    Raises BadInput for a damaged bundle or one without a file that can be timed here.
    """
    manifest = read_bundle(folder, check_files=True)
    golden = read_golden(folder, manifest)
    entries, skipped = timeable(manifest, target)
    if not entries:
        reasons = "; ".join(f"{row.path}: {row.reason}" for row in skipped)
        raise BadInput(
            f"{folder} holds no file that can be timed here ({reasons or 'it holds none'})",
            hint="run `edgekit doctor` to see what is missing",
        )
    candidates = [file_candidate(folder, entry, golden[0], threads=threads) for entry in entries]
    load_before = load_average()
    timings = measure(
        [*candidates, *baselines], calls=calls, warmup=warmup, clocks=clocks, report=report
    )
    rows = []
    for candidate, timing in zip([*candidates, *baselines], timings, strict=True):
        row = {**candidate.facts, **asdict(timing)}
        row["summary"] = asdict(summary(timing, threads=threads))
        rows.append(row)
    for row, entry in zip(rows, entries, strict=False):
        session = open_session(folder / entry.path, threads=threads)
        row["psnr_db"], row["max_abs"] = compared(session, entry, golden[:1])
    fastest = min(
        timings[: len(entries)], key=lambda timing: sorted(timing.wall_ms)[len(timing.wall_ms) // 2]
    )
    return {
        "protocol": PROTOCOL,
        "name": manifest.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": threads,
        "calls": calls,
        "warmup": warmup,
        "size_px": manifest.student.size_px,
        "host": host_facts(),
        "load_average": {"before": load_before, "after": load_average()},
        "peak_memory_mb": peak_memory_mb(),
        "fastest": fastest.name,
        "rows": rows,
        "ratios": [
            asdict(ratio(timing, fastest)) for timing in timings if timing.name != fastest.name
        ],
        "skipped": [asdict(row) for row in skipped],
    }


def timeable(
    manifest: BundleManifest, target: str | None
) -> tuple[list[ModelEntry], list[Skipped]]:
    """Return the entries that can be timed on this machine, and the others with the reason.

    Raises EdgekitError for a target that the bundle does not hold.
    """
    held = {entry.target for entry in manifest.models}
    if target is not None and target not in held:
        raise unknown_name("target in this bundle", target, held)
    entries, skipped = [], []
    for entry in manifest.models:
        if target not in (None, entry.target):
            continue
        path = Path(entry.path)
        if problem := obstacle(path):
            skipped.append(Skipped(entry.path, problem.what))
        elif backend_of(path).interpreted_on == sys.platform:
            skipped.append(
                Skipped(
                    entry.path,
                    "its runtime on this system is an interpreter, whose time says nothing "
                    "about a phone",
                )
            )
        else:
            entries.append(entry)
    return entries, skipped


def file_candidate(
    folder: Path, entry: ModelEntry, sample: Mapping[str, Batch], *, threads: int
) -> Candidate:
    """Return the candidate that opens a bundle's file and calls it on a golden `sample`."""
    feeds = from_golden(sample, tuple(port.port() for port in entry.inputs))

    def load() -> Callable[[], object]:
        session = open_session(folder / entry.path, threads=threads)
        return lambda: session.run(feeds)

    facts = {
        "kind": "file",
        "target": entry.target,
        "precision": entry.precision,
        "runtime": backend_of(Path(entry.path)).package,
        "sha256": entry.sha256,
        "bytes": entry.bytes,
    }
    return Candidate(entry.path, load, facts=facts)


def check_speedups(result: Mapping[str, Any], bars: Mapping[str, float]) -> list[str]:
    """Return one sentence for each bar "baseline -> least ratio to the fastest file" that is met.

    Raises EdgekitError for a name that was not measured, QualityFailed for a bar that is missed.
    """
    threads = result["threads"]
    found = {row["of"]: cautious(row, threads=threads) for row in result["ratios"]}
    met = []
    for name, least in bars.items():
        if name not in found:
            raise unknown_name("baseline in this measurement", name, found)
        sentence = f"{result['fastest']} is {found[name]:.1f} times as fast as {name}"
        if found[name] < least:
            raise QualityFailed(
                f"{sentence}, less than {least:g}",
                hint="measure again on a quiet machine; if it stays, shrink the student",
            )
        met.append(f"{sentence} (at least {least:g})")
    return met


def latency_entries(result: Mapping[str, Any]) -> tuple[LatencyEntry, ...]:
    """Return what a bundle's manifest says about the speed of its files, from a bench result."""
    return tuple(
        LatencyEntry(
            path=row["name"],
            runtime=row["runtime"],
            host=f"{result['host']['cpu']}, {result['host']['cores']} cores",
            threads=result["threads"],
            calls=row["summary"]["calls"],
            p50_ms=round(row["summary"]["p50_ms"], 4),
            p90_ms=row["summary"]["p90_ms"] and round(row["summary"]["p90_ms"], 4),
            protocol=result["protocol"],
        )
        for row in result["rows"]
        if row["kind"] == "file"
    )


def shown(result: Mapping[str, Any]) -> str:
    """Return the result as aligned text: a line a candidate, then warnings and what was skipped."""
    times = {row["of"]: row for row in result["ratios"]}
    table = [("", "p50 ms", "p90 ms", "CPU ms", "first ms", "load ms", "times fastest", "by CPU")]
    notes = []
    for row in result["rows"]:
        numbers = row["summary"]
        p90 = "-" if numbers["p90_ms"] is None else f"{numbers['p90_ms']:.2f}"
        table.append(
            (
                row["name"],
                f"{numbers['p50_ms']:.2f}",
                p90,
                f"{numbers['cpu_p50_ms']:.2f}",
                f"{row['first_ms']:.1f}",
                f"{row['load_ms']:.0f}",
                _times(times.get(row["name"])),
                f"{times[row['name']]['cpu']:.2f}" if row["name"] in times else "1",
            )
        )
        notes += [f"  {row['name']}: {warning}" for warning in numbers["warnings"]]
    widths = [max(len(row[column]) for row in table) for column in range(8)]
    lines = [
        f"{row[0]:{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in table
    ]
    host = result["host"]
    lines.append(
        f"{host['cpu']}, {result['threads']} thread{'s' if result['threads'] > 1 else ''}, "
        f"{result['calls']} calls in turns, load {result['load_average']['before']}"
    )
    lines += ["warnings:", *notes] if notes else []
    lines += [f"not timed: {row['path']}: {row['reason']}" for row in result["skipped"]]
    return "\n".join(lines)


def _times(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "1"
    if found["wall_low"] is None:
        return f"{found['wall']:.2f}"
    return f"{found['wall']:.2f} ({found['wall_low']:.2f}-{found['wall_high']:.2f})"
