"""What it gains and costs that int8 products are summed in 32 bits on x86 without VNNI.

    edgekit export shipped:restorer --target onnx --out runs/restorer-files
    python benchmarks/onnx_int8_sums.py shipped:restorer=runs/restorer-files \
        --out benchmarks/results/onnx_int8_sums.json

Each int8 file of a bundle is opened as edgekit does and as ONNX Runtime does by itself, the float32
file beside them; all are called in turns, one thread (protocol latency-1). Decibels are those of
the worst held-out sample against the float32 file. Where the processor has VNNI both are the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgekit.benchmarks.compare import PROTOCOL, Candidate, measure
from edgekit.benchmarks.host import host_facts, load_average
from edgekit.cli.shipped import shipped_name, shipped_student
from edgekit.core.onnx_settings import session_settings
from edgekit.core.store import write_json
from edgekit.export.program import heldout_feeds, read_student

SAMPLES = 8
WAYS = {
    "fp32": ("fp32", True),
    "int8, sums as they come": ("int8", False),
    "int8, sums of 32 bits": ("int8", True),
}


def main() -> None:
    """Measure every bundle that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", help="STUDENT=BUNDLE")
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    load = load_average()
    students: dict[str, Any] = {}
    for text in given.bundles:
        student, _, bundle = text.partition("=")
        students |= measured(student, bundle, given.calls)
    value = {
        "protocol": f"{PROTOCOL}/{given.calls} calls/1 thread",
        "host": {**host_facts(), "vnni": "vnni" in Path("/proc/cpuinfo").read_text()},
        "load_average": [load, load_average()],
        "students": students,
    }
    write_json(given.out, value)
    for name, files in students.items():
        for way, row in files.items():
            print(f"| {name} | {way} | {row['worst_db']} | {np.median(row['cpu_ms']):.1f} |")


def measured(student: str, bundle: str, calls: int) -> dict[str, Any]:
    """Return decibels and raw milliseconds of a student's files."""
    shipped = shipped_name(Path(student))
    facts = read_student(Path(student) if shipped is None else shipped_student(shipped))
    feeds = [dict(feed) for feed in heldout_feeds(facts, limit=SAMPLES)]
    name = facts.facts["name"]
    sessions = {
        way: opened(Path(bundle) / "onnx" / f"{name}.{kind}.onnx", exact)
        for way, (kind, exact) in WAYS.items()
    }
    rights = [sessions["fp32"].run(None, feed) for feed in feeds]
    rows: dict[str, dict[str, Any]] = {}
    for way, session in sessions.items():
        worst = min(
            psnr(one, two)
            for feed, right in zip(feeds, rights, strict=True)
            for one, two in zip(right, session.run(None, feed), strict=True)
        )
        rows[way] = {"worst_db": None if worst == np.inf else round(worst, 2)}
    candidates = [Candidate(way, caller(session, feeds[0])) for way, session in sessions.items()]
    for timing in measure(candidates, calls=calls):
        rows[timing.name]["cpu_ms"] = [round(ms, 3) for ms in timing.cpu_ms]
    return {name: rows}


def opened(path: Path, exact: bool) -> onnxruntime.InferenceSession:
    """Return a session with sums of 32 bits, or as they come."""
    return onnxruntime.InferenceSession(
        str(path), session_settings(exact=exact), providers=["CPUExecutionProvider"]
    )


def caller(session: onnxruntime.InferenceSession, feed: Any) -> Callable[[], Callable[[], object]]:
    """Return what gives the call of a session."""
    return lambda: lambda: session.run(None, feed)


def psnr(right: Any, found: Any) -> float:
    """Return decibels below the span of the right values."""
    error = float(np.mean((right.astype(np.float64) - found) ** 2))
    span = float(right.max() - right.min())
    return float(10 * np.log10(span**2 / error)) if error else float("inf")


if __name__ == "__main__":
    main()
