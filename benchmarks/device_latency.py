"""Does the harness measure what the runtimes cost? Its C runner and the bindings, in turns.

python benchmarks/device_latency.py --bundle BUNDLE --browser --out device_latency.json

Each round measures every file once in this process (`edgekit bench`) and once by the runner
(`edgekit bench --device local`); with `--browser` the files also run in Chromium. What is compared
is processor time, because rounds of a busy machine differ in wall time.
"""

from __future__ import annotations

import argparse
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgekit.benchmarks.bench import bench_bundle
from edgekit.benchmarks.devices.kits import kit_for_device
from edgekit.benchmarks.devices.local import Local
from edgekit.benchmarks.devices.measure import bench_device
from edgekit.benchmarks.devices.plan import Plan
from edgekit.benchmarks.devices.preflight import Limits
from edgekit.benchmarks.devices.web import bench_web
from edgekit.benchmarks.host import host_facts, load_average
from edgekit.core.store import write_json

RUNNABLE = ("onnx", "tflite")


def measured(bundle: Path, *, rounds: int, calls: int, in_browser: bool) -> dict[str, Any]:
    """Return the samples of every round and, a file, the runner's and the browser's ratio."""
    plan = Plan(calls=calls, warmup=3, loads=2)
    kept: list[dict[str, Any]] = []
    for number in range(rounds):
        ways: dict[str, Any] = {}
        order = ["python", "runner"] if number % 2 == 0 else ["runner", "python"]
        for way in order:
            if way == "python":
                ways[way] = bench_bundle(bundle, calls=calls, warmup=3)["rows"]
            else:
                device = bench_device(
                    bundle,
                    Local(),
                    kit_for_device,
                    plan=plan,
                    limits=Limits(),
                    entries=lambda entry: entry.format in RUNNABLE,
                )
                ways[way] = device["rows"]
        if in_browser:
            found = bench_web(bundle, "chromium", plan=plan, wanted=lambda entry: True)
            ways["browser"] = found["rows"]
        kept.append({way: [_samples(row) for row in rows] for way, rows in ways.items()})
    return {
        "protocol": "device-harness-1",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": host_facts(),
        "load_average": load_average(),
        "calls": calls,
        "rounds": kept,
        "files": _table(kept),
    }


def _samples(row: dict[str, Any]) -> dict[str, Any]:
    mean = (row["summary"] or {}).get("cpu_mean_ms")
    return {
        "name": row["name"],
        "wall_ms": [round(value, 4) for value in row["wall_ms"]],
        "cpu_ms": [round(value, 4) for value in row["cpu_ms"]],
        "cpu_ms_a_call": mean if mean is not None else statistics.median(row["cpu_ms"]),
        "first_ms": row["first_ms"],
        "load_ms": row["load_ms"],
        "peak_mb": row.get("peak_mb"),
        "max_abs": row["max_abs"],
    }


def _table(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for name in [row["name"] for row in rounds[0]["runner"]]:
        times = {
            way: [next(r for r in turn[way] if r["name"] == name) for turn in rounds]
            for way in rounds[0]
        }
        cpu = {way: statistics.median(r["cpu_ms_a_call"] for r in of) for way, of in times.items()}
        ratios = [
            one["cpu_ms_a_call"] / two["cpu_ms_a_call"]
            for one, two in zip(times["runner"], times["python"], strict=True)
        ]
        rows.append(
            {
                "name": name,
                "cpu_ms": cpu,
                "runner_over_python": statistics.median(ratios),
                "runner_over_python_rounds": ratios,
                "browser_over_runner": cpu["browser"] / cpu["runner"] if "browser" in cpu else None,
                "load_ms": {
                    way: statistics.median(r["load_ms"] for r in times[way]) for way in cpu
                },
            }
        )
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--browser", action="store_true")
    asked = parser.parse_args()
    found = measured(asked.bundle, rounds=asked.rounds, calls=asked.calls, in_browser=asked.browser)
    write_json(asked.out, found)
    for row in found["files"]:
        times = ", ".join(f"{way} {ms:.1f} ms" for way, ms in row["cpu_ms"].items())
        print(f"{row['name']}: {times}; runner / python {row['runner_over_python']:.3f}")


if __name__ == "__main__":
    main()
