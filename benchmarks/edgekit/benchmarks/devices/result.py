"""What is made of a result beside its JSON: a table, and a comparison with an earlier one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.benchmarks.statistics import interval
from edgekit.core.errors import BadInput, DeviceUnreachable, ParityFailed, QualityFailed
from edgekit.core.store import read_json
from edgekit.runtime.verify import IDENTICAL_DB

PROTOCOLS = ("device-latency-1", "device-latency-1/web", "device-latency-1/coremltools")
COLUMNS = ("", "p50 ms", "p90 ms", "p99 ms", "CPU ms", "first ms", "load ms", "again ms", "MB")


def file_name(device: str) -> str:
    """Return the name of the result file of a device.

    >>> file_name("adb:127.0.0.1:5555")
    'bench-adb-127.0.0.1-5555.json'
    """
    return f"bench-{re.sub(r'[^A-Za-z0-9._]+', '-', device).strip('-')}.json"


def shown(result: Mapping[str, Any]) -> str:
    """Return the result as text: the device, a line a file, then every reason to doubt one."""
    rows = [row for row in result["rows"] if row["summary"] is not None]
    table = [COLUMNS, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    lines = [device_line(result)]
    if rows:
        lines += [
            f"{row[0]:{widths[0]}}  "
            + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
            for row in table
        ]
    for row in result["rows"]:
        lines += [
            f"{row['name']}: {verdict['name']}: {verdict['why']}" for verdict in row["verdicts"]
        ]
        if row["problem"] and row["problem"] != "wrong":
            lines.append(f"{row['name']}: {row['problem']}: {row['reason']} ({row['hint']})")
        elif row["summary"]:
            lines.append(_checked(row))
        if row["strict"] is not None:
            lines.append(_strictly(row))
    lines += [f"note: {note}" for note in result["notes"]]
    lines += [f"not measured: {row['path']}: {row['reason']}" for row in result["skipped"]]
    lines += [comparison_line(row) for row in result.get("comparisons", ())]
    return "\n".join(lines)


def device_line(result: Mapping[str, Any]) -> str:
    """Return what was measured on, in one line; an emulated device is never called a device."""
    device, threads = result["device"], result["threads"]
    kind = "EMULATED, says nothing about a phone: " if device["emulated"] else ""
    parts = [f"{kind}{device['model']}", device["abi"], device["system"]]
    if device["temperature_c"] is not None:
        parts.append(f"{device['temperature_c']:.0f} °C")
    if device["battery_percent"] is not None:
        charging = ", charging" if device["charging"] else ""
        parts.append(f"battery {device['battery_percent']} %{charging}")
    parts.append(f"{threads} thread{'s' if threads > 1 else ''}")
    return "; ".join(part for part in parts if part)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = row["summary"]
    again = sorted(row["loads_ms"][1:])
    return (
        row["name"],
        *(_ms(numbers[key]) for key in ("p50_ms", "p90_ms", "p99_ms")),
        _ms(numbers["cpu_p50_ms"] or numbers.get("cpu_mean_ms")),
        _ms(row["first_ms"]),
        _ms(row["load_ms"]),
        _ms(again[len(again) // 2] if again else None),
        f"{row['peak_mb']:.0f}" if row["peak_mb"] else "-",
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _checked(row: Mapping[str, Any]) -> str:
    numbers = row["summary"]
    first, last = row["temperature_c"]
    heat = "" if first is None or last is None else f", {first:.0f} to {last:.0f} °C"
    return (
        f"{row['name']}: right ({_distance(row)}), "
        f"{numbers['calls']} calls in {row['seconds']:.1f} s, drift {numbers['drift']:.2f}{heat}"
    )


def _distance(row: Mapping[str, Any]) -> str:
    if row["precision"] == "fp32":
        return f"max abs {row['max_abs']:.1e}, the bar is {row['bar']}"
    db = "identical" if row["psnr_db"] >= IDENTICAL_DB else f"{row['psnr_db']:.1f} dB"
    return f"{db}, the bar is {row['bar']}"


def _strictly(row: Mapping[str, Any]) -> str:
    if row["strict"]:
        return f"{row['name']}: NOT VALID: {'; '.join(row['strict'])}"
    return f"{row['name']}: valid, score (p90) {row['summary']['p90_ms']:.3g} ms"


def comparisons(
    result: Mapping[str, Any], earlier: Mapping[str, Any], *, seed: int = 0
) -> list[dict[str, Any]]:
    """Return, for each file of both results, how long it takes now over how long it took then.

    Medians with their 95 % bootstrap interval; files are matched by their path.
    Raises BadInput if one result is of an emulated device and the other is not, or if nothing in
    them can be compared.
    """
    here, there = result["device"], earlier["device"]
    if here["emulated"] != there["emulated"]:
        raise BadInput(
            "one of the two results is of an emulated device: they are never compared",
            hint="measure both on the same device",
        )
    before = {row["name"]: row for row in earlier["rows"] if row["summary"]}
    found = []
    for row in result["rows"]:
        old = before.get(row["name"])
        if old is None or not row["summary"]:
            continue
        low, high = interval(row["wall_ms"], old["wall_ms"], seed=seed)
        cpu_low, cpu_high = None, None
        if result["threads"] == 1 and row["cpu_ms"] and old["cpu_ms"]:
            cpu_low, cpu_high = interval(row["cpu_ms"], old["cpu_ms"], seed=seed)
        same = [key for key in ("model", "abi", "system") if here[key] != there[key]]
        same += [] if row["sha256"] == old["sha256"] else ["file"]
        same += [] if result["threads"] == earlier["threads"] else ["threads"]
        found.append(
            {
                "name": row["name"],
                "ratio": row["summary"]["p50_ms"] / old["summary"]["p50_ms"],
                "low": low,
                "high": high,
                "cpu_low": cpu_low,
                "cpu_high": cpu_high,
                "then_ms": old["summary"]["p50_ms"],
                "now_ms": row["summary"]["p50_ms"],
                "created": earlier["created"],
                "differs": same,
            }
        )
    if not found:
        raise BadInput(
            "the earlier result holds none of these files with a latency",
            hint="name a result of the same bundle",
        )
    return found


def comparison_line(row: Mapping[str, Any]) -> str:
    """Return one comparison as a sentence that claims no more than its intervals.

    With one thread the processor time must say the same as the clock, which other programs on the
    device disturb.
    """
    low, high = row["low"], row["high"]
    word = _difference(low, high)
    by_processor = _difference(row["cpu_low"], row["cpu_high"])
    if row["cpu_low"] is not None and by_processor != word:
        cpu = f"{row['cpu_low']:.3f} to {row['cpu_high']:.3f}"
        word += f" by the clock, but {by_processor} by processor time ({cpu}): measure again"
    span = "" if low is None else f" (95 %: {low:.3f} to {high:.3f})"
    other = f"; other {', '.join(row['differs'])}" if row["differs"] else ""
    return (
        f"against {row['created']}: {row['name']} takes {row['ratio']:.3f} times as long{span}: "
        f"{word}{other}"
    )


def _difference(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "not enough calls to tell"
    return "slower" if low > 1 else "faster" if high < 1 else "no difference"


def read_result(file: Path) -> dict[str, Any]:
    """Read an earlier result; BadInput if it is something else."""
    value = read_json(file)
    if not isinstance(value, dict) or value.get("protocol") not in PROTOCOLS:
        raise BadInput(
            f"{file} is no result of `edgekit bench --device`", hint="name a file that it wrote"
        )
    return value


def check_result(result: Mapping[str, Any]) -> None:
    """Raise the most serious of what went wrong; the result has been written by then.

    ParityFailed for a wrong answer, DeviceUnreachable for a device that was lost or a session that
    failed, QualityFailed for a session that is not valid under --strict.
    """
    rows: Sequence[Mapping[str, Any]] = result["rows"]
    if broken := [row for row in rows if row["problem"] == "interrupted"]:
        raise KeyboardInterrupt
    if broken := [row for row in rows if row["problem"] == "wrong"]:
        raise ParityFailed(
            f"{broken[0]['name']} gives another answer there than the student: "
            f"{broken[0]['reason']}",
            hint="its latency is not shown; try another precision or another runtime",
        )
    if broken := [row for row in rows if row["problem"]]:
        row = broken[0]
        done = len(row["wall_ms"])
        kept = f"; its {done} raw samples are kept" if done else ""
        raise DeviceUnreachable(f"{row['name']}: {row['reason']}{kept}", hint=row["hint"])
    if broken := [row for row in rows if row["strict"]]:
        raise QualityFailed(
            f"{broken[0]['name']} is no valid measurement: {broken[0]['strict'][0]}",
            hint="cool the device and allow more with --budget and --timeout",
        )
