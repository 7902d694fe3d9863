"""The table and the plot of docs/benchmarks.md, made of what `runtimes.py` measured.

python benchmarks/runtimes_tables.py            # prints the table, writes docs/images/runtimes.svg
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from edgekit.core.store import write_bytes
from runtimes_rows import E2GAN, FILES, NARROW_TORCH, OURS, OUT, PIX2PIX, TEACHER, TORCH, read

PLOT = Path(__file__).resolve().parents[1] / "docs" / "images" / "runtimes.svg"
NETWORKS = (OURS, E2GAN, PIX2PIX, TEACHER)
COLOURS = {OURS: "#0b5cad", E2GAN: "#3d7d57", PIX2PIX: "#b9770e", TEACHER: "#8a3b5c"}
ROWS = [
    (TORCH, "fp32"),
    *((runtime, kind.split(".")[1]) for runtime, kinds in FILES.items() for kind in kinds),
    (NARROW_TORCH, "fp32"),
]
WIDTH, LEFT, RIGHT, TOP, BAR, GAP = 880, 250, 70, 64, 9, 8


def medians(lines: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], float]:
    """Return (network, runtime, precision) -> median processor milliseconds of the rounds."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for line in lines[1:]:
        for row in line["rows"]:
            key = (row["network"], row["runtime"], row["precision"])
            found.setdefault(key, []).append(row["cpu_ms"])
    return {key: statistics.median(values) for key, values in found.items()}


def ratio(lines: Sequence[Mapping[str, Any]], one: Any, two: Any) -> float:
    """Return the median over the rounds of one's processor time over two's in the same round."""
    quotients = []
    for line in lines[1:]:
        rows = {(r["network"], r["runtime"], r["precision"]): r["cpu_ms"] for r in line["rows"]}
        if one in rows and two in rows:
            quotients.append(rows[one] / rows[two])
    return float(statistics.median(quotients))


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of medians, and how many times longer the others take than ours."""
    found = medians(lines)
    head = "| runtime | " + " | ".join(NETWORKS) + " |"
    rows = [head, "|---" * (len(NETWORKS) + 1) + "|"]
    for runtime, precision in ROWS:
        cells = []
        for network in NETWORKS:
            ms = found.get((network, runtime, precision))
            if ms is None:
                cells.append("–")
            elif network == OURS or (OURS, runtime, precision) not in found:
                cells.append(number(ms))
            else:
                times = ratio(lines, (network, runtime, precision), (OURS, runtime, precision))
                cells.append(f"{number(ms)} ({times:.0f})")
        rows.append(f"| {runtime}, {precision} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def browser_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return how many times longer the browser takes than the same file outside it."""
    pairs = (
        ("LiteRT.js / LiteRT, fp32", "browser, LiteRT.js", "LiteRT", "fp32"),
        ("LiteRT.js / LiteRT, int8", "browser, LiteRT.js", "LiteRT", "int8"),
        ("ORT Web / ORT, fp32", "browser, ONNX Runtime Web", "ONNX Runtime", "fp32"),
        ("ORT Web / ORT, int8", "browser, ONNX Runtime Web", "ONNX Runtime", "int8"),
        ("PyTorch with 128-bit vectors / PyTorch, fp32", NARROW_TORCH, TORCH, "fp32"),
    )
    found = medians(lines)
    rows = [f"| | {OURS} | {E2GAN} | {PIX2PIX} |", "|---|---|---|---|"]
    for words, one, two, precision in pairs:
        cells = []
        for network in (OURS, E2GAN, PIX2PIX):
            keys = (network, one, precision), (network, two, precision)
            both = all(key in found for key in keys)
            cells.append(f"{ratio(lines, *keys):.2f}" if both else "–")
        rows.append(f"| {words} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def number(ms: float) -> str:
    """Return milliseconds with three digits.

    >>> number(1273.4), number(45.67)
    ('1270', '45.7')
    """
    return f"{float(f'{ms:.3g}'):g}"


def plot(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return an SVG of bars on a logarithmic axis, a group a runtime."""
    found = medians(lines)
    groups = [row for row in ROWS if any((n, *row) in found for n in NETWORKS)]
    most = math.ceil(math.log10(max(found.values())))
    least = math.floor(math.log10(min(found.values())))
    sizes = [sum((n, *row) in found for n in NETWORKS) * BAR + GAP for row in groups]
    height = TOP + sum(sizes) + 34

    def x(ms: float) -> float:
        return LEFT + (math.log10(ms) - least) / (most - least) * (WIDTH - LEFT - RIGHT)

    parts = [f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>']
    title = f"Processor milliseconds of one {lines[0]['size_px']} px picture, one thread"
    parts.append(f'<text class="title" x="12" y="22">{title}</text>')
    for index, name in enumerate(NETWORKS):
        at = 12 + index * 190
        parts.append(f'<rect x="{at}" y="36" width="12" height="12" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{at + 18}" y="46">{escape(name)}</text>')
    for power in range(least, most + 1):
        tick = f"{x(10.0**power):.1f}"
        parts.append(
            f'<line class="grid" x1="{tick}" x2="{tick}" y1="{TOP - 6}" y2="{height - 28}"/>'
        )
        parts.append(
            f'<text x="{tick}" y="{height - 12}" text-anchor="middle">{10**power:g} ms</text>'
        )
    y = float(TOP)
    for (runtime, precision), size in zip(groups, sizes, strict=True):
        label = escape(f"{runtime}, {precision}")
        middle = y + (size - GAP) / 2 + 4
        parts.append(f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{label}</text>')
        for name in NETWORKS:
            ms = found.get((name, runtime, precision))
            if ms is None:
                continue
            wide = x(ms) - LEFT
            parts.append(
                f'<rect x="{LEFT}" y="{y:.1f}" width="{wide:.1f}" height="{BAR - 1}" '
                f'fill="{COLOURS[name]}"><title>{escape(name)}, {label}: {number(ms)} ms</title>'
                "</rect>"
            )
            parts.append(
                f'<text class="value" x="{x(ms) + 4:.1f}" y="{y + BAR - 1.5:.1f}">{number(ms)}'
                "</text>"
            )
            y += BAR
        y += GAP
    style = (
        "text{font:13px system-ui,sans-serif;fill:#1b1f24}.title{font-weight:600;font-size:15px}"
        ".value{font-size:10px}.grid{stroke:#d5d3ce}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{title}"><style>{style}</style>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    measured = read(OUT)
    write_bytes(PLOT, plot(measured).encode())
    print(table(measured), browser_table(measured), sep="\n\n")
