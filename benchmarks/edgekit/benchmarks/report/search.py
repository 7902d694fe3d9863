"""The search of ranks on the page: distance against bytes, their front, and every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from edgekit.benchmarks.report.charts import Chart, nice_ticks, svg

WIDTH, HEIGHT = 900, 330
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 18, 46
STATES = {"complete": "trained to its end", "pruned": "ended early", "stopped": "out of time"}


def search_section(search: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page says about a search: sentences, the chart and rows of the table."""
    trials = search["trials"]
    rows = [_row(trial, search) for trial in sorted(trials, key=lambda trial: trial["number"])]
    best = next((trial for trial in trials if trial["number"] == search["best"]), None)
    return {
        "mode": MODES.get(search["settings"]["mode"], search["settings"]["mode"]),
        "cost": _cost(search),
        "choice": "" if best is None else _choice(best, search),
        "pairs": search["validation_pairs"],
        "protocol": search["protocol"],
        "chart": front_chart(search) if best is not None else None,
        "rows": rows,
    }


MODES = {
    "tpe": "optuna proposed ranks for all groups at once",
    "greedy": "ranks were doubled, all together and each alone, while that paid",
}


def front_chart(search: Mapping[str, Any]) -> Chart:
    """Draw each trial's distance to the teacher over its bytes, their front and the choice.

    `search` is what ``search.json`` holds; at least one of its trials must be complete.
    """
    trials: Sequence[Mapping[str, Any]] = search["trials"]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    front = [_numbered(trials, number) for number in search["front"]]
    best = _numbered(trials, search["best"])
    # Trials that ended early are worse because they are younger: those far up would only flatten
    # the rest, so the axis follows the complete ones and the others are drawn where they fit.
    highest = max(trial["distance"] for trial in complete)
    lowest = min(trial["distance"] for trial in complete)
    reach = highest + 0.6 * (highest - lowest)
    shown = [trial for trial in trials if trial["distance"] <= reach] or list(trials)
    kilobytes = [trial["bytes"] / 1000 for trial in shown]
    across = nice_ticks(min(kilobytes), max(kilobytes), count=6)
    up = nice_ticks(lowest, max(trial["distance"] for trial in shown))
    plot = _Plot(across[0], max(across[-1], 1e-9), up[0], up[-1])
    parts = [*plot.axes(across, up), *plot.front([_place(trial) for trial in front])]
    for trial in sorted(shown, key=lambda trial: (trial["state"] == "complete", trial is best)):
        parts.append(plot.dot(trial, best=trial is best))
    for trial in complete:
        if trial is not best and (rank := _uniform(trial)):
            parts.append(plot.label(trial, f"rank {rank} everywhere"))
    parts.append(plot.label(best, "chosen", strong=True))
    told = (
        f"{len(complete)} complete trials from {min(t['bytes'] for t in complete) / 1000:.0f} to "
        f"{max(t['bytes'] for t in complete) / 1000:.0f} kB at a distance from {highest:.3f} to "
        f"{lowest:.3f}; chosen: {best['bytes'] / 1000:.1f} kB, {best['distance']:.3f}"
    )
    return Chart("distance over bytes", svg(WIDTH, HEIGHT, parts, f"Rank search: {told}"), told)


class _Plot:
    """A rectangle of the picture and the values at its edges."""

    def __init__(self, low_x: float, high_x: float, low_y: float, high_y: float) -> None:
        self._low = (low_x, low_y)
        self._span = (high_x - low_x or 1.0, high_y - low_y or 1.0)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the point of the picture for a pair of values."""
        right = (x - self._low[0]) / self._span[0]
        up = (y - self._low[1]) / self._span[1]
        return (
            LEFT + right * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    def axes(self, across: Sequence[float], up: Sequence[float]) -> list[str]:
        """Return grid, numbers and names of both axes."""
        parts = []
        for tick in up:
            _, y = self.at(self._low[0], tick)
            parts.append(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
            )
        for tick in across:
            x, _ = self.at(tick, self._low[1])
            anchor = "end" if tick == across[-1] else "middle"
            parts.append(
                f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="{anchor}">'
                f"{tick:.4g}</text>"
            )
        middle = (LEFT + WIDTH - RIGHT) / 2
        height = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(
            f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">adapter file, kB</text>'
            f'<text x="14" y="{height}" text-anchor="middle" '
            f'transform="rotate(-90 14 {height})">distance to the teacher</text>'
        )
        return parts

    def front(self, points: Sequence[tuple[float, float]]) -> list[str]:
        """Return the staircase below which no trial lies."""
        if len(points) < 2:
            return []
        path = []
        for (x, y), following in zip(points, [*points[1:], None], strict=True):
            path.append(self.at(x, y))
            if following is not None:
                path.append(self.at(following[0], y))
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
        return [f'<polyline class="front" points="{line}"/>']

    def dot(self, trial: Mapping[str, Any], *, best: bool) -> str:
        """Return one trial's dot; its ranks appear when the pointer rests on it."""
        x, y = self.at(*_place(trial))
        kind = "best" if best else str(trial["state"])
        if not best and trial["state"] == "complete" and _uniform(trial):
            kind = "uniform"
        radius = 7.5 if best else 4.5 if trial["state"] == "complete" else 3.5
        about = f"trial {trial['number']}: {_ranks(trial)}, {trial['bytes'] / 1000:.1f} kB, "
        about += f"{trial['distance']:.3f}, {STATES[trial['state']]}"
        return (
            f'<circle class="dot {escape(kind)}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
            f"<title>{escape(about)}</title></circle>"
        )

    def label(self, trial: Mapping[str, Any], text: str, *, strong: bool = False) -> str:
        """Return words above a dot, or below the one that matters most."""
        x, y = self.at(*_place(trial))
        left = x > WIDTH * 0.8
        kind = "strong halo" if strong else "halo"
        return (
            f'<text class="{kind}" x="{x + (4 if left else 7):.1f}" '
            f'y="{y + (22 if strong else -9):.1f}" text-anchor="{"end" if left else "start"}">'
            f"{escape(text)}</text>"
        )


def _place(trial: Mapping[str, Any]) -> tuple[float, float]:
    return trial["bytes"] / 1000, trial["distance"]


def _numbered(trials: Sequence[Mapping[str, Any]], number: int) -> Mapping[str, Any]:
    return next(trial for trial in trials if trial["number"] == number)


def _uniform(trial: Mapping[str, Any]) -> int:
    """Return the rank that every group has, 0 if they differ."""
    ranks = set(trial["ranks"].values())
    return int(ranks.pop()) if len(ranks) == 1 else 0


def _ranks(trial: Mapping[str, Any]) -> str:
    return ", ".join(f"{group} {rank}" for group, rank in trial["ranks"].items())


def _cost(search: Mapping[str, Any]) -> str:
    counts = search["counts"]
    words = [f"{counts['complete']} trained to their end", f"{counts['pruned']} ended early"]
    if counts["stopped"]:
        words.append(f"{counts['stopped']} cut off")
    return f"{search['seconds']:.0f} s for {len(search['trials'])} trials: {', '.join(words)}"


def _choice(best: Mapping[str, Any], search: Mapping[str, Any]) -> str:
    gain = search["settings"]["gain"]
    limit = search["settings"]["budget_kb"]
    bound = f" of at most {limit:g} kB" if limit else ""
    return (
        f"Chosen: {_ranks(best)}, {best['bytes'] / 1000:.1f} kB: the smallest adapter{bound} whose "
        f"distance is within {gain:.0%} of the least one"
    )


def _row(trial: Mapping[str, Any], search: Mapping[str, Any]) -> dict[str, str]:
    scores = trial["scores"]
    on_front = trial["number"] in search["front"]
    mark = "chosen" if trial["number"] == search["best"] else "on the front" if on_front else ""
    return {
        "number": str(trial["number"]),
        "ranks": _ranks(trial),
        "size": f"{trial['bytes'] / 1000:.1f} kB",
        "distance": f"{trial['distance']:.4f}",
        "frechet": f"{scores['frechet']:.1f}" if "frechet" in scores else "",
        "perceptual": f"{scores['perceptual']:.4f}" if "perceptual" in scores else "",
        "steps": str(trial["steps"]),
        "seconds": f"{trial['seconds']:.1f}",
        "state": STATES.get(trial["state"], trial["state"]),
        "mark": mark,
    }
