"""What the page says of the raw lines: means over seeds, intervals, costs at equal precision.

A line of runs.jsonl is one training: `kind` (a name of `ARMS`, perhaps at another rate), `seed`,
`prompt` (of a kind that learns one at a time), `arm` (kind and prompt). A line of scores.jsonl is
one snapshot of it: also `at_s`, the seconds of training up to it, `trained`, the prompts that
shared them, `last`, and `meshes`, one entry a prompt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from arms import apart
from numpy.typing import NDArray

from edgekit.distill.teachers.views.world import prompts as world_prompts

Row: TypeAlias = Mapping[str, Any]
RESAMPLES = 5_000
LEVELS = (0.5, 0.7, 0.9, 0.95)
"""R-precision at which costs are compared; nearer to 1 a few views of all decide."""


def meshes_of(scores: Sequence[Row], arm: str) -> Iterator[tuple[int, Row]]:
    """Yield seed and mesh of the last snapshots of an arm."""
    for row in scores:
        if row["kind"] == arm and row.get("last", True):
            for mesh in row["meshes"]:
                yield row["seed"], mesh


def score(
    scores: Sequence[Row], arm: str, seen: bool | str = "all", key: str = "r"
) -> dict[int, float]:
    """Return the mean of `key` over the meshes of each seed; a mesh that failed counts as 0."""
    found: dict[int, list[float]] = {}
    for seed, mesh in meshes_of(scores, arm):
        if seen == "all" or mesh["seen"] is seen:
            found.setdefault(seed, []).append(mesh.get(key, 0.0))
    return {seed: float(np.mean(values)) for seed, values in found.items()}


def spread(values: Sequence[float], *, percent: bool = False) -> str:
    """Return mean ± standard deviation over seeds, or the one value, or a dash.

    >>> spread([0.5, 0.7], percent=True), spread([])
    ('60.0 ± 14.1 %', '–')
    """
    if not values:
        return "–"
    times, unit = (100.0, " %") if percent else (1.0, "")
    mean = f"{times * float(np.mean(values)):.1f}"
    if len(values) == 1:
        return mean + unit
    return f"{mean} ± {times * float(np.std(values, ddof=1)):.1f}{unit}"


def paired(
    scores: Sequence[Row], one: str, two: str, seen: bool | str = "all"
) -> NDArray[np.float64] | None:
    """Return seeds x prompts: R-precision of one arm less that of the other; None without both."""
    tables = []
    for arm in (one, two):
        found: dict[int, dict[str, float]] = {}
        for seed, mesh in meshes_of(scores, arm):
            if seen == "all" or mesh["seen"] is seen:
                found.setdefault(seed, {})[mesh["prompt"]] = mesh.get("r", 0.0)
        tables.append(found)
    seeds = sorted(set(tables[0]) & set(tables[1]))
    if not seeds:
        return None
    shared = set.intersection(*(set(table[seed]) for table in tables for seed in seeds))
    names = sorted(shared)
    if not names:
        return None
    return np.array(
        [[tables[0][seed][name] - tables[1][seed][name] for name in names] for seed in seeds]
    )


def interval(table: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of a table's mean, rows and columns drawn anew."""
    dice = np.random.default_rng(0)
    rows = dice.integers(0, len(table), (RESAMPLES, len(table), 1))
    columns = dice.integers(0, table.shape[1], (RESAMPLES, 1, table.shape[1]))
    means = table[rows, columns].mean((1, 2))
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def curve(scores: Sequence[Row], arm: str) -> list[tuple[float, float]]:
    """Return (seconds a prompt, R-precision) of the snapshots, on the prompts that all arms share.

    Snapshots of a run are taken when a half, a quarter and so on of its budget is spent, and are
    matched by that. A share that most runs have no snapshot of is left out, and so are runs whose
    budget is not the usual one: the rate of a longer run falls later.
    """
    shared = set(apart(world_prompts()))
    runs: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for row in scores:
        if row["kind"] != arm:
            continue
        values = [m.get("r", 0.0) for m in row["meshes"] if m["prompt"] in shared]
        if values:
            point = (row["at_s"] / row["trained"], float(np.mean(values)))
            runs.setdefault((row["seed"], row.get("prompt") or ""), []).append(point)
    budgets = {key: max(at for at, _ in points) for key, points in runs.items()}
    usual = float(np.median(list(budgets.values()))) if budgets else 0.0
    alike = {key: budget for key, budget in budgets.items() if abs(budget / usual - 1) < 0.2}
    by_halvings: dict[int, list[tuple[float, float]]] = {}
    for key, budget in alike.items():
        for at, precision in runs[key]:
            by_halvings.setdefault(round(math.log2(budget / at)), []).append((at, precision))
    means = [np.mean(some, 0) for some in by_halvings.values() if 2 * len(some) > len(alike)]
    return sorted((float(at), float(precision)) for at, precision in means)


def per_prompt_costs(
    scores: Sequence[Row], ours: str, theirs: str
) -> list[tuple[float, float, float, bool]] | None:
    """Return each of `LEVELS` that we reach: it, our first seconds a prompt, theirs, if reached.

    If they never reach it, their longest time stands for theirs. None without both curves.
    """
    mine, others = curve(scores, ours), curve(scores, theirs)
    if not mine or not others:
        return None
    found = []
    for level in LEVELS:
        first, other = (
            min((at for at, precision in points if precision >= level), default=None)
            for points in (mine, others)
        )
        if first is not None:
            found.append((level, first, other or others[-1][0], other is not None))
    return found


def fronts(seen: Sequence[bool]) -> int:
    """Return how many separate stretches of a ring of views show the thing.

    >>> fronts([True, True, False, False, True]), fronts([True, False, True, False])
    (1, 2)
    >>> fronts([False, False]), fronts([True, True])
    (0, 1)
    """
    if all(seen):
        return int(bool(len(seen)))
    return sum(now and not before for before, now in zip([seen[-1], *seen[:-1]], seen, strict=True))


def eyes_seen(mesh: Row) -> bool:
    """Whether any view around the mesh shows eyes."""
    return any(mesh["eyes"])


def janus(mesh: Row) -> bool:
    """Whether eyes are seen from more than one side."""
    return fronts(mesh["eyes"]) > 1
