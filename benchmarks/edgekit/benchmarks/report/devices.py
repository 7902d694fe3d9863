"""The report's tables of measurements on devices: one table a device, so that none is mixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.benchmarks.devices.result import PROTOCOLS, comparison_line, device_line
from edgekit.benchmarks.report.charts import milliseconds
from edgekit.core.store import read_json


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """One result file of ``edgekit bench --device``."""

    title: str
    device: str
    emulated: bool
    created: str
    protocol: str
    rows: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]


def device_tables(run: Path) -> list[DeviceTable]:
    """Return a table for each result that the run folder holds, real devices first."""
    found = []
    for file in sorted(run.glob("bench-*.json")):
        value = read_json(file)
        if isinstance(value, dict) and value.get("protocol") in PROTOCOLS:
            found.append(_table(value))
    return sorted(found, key=lambda table: table.emulated)


def _table(result: Mapping[str, Any]) -> DeviceTable:
    skipped = (f"{row['path']}: {row['reason']}" for row in result["skipped"])
    compared = (comparison_line(row) for row in result.get("comparisons", ()))
    return DeviceTable(
        result["device"]["name"],
        device_line(result),
        result["device"]["emulated"],
        result["created"],
        result["protocol"],
        tuple(_row(row) for row in result["rows"]),
        (*result["notes"], *skipped, *compared),
    )


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    numbers = row["summary"] or {}
    again = sorted(row["loads_ms"][1:])
    doubts = [f"{told['name']}: {told['why']}" for told in row["verdicts"]]
    if row["problem"] and row["problem"] != "wrong":
        doubts.append(f"{row['problem']}: {row['reason']}")
    doubts += row["strict"] or []
    return {
        "name": row["name"],
        "p50": _ms(numbers.get("p50_ms")),
        "p90": _ms(numbers.get("p90_ms")),
        "p99": _ms(numbers.get("p99_ms")),
        "cpu": _ms(numbers.get("cpu_p50_ms") or numbers.get("cpu_mean_ms")),
        "first": _ms(row["first_ms"]),
        "load": _ms(row["load_ms"]),
        "again": _ms(again[len(again) // 2] if again else None),
        "memory": f"{row['peak_mb']:.0f} MB" if row["peak_mb"] else "",
        "calls": numbers.get("calls", ""),
        "distance": "" if row["max_abs"] is None else f"{row['max_abs']:.1e}",
        "doubts": "; ".join(doubts),
    }


def _ms(value: float | None) -> str:
    return "" if value is None else milliseconds(value)
