"""The front of latency and quality: measured where it was predicted, written and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from edgekit.distill.architecture.latency import LatencyTable
from edgekit.distill.architecture.space import shape_name
from edgekit.distill.architecture.study import Found, found_of, front
from edgekit.distill.students.shape import Shape, shape_facts


def table_of(facts: Mapping[str, Any], kind: str) -> LatencyTable:
    """Return the measured medians of one kind of file; CPU time, which other work hardly moves."""
    rows = [row for row in facts["rows"] if kind in row["files"]]
    clock = "cpu_p50_ms" if facts["threads"] == 1 else "p50_ms"
    return LatencyTable(
        facts["size_px"],
        {row["name"]: row["files"][kind][clock] for row in rows},
        {row["name"]: Shape(**row["shape"]) for row in rows},
    )


def measured_front(
    result: Mapping[str, Any],
    table: Mapping[str, Any],
    work: Path,
    *,
    calls: int,
    default: Shape,
) -> dict[str, Any]:
    """Return the search's `result` with every setting of its front measured; the front anew.

    All are timed in turns with the `default`, which stands in the table too. The machine may be
    slower or faster today: milliseconds are divided by what the default takes now, and multiplied
    by what it took when the table was made. The raw ones are kept beside.
    """
    from architecture_files import facts_of, generator_of, make_files_apart, timed_files
    from edgekit.cli.common import ConsoleReport

    found = [found_of(row) for row in result["found"]]
    names = [shape_name(row.shape) for row in front(found)]
    shapes = {shape_name(row.shape): row.shape for row in found if shape_name(row.shape) in names}
    shapes.setdefault(shape_name(default), default)
    size_px = result["size_px"]
    facts = [shape_facts(shape) for shape in shapes.values()]
    refused = make_files_apart(work, {"shapes": facts}, size_px)
    networks = [generator_of(shape) for shape in shapes.values()]
    threads = table["threads"]
    timed = timed_files(
        work, networks, size_px, threads=threads, calls=calls, warmup=3, report=ConsoleReport()
    )
    clock = "cpu_p50_ms" if threads == 1 else "p50_ms"
    kind = result["file"]
    then = table_of(table, kind).measured[shape_name(default)]
    now = timed[shape_name(default)][kind][clock]
    told = []
    for row in found:
        files = timed.get(shape_name(row.shape), {})
        if kind in files and not row.measured:
            row = replace(row, ms=round(files[kind][clock] * then / now, 4), measured=True)
        told.append(row)
    rows = [{**facts_of(network, size_px), "files": timed[network.name]} for network in networks]
    return {
        **result,
        "found": [row.facts() for row in told],
        "front": [shape_name(row.shape) for row in front(told)],
        "measured": rows,
        "session_factor": round(then / now, 4),
        "refused": refused,
        "default": shape_name(default),
    }


def reference_table(table: Mapping[str, Any]) -> str:
    """Return what docs/architecture.md says about published generators and ours."""
    kinds = ("onnx.fp32", "onnx.int8", "tflite.fp32", "tflite.int8")
    lines = [
        "| network | GMAC | counted by output | M weights | ORT fp32 | ORT int8 | LiteRT fp32 | "
        "LiteRT int8 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(table["references"]["rows"], key=lambda row: -row["gmac"]):
        times = [
            f"{row['files'][kind]['cpu_p50_ms']:.3g}" if kind in row["files"] else "-"
            for kind in kinds
        ]
        cost = f"{row['gmac']:.2f} | {row['gmac_by_output']:.2f} | {row['parameters'] / 1e6:.2f}"
        lines.append(f"| {row['name']} | {cost} | {' | '.join(times)} |")
    return "\n".join(lines)


def front_text(found: Sequence[Found]) -> str:
    """Return the front as lines, fastest first."""
    lines = [
        f"{row.ms:7.2f} ms {'' if row.measured else '(predicted) '}score {row.score:.4f}  "
        f"{row.terms['psnr_db']:.2f} dB  {shape_name(row.shape)}"
        for row in front(found)
    ]
    pruned = sum(row.pruned for row in found)
    return "\n".join([f"{len(found)} settings trained, {pruned} of them pruned; front:", *lines])


def front_table(result: Mapping[str, Any]) -> str:
    """Return the measured front as Markdown, with the default beside it."""
    rows = [found_of(row) for row in result["found"]]
    shown = [row for row in rows if shape_name(row.shape) in (*result["front"], result["default"])]
    cost = {row["name"]: row for row in result["measured"]}
    lines = ["| setting | ms | GMAC | M weights | score | dB |", "|---|---|---|---|---|---|"]
    for row in sorted(shown, key=lambda row: row.ms):
        name = shape_name(row.shape)
        facts = f"{cost[name]['gmac']:.2f} | {cost[name]['parameters'] / 1e6:.2f}"
        note = " (default)" if name == result["default"] else ""
        if name not in result["front"]:
            note += ", not on the front" if note else ""
        lines.append(
            f"| {name}{note} | {row.ms:.2f} | {facts} | {row.score:.4f} | "
            f"{row.terms['psnr_db']:.2f} |"
        )
    return "\n".join(lines)


def alone_table(result: Mapping[str, Any]) -> str:
    """Return what published generators and ours came to on one concept each, as Markdown."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in result["references"]:
        groups.setdefault(row["name"], []).append(row)
    lines = [
        "| network | GMAC at 256 px | score | L1 | feature distance | dB | s |",
        "|---" * 7 + "|",
    ]
    for name, rows in groups.items():

        def mean(key: str, rows: Sequence[Mapping[str, Any]] = rows) -> float:
            values = [row[key] if key in row else row["terms"][key] for row in rows]
            return float(sum(values) / len(values))

        lines.append(
            f"| {name} | {rows[0]['gmac_256px']:.2f} | {mean('score'):.4f} | {mean('l1'):.4f} | "
            f"{mean('perceptual'):.4f} | {mean('psnr_db'):.2f} | {mean('seconds'):.1f} |"
        )
    return "\n".join(lines)


WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 400, 64, 46, 56, 16
STYLE = """
text{font:13px system-ui,sans-serif;fill:#333}.grid{stroke:#ddd}.line{fill:none;stroke:#0a66c2;
stroke-width:2}.front{fill:#0a66c2}.other{fill:#9ab}.pruned{fill:none;stroke:#9ab}.usual{fill:none;
stroke:#c2410c;stroke-width:2}.title{font-weight:600}
"""


def drawn_front(result: Mapping[str, Any]) -> str:
    """Return an SVG of all trained settings: latency to the right, score upwards is worse."""
    from edgekit.benchmarks.report.charts import nice_ticks

    found = [found_of(row) for row in result["found"]]
    best = front(found)
    across = nice_ticks(0.0, max(row.ms for row in found))
    upward = nice_ticks(min(row.score for row in found), max(row.score for row in found))

    def place(row: Found) -> tuple[float, float]:
        x = (row.ms - across[0]) / (across[-1] - across[0])
        y = (row.score - upward[0]) / (upward[-1] - upward[0])
        return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - TOP)

    parts = [f"<style>{STYLE}</style>", f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for tick in upward:
        _, y = place(replace(found[0], score=tick))
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for tick in across:
        x, _ = place(replace(found[0], ms=tick))
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 26}" text-anchor="middle">{tick:.4g}</text>')
    title = f"Settings of the generator at {result['size_px']} px after a short distillation"
    parts.append(f'<text class="title" x="{LEFT}" y="20">{escape(title)}</text>')
    below = f"ms a picture, {result['file']}, one CPU thread"
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{below}</text>')
    parts.append(
        f'<text x="{LEFT}" y="40">L1 + feature distance, lower is better; blue: the front, hollow: '
        "pruned, ringed: the default</text>"
    )
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(row) for row in best))
    parts.append(f'<polyline class="line" points="{line}"/>')
    names = {shape_name(row.shape) for row in best}
    for row in found:
        x, y = place(row)
        kind = "pruned" if row.pruned else "front" if shape_name(row.shape) in names else "other"
        told = f"{shape_name(row.shape)}: {row.ms:.2f} ms, {row.score:.4f}"
        parts.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"><title>{told}</title>'
            "</circle>"
        )
        if shape_name(row.shape) == result["default"]:
            parts.append(f'<circle class="usual" cx="{x:.1f}" cy="{y:.1f}" r="8"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>\n'
    )
