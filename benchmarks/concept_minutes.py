"""How long a new concept takes on this machine, from pairs to a verified bundle, stage by stage.

    python benchmarks/concept_minutes.py --work runs/minutes

Runs what a user types, each stage in a process of its own, so that starting Python and loading
packages counts: the pairs of `distill`, `distill` itself, which finds them made, `export` once for
each target, `verify`. The concepts are ones that the base never saw. Wall and CPU seconds, load and
peak memory go to benchmarks/results/concept_minutes.json with the quality on held-out pairs; a
total above --limit minutes is said in the file and ends with 6. Run it on a quiet machine.

A concept whose folder exists below --work is refused: a stage that finds its work done would take
no time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgekit.benchmarks.host import host_facts, load_average
from edgekit.core.assets import asset_folder
from edgekit.core.errors import EdgekitError
from edgekit.core.store import read_json, write_json
from edgekit.distill.recipe import recipe_for

HERE = Path(__file__).resolve().parent
CONCEPTS = ("make it snowy", "make it cyberpunk", "turn it into a charcoal drawing")
TARGETS = ("onnx", "android", "ios")
LIMIT_MIN = 5.0
TOY: Mapping[str, Any] = {"pairs": 24, "size_px": 64, "steps": 4}
"""What --toy changes in the recipe: the same stages, nothing that is worth a figure."""
PAIRS = """
import sys
from pathlib import Path
from edgekit.cli.common import ConsoleReport
from edgekit.distill.distill import pairs_for
from edgekit.distill.recipe import read_recipe
pairs_for(read_recipe(Path(sys.argv[1])), Path(sys.argv[2]), report=ConsoleReport())
"""
"""The first step of `edgekit distill` on its own: `edgekit pairs make` has other defaults."""


def main(words: Sequence[str] | None = None) -> int:
    """Time every concept and write the table; return 0, 6 above the limit, or a stage's code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/minutes"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "concept_minutes.json")
    parser.add_argument("--concepts", nargs="+", default=list(CONCEPTS))
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--limit", type=float, default=LIMIT_MIN, help="minutes a concept may take")
    parser.add_argument("--toy", action="store_true", help="24 pairs of 64 px, 4 steps: a test")
    given = parser.parse_args(words)
    if known := seen_by_base(given.concepts):
        print(f"the base was trained on {known[0]!r}: choose others", file=sys.stderr)
        return 2
    rows = []
    for concept in given.concepts:
        place = given.work / recipe_for(concept).name
        if place.exists():
            print(f"{place} exists: delete it, or name another --work", file=sys.stderr)
            return 2
        row = timed(concept, place, given.targets, toy=given.toy)
        if row["code"]:
            print(f"{row['stages'][-1]['stage']} ended with {row['code']}", file=sys.stderr)
            return int(row["code"])
        rows.append(row)
        write_json(given.out, table(rows, limit_min=given.limit, toy=given.toy))
    return 0 if all(row["total_s"] <= given.limit * 60 for row in rows) else 6


def seen_by_base(concepts: Sequence[str]) -> list[str]:
    """Return those of `concepts` that the shipped base was trained on."""
    card = read_json(asset_folder("base") / "card.json")
    return [concept for concept in concepts if concept in card["concepts"]]


def stages(recipe: Path, run: Path, targets: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return (stage, words after the name of Python's program) in order."""
    edgekit, bundle = ["-m", "edgekit.cli.main"], str(run / "bundle")
    return [
        ("pairs", ["-c", PAIRS, str(recipe), str(run / "pairs")]),
        ("training", [*edgekit, "distill", "--recipe", str(recipe), "--out", str(run)]),
        *((f"export {name}", [*edgekit, "export", str(run), "--target", name]) for name in targets),
        ("verify", [*edgekit, "verify", bundle]),
    ]


def timed(concept: str, place: Path, targets: Sequence[str], *, toy: bool) -> dict[str, Any]:
    """Run the stages of one concept and return their seconds and what they made."""
    found: list[dict[str, Any]] = []
    recipe_for(concept, **(TOY if toy else {})).write(place / "recipe.toml")
    started, load = time.monotonic(), load_average()
    for stage, words in stages(place / "recipe.toml", place / "run", targets):
        print(f"{recipe_for(concept).name}: {stage}", flush=True)
        row, code = command(stage, words)
        found.append(row)
        if code:
            return {"code": code, "stages": found}
    total = time.monotonic() - started
    student = read_json(place / "run" / "manifest.json")
    bundle = read_json(place / "run" / "bundle" / "manifest.json")
    return {
        "concept": concept,
        "code": 0,
        "total_s": round(total, 1),
        "stages": found,
        "load_average_before": load,
        "size_px": student["size_px"],
        "training_pairs": student["training_pairs"],
        "steps": student["losses"]["step"],
        "adapter_bytes": student["adapter"]["bytes"],
        "quality": student["quality"],
        "files": [entry["path"] for entry in bundle["models"]],
        "executed": sum(bool(entry["executed"]) for entry in bundle["models"]),
    }


def command(stage: str, words: Sequence[str]) -> tuple[dict[str, Any], int]:
    """Run one stage; return its seconds and its exit code."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    code = subprocess.call([sys.executable, *words], stdout=sys.stderr)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"stage": stage, "seconds": round(wall, 1), "cpu_s": round(cpu, 1)}, code


def table(rows: Sequence[dict[str, Any]], *, limit_min: float, toy: bool) -> dict[str, Any]:
    """Return what the file holds."""
    return {
        "what": "a concept that the base never saw, from pairs to a verified bundle, --profile cpu",
        "protocol": "concept-minutes-1/one process a command/wall seconds",
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "toy": toy,
        "host": host_facts(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        "limit_min": limit_min,
        "within_limit": all(row["total_s"] <= limit_min * 60 for row in rows),
        "slowest_s": max(row["total_s"] for row in rows),
        "concepts": list(rows),
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgekitError as error:
        print(json.dumps({"error": error.what, "hint": error.hint}), file=sys.stderr)
        sys.exit(error.exit_code)
