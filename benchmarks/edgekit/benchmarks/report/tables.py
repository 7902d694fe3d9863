"""The report's numbers as rows of text, each from a file of the run and from nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.benchmarks.report.charts import milliseconds
from edgekit.benchmarks.report.facts import Facts
from edgekit.benchmarks.statistics import cautious
from edgekit.core.manifest import BundleManifest, ModelEntry
from edgekit.runtime.verify import IDENTICAL_DB

METRICS = {
    "l1": ("mean absolute difference, 0 to 1", "lower"),
    "psnr_db": ("PSNR, dB", "higher"),
    "ms_ssim": ("MS-SSIM", "higher"),
    "flip": ("FLIP, 0 to 1", "lower"),
    "perceptual": ("feature distance (EfficientNet-Lite0)", "lower"),
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the few numbers on top of the page."""

    value: str
    label: str
    note: str = ""
    good: bool = True


def megabytes(size: int) -> str:
    """Return a size in MB (10^6 bytes), or kB below a tenth of one.

    >>> megabytes(1_143_920), megabytes(42_100)
    ('1.14 MB', '42 kB')
    """
    return f"{size / 1e6:.2f} MB" if size >= 100_000 else f"{size / 1e3:.0f} kB"


def headline(facts: Facts) -> list[Tile]:
    """Return the tiles that the run's files can fill."""
    tiles = []
    if facts.bundle and facts.bundle.models:
        checked = [entry for entry in facts.bundle.models if entry.parity is not None]
        replaced = sum(stood_in(entry) for entry in checked)
        whole = len(checked) == len(facts.bundle.models)
        tiles.append(
            Tile(
                f"{len(checked)} of {len(facts.bundle.models)}",
                "files compared and within their bar",
                f"{replaced} of them evaluated, not by Core ML" if replaced else "",
                good=whole,
            )
        )
        least = min(facts.bundle.models, key=lambda entry: entry.bytes)
        tiles.append(Tile(megabytes(least.bytes), "smallest file", least.path))
    rows = {row["name"]: row for row in facts.bench.get("rows", [])}
    if fastest := rows.get(facts.bench.get("fastest")):
        tiles.append(
            Tile(
                milliseconds(fastest["summary"]["p50_ms"]),
                f"fastest file here, {_threads(facts.bench)}",
                fastest["name"],
            )
        )
    for found in facts.bench.get("ratios", []):
        if rows.get(found["of"], {}).get("kind") == "baseline":
            times = cautious(found, threads=facts.bench["threads"])
            tiles.append(Tile(_times(times), f"as fast as {found['of']}"))
    quality = facts.student.get("quality", {})
    if quality.get("student", {}).get("psnr_db") is not None:
        untouched = quality.get("source", {}).get("psnr_db")
        tiles.append(
            Tile(
                f"{quality['student']['psnr_db']:.1f} dB",
                "student to teacher, held-out photos",
                f"untouched photo: {untouched:.1f} dB" if untouched is not None else "",
                good=untouched is None or quality["student"]["psnr_db"] > untouched,
            )
        )
    if adapter := facts.student.get("adapter"):
        tiles.append(Tile(megabytes(adapter["bytes"]), "adapter of this concept"))
    return tiles


def _times(number: float) -> str:
    return f"{number:,.0f}x" if number >= 10 else f"{number:.1f}x"


def _threads(bench: Mapping[str, Any]) -> str:
    return f"{bench['threads']} thread{'s' if bench['threads'] > 1 else ''}"


def quality_rows(facts: Facts) -> list[tuple[str, str, str, str]]:
    """Return (metric, student, untouched source, verdict) on held-out pairs."""
    quality = facts.student.get("quality", {})
    student, source = quality.get("student", {}), quality.get("source", {})
    rows = []
    for key, value in student.items():
        if value is None:
            continue
        label, better = METRICS.get(key, (key, ""))
        baseline = source.get(key)
        verdict = ""
        if baseline is not None and better:
            closer = value < baseline if better == "lower" else value > baseline
            verdict = "closer than doing nothing" if closer else "no better than doing nothing"
        shown = "" if baseline is None else f"{baseline:.3f}"
        rows.append(
            (f"{label}{f' ({better} is better)' if better else ''}", f"{value:.3f}", shown, verdict)
        )
    return rows


@dataclass(frozen=True, slots=True)
class FileRow:
    """One shipped file."""

    path: str
    target: str
    precision: str
    size: str
    share: str
    """Of the fp32 file of the same format."""
    worst_db: str
    max_abs: str
    executed: str
    minimum_os: str
    recipe: str


def file_rows(bundle: BundleManifest) -> list[FileRow]:
    """Return a row for each shipped file, as it was checked when it was exported."""
    full = {entry.format: entry.bytes for entry in bundle.models if entry.precision == "fp32"}
    rows = []
    for entry in bundle.models:
        share = f"{entry.bytes / full[entry.format]:.0%}" if full.get(entry.format) else ""
        rows.append(
            FileRow(
                entry.path,
                entry.target,
                entry.precision,
                megabytes(entry.bytes),
                share,
                _worst(entry),
                f"{entry.parity.max_abs:.1e}" if entry.parity else "",
                _executed(entry),
                entry.minimum_os or "",
                entry.recipe,
            )
        )
    return rows


def _executed(entry: ModelEntry) -> str:
    if stood_in(entry):
        return "evaluated, not by its runtime"
    return "yes" if entry.executed else "not on this system"


def stood_in(entry: ModelEntry) -> bool:
    """Tell whether edgekit's own evaluator stood in for the format's runtime at export."""
    return entry.parity is not None and entry.parity.protocol.endswith("/edgekit.mil")


def _worst(entry: ModelEntry) -> str:
    if entry.parity is None:
        return ""
    worst = entry.parity.worst_psnr_db
    return "identical" if worst >= IDENTICAL_DB else f"{worst:.1f} dB"


def latency_rows(bench: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each candidate of the last measurement."""
    ratios = {row["of"]: row for row in bench.get("ratios", [])}
    rows = []
    for row in bench.get("rows", []):
        numbers, found = row["summary"], ratios.get(row["name"])
        times = "1 (the fastest)"
        if found is not None:
            times = _times(found["wall"])
            if found["wall_low"] is not None:
                times += f" ({found['wall_low']:,.1f} to {found['wall_high']:,.1f})"
        rows.append(
            {
                "name": row["name"],
                "kind": row.get("kind", "file"),
                "p50": milliseconds(numbers["p50_ms"]),
                "p90": "" if numbers["p90_ms"] is None else milliseconds(numbers["p90_ms"]),
                "cpu": milliseconds(numbers["cpu_p50_ms"]),
                "first": milliseconds(row["first_ms"]),
                "load": milliseconds(row["load_ms"]),
                "calls": numbers["calls"],
                "times": times,
                "times_cpu": _times(found["cpu"]) if found else "1",
                "warnings": "; ".join(numbers["warnings"]),
                "value": numbers["p50_ms"],
            }
        )
    return rows


def placement_rows(bundle: BundleManifest) -> list[tuple[str, int, str]]:
    """Return (file, operators, histogram in words, most frequent first)."""
    rows = []
    for entry in bundle.models:
        counts = sorted(entry.placement.items(), key=lambda item: (-item[1], item[0]))
        words = ", ".join(f"{name} {count}" for name, count in counts)
        rows.append((entry.path, sum(entry.placement.values()), words))
    return rows


def origin_rows(facts: Facts) -> list[tuple[str, str]]:
    """Return where everything came from: (what, value)."""
    student, bundle = facts.student, facts.bundle
    rows: list[tuple[str, Any]] = [("concept", facts.prompt)]
    teacher = student.get("teacher") or (bundle.student.teacher if bundle else None)
    rows += [
        ("teacher", teacher),
        ("recipe sha256", student.get("recipe_sha256")),
        ("seed", student.get("seed")),
        ("size", f"{student['size_px']} px" if "size_px" in student else None),
        ("parameters", f"{student['parameters']:,}" if "parameters" in student else None),
        ("cost of one picture", f"{student['gmac']:.2f} GMAC" if "gmac" in student else None),
        ("base sha256", student.get("base_sha256")),
    ]
    if adapter := student.get("adapter"):
        rows.append(
            (
                "adapter",
                f"{adapter['bytes']:,} bytes, ranks {_ranks(adapter.get('ranks', {}))}, "
                f"{adapter.get('trainable', 0):,} trained numbers, sha256 {adapter['sha256']}",
            )
        )
    if search := student.get("search"):
        cost = (
            f"{search['seconds']:.0f} s, {search['trials']} trials, {search['pruned']} ended early"
        )
        rows.append(("search of ranks", f"{cost}, not in the training time"))
    rows.append(("training", _training(student)))
    for path, entry in student.get("files", {}).items():
        rows.append((path, f"{entry['bytes']:,} bytes, sha256 {entry['sha256']}"))
    for entry in bundle.models if bundle else ():
        rows.append((entry.path, f"{entry.bytes:,} bytes, sha256 {entry.sha256}"))
    licences = student.get("licences") or (bundle.licences if bundle else {})
    rows += [(f"licence of {what}", licence) for what, licence in licences.items()]
    tools = dict(student.get("tools", {}))
    for entry in bundle.models if bundle else ():
        tools |= entry.tools
    rows.append(
        ("tools", ", ".join(f"{name} {version}" for name, version in sorted(tools.items())))
    )
    return [(what, str(value)) for what, value in rows if value not in (None, "", "None")]


def _training(student: Mapping[str, Any]) -> str:
    if "seconds" not in student:
        return ""
    host = student.get("host", {})
    parts = [f"{student['seconds']:.0f} s"]
    parts += [str(host[key]) for key in ("processor", "gpu", "system") if host.get(key)]
    return ", ".join(parts)


def _ranks(ranks: Mapping[str, int]) -> str:
    """Return the ranks of the groups, in the network's order."""
    return ", ".join(f"{group} {rank}" for group, rank in ranks.items())
