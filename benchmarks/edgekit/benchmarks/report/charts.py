"""Small charts as inline SVG: no script, colours from the page's style, numbers as text too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 340, 170
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 26


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart and the sentence that says what it shows."""

    title: str
    svg: str
    summary: str


def curve_charts(rows: Sequence[Mapping[str, float]]) -> list[Chart]:
    """Return a line chart for each term of a training log, training and validation together.

    ``val_l1`` (or ``val/l1``) is drawn beside ``l1``; step, seconds and lr are no terms.
    """
    names: dict[str, None] = {}
    for row in rows:
        names |= {_term(key): None for key in row if key not in ("step", "seconds", "lr", "epoch")}
    charts = []
    for name in names:
        series = {}
        for label, keys in (
            ("training", (name,)),
            ("validation", (f"val_{name}", f"val/{name}", f"val.{name}")),
        ):
            points = [
                (row.get("step", float(index)), row[key])
                for index, row in enumerate(rows)
                for key in keys
                if key in row and math.isfinite(row[key])
            ]
            if points:
                series[label] = points
        if any(len(points) > 1 for points in series.values()):
            charts.append(line_chart(name, series))
    return charts


def _term(key: str) -> str:
    return key[4:] if key.startswith(("val_", "val/", "val.")) else key


def line_chart(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> Chart:
    """Draw each series of (x, y) points as a line; at least one must hold a point."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    low_x, high_x = min(xs), max(xs)
    ticks = nice_ticks(min(ys), max(ys))
    low_y, high_y = min(ticks[0], min(ys)), max(ticks[-1], max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - low_x) / (high_x - low_x or 1.0)
        up = (y - low_y) / (high_y - low_y or 1.0)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    parts = []
    for tick in ticks:
        _, y = place(low_x, tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for x in (low_x, high_x):
        at, _ = place(x, low_y)
        anchor = "start" if x == low_x else "end"
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{x:.6g}</text>')
    for label, points in series.items():
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline class="line {escape(label)}" points="{line}"/>')
    told = "; ".join(
        f"{label} from {points[0][1]:.4g} to {points[-1][1]:.4g}"
        for label, points in series.items()
    )
    summary = f"{title} over {high_x:.6g} steps: {told}"
    return Chart(title, svg(WIDTH, HEIGHT, parts, summary), told)


def bar_chart(rows: Sequence[tuple[str, float, str]], *, title: str) -> Chart:
    """Draw one horizontal bar a row of (name, value above 0, class), on a logarithmic axis."""
    values = [value for _, value, _ in rows]
    low = 10.0 ** math.floor(math.log10(min(values)) - 0.01)
    high = 10.0 ** math.ceil(math.log10(max(values)) + 0.01)
    width, step, left, right = 720, 26, 210, 90
    height = step * len(rows) + 24
    scale = (width - left - right) / (math.log10(high) - math.log10(low))
    parts = []
    decade = low
    while decade <= high * 1.001:
        x = left + (math.log10(decade) - math.log10(low)) * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{decade:g} ms</text>'
        )
        decade *= 10
    for index, (name, value, kind) in enumerate(rows):
        y = index * step + 3
        length = max((math.log10(value) - math.log10(low)) * scale, 1.0)
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect class="bar {escape(kind)}" x="{left}" y="{y}" width="{length:.1f}" '
            f'height="{step - 6}" rx="3"/>'
        )
        parts.append(f'<text x="{left + length + 6:.1f}" y="{y + 15}">{milliseconds(value)}</text>')
    told = "; ".join(f"{name} {milliseconds(value)}" for name, value, _ in rows)
    return Chart(title, svg(width, height, parts, f"{title}: {told}"), told)


def milliseconds(value: float) -> str:
    """Return a time with three figures and the unit that suits it.

    >>> milliseconds(5.333), milliseconds(312.4), milliseconds(201_000)
    ('5.33 ms', '312 ms', '201 s')
    """
    if value >= 10_000:
        return f"{value / 1000:.0f} s"
    return f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"


def nice_ticks(low: float, high: float, *, count: int = 4) -> list[float]:
    """Return about `count` round numbers from at or below `low` to at or above `high`.

    >>> nice_ticks(0.13, 0.92)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = (high - low) or abs(high) or 1.0
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return [round(index * step, 12) for index in range(first, last + 1)]


def svg(width: int, height: int, parts: Sequence[str], summary: str) -> str:
    """Return a picture that says to those who cannot see it what it shows."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(summary)}">'
        f"{''.join(parts)}</svg>"
    )
