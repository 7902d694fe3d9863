"""What searched ranks are worth beside ranks that nobody searched, on one set of pairs.

    python benchmarks/rank_search.py --work runs/ranks --budget 6m

One search each by optuna and by doubling (E2GAN's way), scored on validation pairs; then every arm
is trained fully with each seed and judged on held-out pairs, which no search saw:

    tpe, greedy    the ranks that the searches chose
    largest        the largest rank, the same everywhere, that fits the budget of bytes, unless 4
    rank 4         what a run without a search takes; may be larger than the budget
    rank 1         the smallest
    random         for each seed other ranks, drawn with at least the bytes of `tpe`

Results go to benchmarks/results/rank_search.json: every run, means with standard deviations, the
tables of both searches. Finished runs below --work are not repeated. With few photos the held-out
pairs are few: the differences between arms are to be read beside the spread of the seeds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit.benchmarks.host import host_facts, load_average
from edgekit.cli.common import ConsoleReport
from edgekit.core.store import read_json, write_json
from edgekit.distill.base import load_base
from edgekit.distill.distill import distill, pairs_for
from edgekit.distill.frechet import embedded, frechet_distance
from edgekit.distill.metrics import edited
from edgekit.distill.ranks import GROUPS, MOST, ranks_as_text
from edgekit.distill.recipe import Recipe, recipe_for
from edgekit.distill.search.settings import CHOICES, SearchSettings, seconds_of
from edgekit.distill.search.sizes import file_sizes

HERE = Path(__file__).resolve().parent
SCORES = ("l1", "psnr_db", "ms_ssim", "flip", "perceptual")


def main(words: Sequence[str] | None = None) -> int:
    """Search, train every arm with every seed, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concept", default="make it snowy")
    parser.add_argument("--work", type=Path, default=Path("runs/ranks"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "rank_search.json")
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--photos", type=Path, help="default: those of two Python packages")
    parser.add_argument("--count", type=int, help="pairs; default: the profile's")
    parser.add_argument("--size", type=int, help="default: the profile's")
    parser.add_argument("--steps", type=int, help="of a full training; default: the profile's")
    parser.add_argument("--budget", default="10m", help="time of each search")
    parser.add_argument("--budget-kb", type=float, default=100.0)
    parser.add_argument("--trials", type=int, default=0)
    parser.add_argument("--trial-steps", type=int, default=0, help="default: a quarter of --steps")
    parser.add_argument("--arms", nargs="+", help="train these only; the searches are always made")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args(words)
    recipe = recipe_for(
        given.concept,
        profile=given.profile,
        pairs=given.count,
        size_px=given.size,
        steps=given.steps,
        minutes=10_000.0,  # only steps end a training, so that a busy machine gives the same table
    )
    pairs = given.work / "pairs"
    pairs_for(recipe, pairs, photos=given.photos, report=ConsoleReport())
    limits = {
        "budget_s": seconds_of(given.budget),
        "budget_kb": given.budget_kb,
        "trials": given.trials,
        "steps": given.trial_steps,
    }
    searches, arms, rows = {}, [], []
    for mode in ("tpe", "greedy"):
        out = given.work / mode
        manifest = distill(
            recipe,
            out,
            pairs=pairs,
            search=SearchSettings(mode=mode, **limits),
            report=ConsoleReport(),
        )
        searches[mode] = read_json(out / "search.json")
        arms.append((mode, [manifest["search"]["ranks"]] * len(given.seeds)))
    size = sizes_of(recipe)
    arms += others(size, arms[0][1][0], given.budget_kb * 1000, given.seeds)
    for name, every in arms:
        if given.arms and name not in given.arms:
            continue
        for seed, ranks in zip(given.seeds, every, strict=True):
            trained = Recipe(
                **{**recipe.values(), "seed": seed, "ranks": ranks_as_text(ranks), "name": ""}
            )
            out = given.work / f"{name.replace(' ', '-')}-{seed}"
            manifest = distill(trained, out, pairs=pairs, report=ConsoleReport())
            rows.append(row(name, seed, ranks, manifest, out))
            write_json(given.out, table(given, recipe, searches, rows))
    return 0


def sizes_of(recipe: Recipe) -> Any:
    """Return the function from ranks to the bytes of this recipe's adapter."""
    base = load_base()
    return file_sizes(base.generator, prompt=recipe.concept, base_sha256=base.sha256)


def others(
    size: Any, searched: Mapping[str, int], most_bytes: float, seeds: Sequence[int]
) -> list[tuple[str, list[dict[str, int]]]]:
    """Return the arms whose ranks nobody searched: (name, ranks for each seed)."""
    every = (dict.fromkeys(GROUPS, rank) for rank in range(MOST, 0, -1))
    largest = next((ranks for ranks in every if size(ranks) <= most_bytes), None)
    arms = [(f"rank {rank}", [dict.fromkeys(GROUPS, rank)] * len(seeds)) for rank in (4, 1)]
    if largest and largest not in (dict.fromkeys(GROUPS, rank) for rank in (4, 1)):
        arms.insert(0, ("largest", [largest] * len(seeds)))
    return [*arms, ("random", [drawn(size, size(searched), seed) for seed in seeds])]


def drawn(size: Any, least_bytes: int, seed: int) -> dict[str, int]:
    """Draw ranks until their file has at least `least_bytes`, and hardly more."""
    rng = np.random.default_rng((seed, 1))
    best: dict[str, int] | None = None
    for _ in range(300):
        ranks = dict(zip(GROUPS, (int(rank) for rank in rng.choice(CHOICES, 5)), strict=True))
        if not any(ranks.values()) or size(ranks) < least_bytes:
            continue
        if best is None or size(ranks) < size(best):
            best = ranks
        if size(best) <= 1.05 * least_bytes:
            return best
    assert best is not None, "no larger ranks to choose from"
    return best


def row(
    name: str, seed: int, ranks: Mapping[str, int], manifest: Mapping[str, Any], out: Path
) -> dict[str, Any]:
    """Return one trained student's numbers on held-out pairs."""
    with np.load(out / "heldout.npz") as held:
        sources, edits = held["image"], held["teacher"]
    program = torch.export.load(out / "student.pt2").module()
    singly = [edited(program, sources[i : i + 1], batch=1) for i in range(len(sources))]
    made = embedded(np.concatenate(singly))
    return {
        "arm": name,
        "seed": seed,
        "ranks": dict(ranks),
        "bytes": manifest["adapter"]["bytes"],
        "trained": manifest["adapter"]["trainable"],
        "seconds": manifest["seconds"],
        **{score: manifest["quality"]["student"][score] for score in SCORES},
        "frechet": round(frechet_distance(made, embedded(edits)), 3),
        "frechet_of_source": round(frechet_distance(embedded(sources), embedded(edits)), 3),
    }


def table(
    given: argparse.Namespace,
    recipe: Recipe,
    searches: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what the file holds."""
    return {
        "what": "adapters of searched and unsearched ranks on held-out pairs",
        "protocol": "rank-search-1/held-out pairs, same n for all arms",
        "recipe": recipe.values(),
        "seeds": given.seeds,
        "host": host_facts(),
        "load_average": load_average(),
        "means": [mean_of(rows, name) for name in dict.fromkeys(row["arm"] for row in rows)],
        "rows": list(rows),
        "searches": dict(searches),
    }


def mean_of(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Return mean and standard deviation over an arm's seeds."""
    mine = [row for row in rows if row["arm"] == name]
    found: dict[str, Any] = {"arm": name, "seeds": len(mine)}
    for score in (*SCORES, "frechet", "bytes"):
        values = [row[score] for row in mine if row[score] is not None]
        if values:
            found[score] = round(statistics.mean(values), 5)
            found[f"{score}_sd"] = round(statistics.stdev(values), 5) if len(values) > 1 else None
    return found


if __name__ == "__main__":
    sys.exit(main())
