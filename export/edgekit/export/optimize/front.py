"""The measured candidates: which are on the front, which is chosen under the limits, and a picture.

A candidate is on the front if no other is at least as small, as exact and as fast, and better in
one of the three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from edgekit.export.optimize.judge import Measured
from edgekit.export.optimize.plan import Plan

SEEN_DB = 50.0
"""Up to here a difference may be seen (half a gray level); above it decibels count little."""
HALVING_DB, INVISIBLE_DB = 10.0, 40.0
"""Decibels that count as much as half the bytes, below and above `SEEN_DB`."""
TIME_WEIGHT = 3.0
"""Half the time counts as much as an eighth of the bytes: what runs live is bound by time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate that was measured, or the reason why it could not be."""

    number: int
    plan: Plan
    words: str
    measured: Measured | None
    seconds: float
    problem: str = ""

    @property
    def works(self) -> bool:
        """Whether the file was made and executed."""
        return self.measured is not None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user asked for; None for no limit."""

    min_db: float = 40.0
    max_bytes: int | None = None
    max_ms: float | None = None

    def missed(self, found: Measured) -> list[str]:
        """Return the limits that `found` misses, in words."""
        words = []
        if found.worst_db < self.min_db:
            words.append(f"{found.worst_db:.2f} dB on the worst picture, below {self.min_db:g}")
        if self.max_bytes is not None and found.bytes > self.max_bytes:
            words.append(f"{found.bytes:,} bytes, above {self.max_bytes:,}")
        if self.max_ms is not None and found.ms is not None and found.ms > self.max_ms:
            words.append(f"{found.ms:.2f} ms, above {self.max_ms:g}")
        return words

    def distance(self, found: Measured) -> float:
        """Return how far `found` is from the limits: 0 if it keeps them all."""
        away = max(0.0, self.min_db - found.worst_db) / HALVING_DB
        if self.max_bytes:
            away += max(0.0, math.log2(max(found.bytes, 1) / self.max_bytes))
        if self.max_ms and found.ms:
            away += max(0.0, math.log2(found.ms / self.max_ms))
        return away


def score(size_bytes: float, db: float, speed: float, *, float_bytes: float) -> float:
    """Return how good a candidate is: halvings of bytes, halvings of time, and decibels.

    >>> eighth = score(12.5, 60, 1.0, float_bytes=100)
    >>> fast = score(100, 60, 2.0, float_bytes=100)
    >>> eighth == fast
    True
    """
    smaller = math.log2(float_bytes / max(size_bytes, 1))
    faster = TIME_WEIGHT * math.log2(max(speed, 1e-6))
    exact = min(db, SEEN_DB) / HALVING_DB + max(0.0, min(db, 150.0) - SEEN_DB) / INVISIBLE_DB
    return smaller + faster + exact


def row_score(row: Row, float_bytes: float) -> float:
    """Return the score of a measured row."""
    assert row.measured is not None
    found = row.measured
    return score(found.bytes, found.db, found.speed, float_bytes=float_bytes)


def front(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that no other beats, smallest first."""
    works = [row for row in rows if row.measured is not None]
    best = [row for row in works if not any(_beats(other, row) for other in works)]
    return sorted(best, key=lambda row: (row.measured.bytes, -row.measured.db))  # type: ignore[union-attr]


def _beats(one: Row, two: Row) -> bool:
    a, b = _axes(one), _axes(two)
    return all(x <= y for x, y in zip(a, b, strict=True)) and (a != b or one.number < two.number)


def _axes(row: Row) -> tuple[float, float, float]:
    assert row.measured is not None
    # A tenth in time is noise on a shared machine: two speeds count as equal within it.
    return row.measured.bytes, -row.measured.db, -round(math.log(row.measured.speed) / 0.1)


def chosen(rows: Sequence[Row], limits: Limits) -> Row | None:
    """Return the row with the best score of those that keep the limits; None if none does."""
    reduced = [row for row in rows if row.measured is not None and row.plan.back_end != "fp32"]
    fitting = [row for row in reduced if not limits.missed(row.measured)]  # type: ignore[arg-type]
    if not fitting:
        return None
    return max(fitting, key=lambda row: row_score(row, _float_bytes(rows)))


def leading(rows: Sequence[Row], limits: Limits, count: int) -> list[Row]:
    """Return the best rows by score, those that keep the limits first."""
    works = [row for row in rows if row.measured is not None and row.plan.back_end != "fp32"]
    works.sort(
        key=lambda row: (
            limits.distance(row.measured) > 0,  # type: ignore[arg-type]
            -row_score(row, _float_bytes(rows)),
        )
    )
    return works[:count]


def nearest(rows: Sequence[Row], limits: Limits) -> Row | None:
    """Return the row that is nearest to the limits, None if none was measured."""
    works = [row for row in rows if row.measured is not None]
    return min(works, key=lambda row: limits.distance(row.measured), default=None)  # type: ignore[arg-type]


def _float_bytes(rows: Sequence[Row]) -> float:
    return float(max(row.measured.bytes for row in rows if row.measured is not None))


def warnings_about(row: Row, rows: Sequence[Row]) -> list[str]:
    """Say where the chosen file is larger or slower than the float files beside it."""
    assert row.measured is not None
    mine, words = row.measured, []
    for name, title in (("fp16", "float16"), ("fp32", "float32")):
        other = next((x for x in rows if x.plan.back_end == name and x.measured), None)
        if other is None or other.measured is None or other is row:
            continue
        if mine.bytes >= other.measured.bytes:
            share = mine.bytes / other.measured.bytes
            words.append(f"it is {share:.2f} times as large as the {title} file")
        if mine.ms and mine.speed < other.measured.speed / 1.05:
            share = other.measured.speed / mine.speed
            words.append(f"it is {share:.2f} times slower than the {title} file here")
    return words


WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 40, 56


def picture(rows: Sequence[Row], best: Row | None, limits: Limits, title: str) -> str:
    """Draw bytes against decibels as an SVG; colour is speed, the front is a line."""
    works = [row for row in rows if row.measured is not None and row.plan.back_end != "fp32"]
    if not works:
        return ""
    sizes = [row.measured.bytes / 1000 for row in works]  # type: ignore[union-attr]
    levels = [min(row.measured.db, 110.0) for row in works]  # type: ignore[union-attr]
    low_x, high_x = min(sizes) * 0.95, max(sizes) * 1.05
    low_y = max(0.0, 5 * math.floor(min(*levels, limits.min_db) / 5))
    high_y = 5 * math.ceil((max(*levels, limits.min_db) + 1) / 5)

    def place(row: Row) -> tuple[float, float]:
        assert row.measured is not None
        x = math.log(row.measured.bytes / 1000 / low_x) / math.log(high_x / low_x)
        y = (min(row.measured.db, 110.0) - low_y) / (high_y - low_y)
        return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="14" fill="#222">{escape(title)}</text>',
    ]
    parts += _axes_lines(low_x, high_x, low_y, high_y)
    y = HEIGHT - BOTTOM - (limits.min_db - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)
    parts.append(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#c33" '
        f'stroke-dasharray="5 4"/><text x="{WIDTH - RIGHT}" y="{y - 4:.1f}" fill="#c33" '
        f'text-anchor="end">bar {limits.min_db:g} dB</text>'
    )
    line = " ".join("{:.1f},{:.1f}".format(*place(row)) for row in _upper(works))
    parts.append(f'<polyline points="{line}" fill="none" stroke="#888" stroke-width="1.5"/>')
    for row in works:
        parts.append(_dot(row, place(row), best is not None and row.number == best.number))
    if best is not None:
        x, y = place(best)
        anchor = "end" if x > WIDTH * 0.7 else "start"
        parts.append(
            f'<text x="{x + (-10 if anchor == "end" else 10):.1f}" y="{y + 22:.1f}" fill="#111" '
            f'font-weight="bold" stroke="#fff" stroke-width="4" paint-order="stroke" '
            f'text-anchor="{anchor}">chosen</text>'
        )
    return "\n".join([*parts, _legend(works), "</svg>"]) + "\n"


def _upper(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that are not beaten in bytes and decibels alone."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.measured.bytes, -row.measured.db)):  # type: ignore[union-attr]
        if not kept or row.measured.db > kept[-1].measured.db:  # type: ignore[union-attr]
            kept.append(row)
    return kept


def _axes_lines(low_x: float, high_x: float, low_y: float, high_y: float) -> list[str]:
    parts = []
    step = 10 if high_y - low_y > 40 else 5
    level = math.ceil(low_y / step) * step
    while level <= high_y:
        y = HEIGHT - BOTTOM - (level - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" fill="#555" text-anchor="end">{level:g}</text>'
        )
        level += step
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = low_x * (high_x / low_x) ** share
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        anchor = "end" if share == 1 else "middle"
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" fill="#555" text-anchor="{anchor}">'
            f"{value:.0f}</text>"
        )
    middle, height = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 18}" fill="#333" text-anchor="middle">file, kB</text>'
        f'<text x="16" y="{height}" fill="#333" text-anchor="middle" '
        f'transform="rotate(-90 16 {height})">dB against the student</text>'
    )
    return parts


_COLOURS = ((2.5, "#0b6e4f", "2.5x faster"), (1.4, "#3fa34d", "1.4x faster"),
            (0.9, "#4f7cac", "like float32"), (0.0, "#b5651d", "slower"))  # fmt: skip


def _colour(row: Row) -> str:
    assert row.measured is not None
    return next(colour for least, colour, _ in _COLOURS if row.measured.speed >= least)


def _dot(row: Row, place: tuple[float, float], best: bool) -> str:
    assert row.measured is not None
    found, (x, y) = row.measured, place
    about = f"{row.plan.back_end} {row.plan.key}: {found.bytes / 1000:.0f} kB, {found.db:.1f} dB"
    if found.ms is not None:
        about += f", {found.ms:.2f} ms, {found.speed:.2f} times float32"
    whole = row.plan.back_end != "layers"
    shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{7 if best else 4.5}"'
    if whole:
        shape = f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"'
    edge = ' stroke="#111" stroke-width="2"' if best else ' stroke="#fff"'
    end = "rect" if whole else "circle"
    return f'{shape} fill="{_colour(row)}"{edge}><title>{escape(about)}</title></{end}>'


def _legend(rows: Sequence[Row]) -> str:
    timed = any(row.measured is not None and row.measured.ms is not None for row in rows)
    entries = [("#666", "square: one tool's recipe; dot: by layer")]
    if timed:
        entries += [(colour, text) for _, colour, text in _COLOURS]
    parts, x = [], float(LEFT)
    for colour, text in entries:
        parts.append(
            f'<rect x="{x}" y="{HEIGHT - 10}" width="8" height="8" fill="{colour}"/>'
            f'<text x="{x + 12}" y="{HEIGHT - 2}" font-size="11" fill="#333">{escape(text)}</text>'
        )
        x += 24 + 5.6 * len(text)
    return "".join(parts)


def as_json(row: Row) -> dict[str, Any]:
    """Return a row as the front's file has it."""
    return {
        "number": row.number,
        "key": row.plan.key,
        "back_end": row.plan.back_end,
        "layers": dict(row.plan.layers),
        "options": dict(row.plan.options),
        "words": row.words,
        "measured": row.measured.values() if row.measured else None,
        "seconds": round(row.seconds, 2),
        "problem": row.problem,
    }


def from_json(value: dict[str, Any]) -> Row:
    """Undo `as_json`."""
    found = value["measured"]
    if found is not None:
        found = Measured(**{name: found[name] for name in Measured.__dataclass_fields__})
    return Row(
        value["number"],
        Plan(value["back_end"], value["layers"], value["options"]),
        value["words"],
        found,
        value["seconds"],
        value["problem"],
    )
