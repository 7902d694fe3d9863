"""The generator under a latency budget: measure, search, and draw the front.

    python benchmarks/architecture.py table
    python benchmarks/architecture.py search --pairs runs/night/pairs --budget-ms 5 --out runs/size
    python benchmarks/architecture.py front --found runs/size

`table` exports settings of the generator with random weights, times their ONNX Runtime and LiteRT
files in turns on this machine, fits the prediction for the other settings, and measures published
generators beside them: benchmarks/results/architecture_latency.json.

`search` lets optuna suggest settings below the budget, trains each for a short time on your pairs
(or on pairs that the bundled teacher makes of --photos), and prunes those that a faster one beats
already. Latency is looked up in the table or predicted from it, which needs no export tools and
runs where the GPU is; with --measure what the table lacks is exported and timed first.

`front` measures what the search only predicted, and writes the Pareto front of latency and quality
as JSON and SVG.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from architecture_beside import DEFAULT, REFERENCE_PX, repeated, trained_alone
from architecture_front import (
    alone_table,
    drawn_front,
    front_table,
    front_text,
    measured_front,
    reference_table,
    table_of,
)
from edgekit.core.errors import EdgekitError
from edgekit.core.store import read_json, read_manifest, write_bytes, write_json
from edgekit.distill.architecture.lessons import lessons_of_pairs, sampled_lessons
from edgekit.distill.architecture.quality import (
    Lessons,
    Outcome,
    ShortSettings,
    Watch,
    short_distillation,
)
from edgekit.distill.architecture.space import LADDER, drawn_shapes, shape_name
from edgekit.distill.architecture.study import Latency, front
from edgekit.distill.program import host
from edgekit.distill.students.gan import fresh_generator
from edgekit.distill.students.shape import Shape, shape_facts

HERE = Path(__file__).resolve().parent
TABLE = HERE / "results" / "architecture_latency.json"
BUDGET_FILE = "onnx.int8"
SLOW_CALLS = 8
"""Calls of a network that takes a second."""
CONCEPTS = (
    "make it night",
    "turn it into a watercolor painting",
    "make it autumn",
    "turn it into a pencil sketch",
)
"""A light, a texture, a color that depends on what is seen, and lines."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one stage; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    stages = parser.add_subparsers(required=True)
    table = stages.add_parser("table", help="measure latencies on this machine")
    table.set_defaults(run=make_table)
    table.add_argument("--settings", type=int, default=40, help="settings measured")
    table.add_argument("--size", type=int, default=128, help="side of their pictures")
    table.add_argument("--work", type=Path, default=Path("runs/architecture"))
    table.add_argument("--out", type=Path, default=TABLE)
    table.add_argument("--threads", type=int, default=1)
    table.add_argument("--calls", type=int, default=20)
    table.add_argument(
        "--part", choices=("all", "settings", "references"), default="all", help="what to measure"
    )
    _add_search(stages)
    _add_front(stages)
    given = parser.parse_args(words)
    try:
        given.run(given)
    except EdgekitError as error:
        print(f"architecture: {error.what}\n  hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


def make_table(given: argparse.Namespace) -> None:
    """Export, time and fit; the part that is not asked for stays as it is."""
    result = read_json(given.out) if given.out.is_file() else {}
    if given.part != "references":
        shapes = tuple(dict.fromkeys((*LADDER, *drawn_shapes(given.settings, seed=0))))
        facts: dict[str, Any] = {
            "shapes": [shape_facts(shape) for shape in shapes[: given.settings]]
        }
        result |= {"size_px": given.size, **_timed(given, facts, given.size)}
        result["prediction"] = {kind: _checked(result, kind) for kind in _kinds(result)}
    if given.part != "settings":
        facts = {"shapes": [shape_facts(shape) for shape in LADDER], "references": True}
        result["references"] = {
            "size_px": REFERENCE_PX,
            **_timed(given, facts, REFERENCE_PX, slow=SLOW_CALLS),
        }
    write_json(given.out, result)
    for kind, found in result.get("prediction", {}).items():
        print(f"{kind}: {found}")
    if "references" in result:
        print(reference_table(result))
    print(given.out)


def _timed(
    given: argparse.Namespace, names: Mapping[str, Any], size_px: int, slow: int | None = None
) -> dict[str, Any]:
    """Export and time what `names` stands for at one size; references get `slow` calls."""
    from architecture_files import REFERENCES, make_files_apart, networks_of, timed_files
    from edgekit.benchmarks.host import host_facts, load_average
    from edgekit.cli.common import ConsoleReport

    refused = make_files_apart(given.work, names, size_px)
    before, networks = load_average(), networks_of(names)
    timed = timed_files(
        given.work,
        networks,
        size_px,
        threads=given.threads,
        calls=given.calls,
        warmup=3,
        slow={network.name: slow for network in REFERENCES[:3]} if slow else None,
        report=ConsoleReport(),
    )
    return {
        "what": "latency of generators with random weights, all files in turns in one process",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": given.threads,
        "host": host_facts(),
        "load_average": {"before": before, "after": load_average()},
        "rows": _rows(networks, timed, refused, size_px),
    }


def _rows(
    networks: Sequence[Any], timed: Mapping[str, Any], refused: Mapping[str, Any], size_px: int
) -> list[dict[str, Any]]:
    from architecture_files import facts_of

    return [
        {
            **facts_of(network, size_px),
            "files": timed.get(network.name, {}),
            **({"refused": refused[network.name]} if network.name in refused else {}),
        }
        for network in networks
    ]


def _kinds(table: Mapping[str, Any]) -> list[str]:
    return sorted({kind for row in table["rows"] for kind in row["files"]})


def _checked(facts: Mapping[str, Any], kind: str) -> dict[str, Any]:
    try:
        found = asdict(table_of(facts, kind).check())
    except LookupError as error:
        return {"none": str(error)}
    return {name: round(value, 4) for name, value in found.items()}


def _add_search(stages: Any) -> None:
    search = stages.add_parser("search", help="train settings below a budget for a short time")
    search.set_defaults(run=make_search)
    search.add_argument("--out", type=Path, required=True, help="folder; a search there goes on")
    search.add_argument("--budget-ms", type=float, required=True, help="most milliseconds")
    search.add_argument("--file", default=BUDGET_FILE, help="whose latency: onnx.int8, tflite.fp32")
    search.add_argument("--table", type=Path, default=TABLE)
    search.add_argument("--measure", action="store_true", help="measure what the table lacks")
    search.add_argument("--trials", type=int, default=24)
    search.add_argument("--seconds", type=float, default=float("inf"), help="start no trial later")
    search.add_argument("--pairs", type=Path, help="finished pairs of one concept")
    search.add_argument("--photos", type=Path, help="photos, for pairs of --concepts instead")
    search.add_argument("--concepts", nargs="+", default=list(CONCEPTS))
    search.add_argument("--count", type=int, default=512, help="pairs a concept of --photos")
    search.add_argument("--heldout", type=int, default=12, help="held-out photos of each set")
    search.add_argument("--steps", type=int, default=1000)
    search.add_argument("--batch", type=int, default=32)
    search.add_argument("--checks", type=int, default=5)
    search.add_argument("--seed", type=int, default=0)
    search.add_argument("--device", default="auto")
    search.add_argument(
        "--references", type=int, default=0, metavar="N", help="also the papers' on N concepts each"
    )
    search.add_argument(
        "--repeat",
        nargs="+",
        metavar="NAME",
        help="do not search: train these settings, and e2gan, with several seeds",
    )
    search.add_argument("--seeds", type=int, default=3, help="of --repeat")
    search.add_argument("--reference-width", type=int, default=64, help="smaller for a trial run")


def make_search(given: argparse.Namespace) -> None:
    """Make or read the pairs, search, and train what stands beside the search."""
    from edgekit.distill.architecture.study import search
    from edgekit.distill.teachers.loader import device_named

    started = time.monotonic()
    device = device_named(given.device)
    facts = read_json(given.table)
    measured = table_of(facts, given.file)
    table: Latency = measured
    if given.measure:
        from architecture_files import Measuring

        table = Measuring(measured, given.file, given.out / "files", given.budget_ms)
    lessons = _lessons(given, facts["size_px"], device)
    assert lessons.contexts is not None
    dim = lessons.contexts.shape[-1]
    made_s = time.monotonic() - started
    print(f"pairs {tuple(lessons.sources.shape)} after {made_s:.1f} s", flush=True)
    settings = ShortSettings(
        steps=given.steps, batch=given.batch, checks=given.checks, seed=given.seed
    )

    def train(shape: Shape, watch: Watch) -> Outcome:
        network = fresh_generator(shape, seed=given.seed)
        return short_distillation(network, lessons, settings, device=device, watch=watch)

    result = {
        "what": "short distillations of settings below a budget, and of published generators",
        "budget_ms": given.budget_ms,
        "file": given.file,
        "size_px": facts["size_px"],
        "table": {"created": facts["created"], "cpu": facts["host"]["cpu"]},
        "settings": asdict(settings),
        "concepts": given.concepts if given.pairs is None else [read_prompt(given.pairs)],
        "pairs": list(lessons.sources.shape[:2]),
        "heldout": list(lessons.held_sources.shape[:2]),
        "host": host(),
        "pairs_s": round(made_s, 2),
        "references": [],
    }
    if given.repeat:
        result["repeated"] = repeated(given, lessons, settings, device)
        write_json(given.out / "repeated.json", result)
        return
    found = search(
        given.out,
        latency=table,
        train=train,
        budget_ms=given.budget_ms,
        trials=given.trials,
        seconds=given.seconds - (time.monotonic() - started),
        context_dim=dim,
        seed=given.seed,
        report=_told,
    )
    result |= {
        "found": [row.facts() for row in found],
        "front": [shape_name(row.shape) for row in front(found)],
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(given.out / "search.json", result)
    print(front_text(found), flush=True)
    if given.references:
        best = [row.shape for row in front(found)[-1:]]
        result["references"] = trained_alone(given, best, lessons, settings, device)
        result["seconds"] = round(time.monotonic() - started, 1)
        write_json(given.out / "search.json", result)


def _told(label: str, done: int, total: int, note: str = "") -> None:
    print(f"{label} {done}/{total} {note}", flush=True)


def _lessons(given: argparse.Namespace, size_px: int, device: str) -> Lessons:
    if (given.pairs is None) == (given.photos is None):
        raise EdgekitError("give either --pairs or --photos", hint="make pairs: edgekit pairs make")
    if given.pairs is not None:
        return lessons_of_pairs(given.pairs, size_px=size_px, device=device)
    return sampled_lessons(
        given.photos,
        tuple(given.concepts),
        size_px=size_px,
        pairs=given.count,
        heldout=given.heldout,
        device=device,
        seed=given.seed,
    )


def read_prompt(pairs: Path) -> str:
    """Return the concept of a folder of pairs."""
    return str(read_manifest(pairs, kind="pairs")["prompt"])


def _add_front(stages: Any) -> None:
    drawn = stages.add_parser("front", help="measure what was predicted, and draw the front")
    drawn.set_defaults(run=make_front)
    drawn.add_argument("--found", type=Path, required=True, help="folder of a search")
    drawn.add_argument("--table", type=Path, default=TABLE)
    drawn.add_argument("--work", type=Path, default=Path("runs/architecture"))
    drawn.add_argument("--out", type=Path, default=HERE / "results" / "architecture.json")
    drawn.add_argument("--plot", type=Path, default=None, help="SVG; default: beside --out")
    drawn.add_argument("--calls", type=int, default=20)


def make_front(given: argparse.Namespace) -> None:
    """Measure, write and draw."""
    result = measured_front(
        read_json(given.found / "search.json"),
        read_json(given.table),
        given.work,
        calls=given.calls,
        default=DEFAULT,
    )
    write_json(given.out, result)
    plot = given.plot or given.out.with_suffix(".svg")
    write_bytes(plot, drawn_front(result).encode())
    print(front_table(result))
    if result.get("references"):
        print(alone_table(result))
    print(f"{given.out}\n{plot}")


if __name__ == "__main__":
    sys.exit(main())
