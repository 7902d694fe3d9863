"""Teacher, published generators and ours in every runtime that runs here, in one interleaved run.

    python benchmarks/runtimes.py                 # makes what files are missing, then measures
    python benchmarks/runtimes.py --rounds 8      # goes on where it stopped

A round calls every network in every runtime once (small networks several times), beginning with
another one each time, so that a slow minute hits all alike. One thread; weights are random, because
a latency depends on the layers; the teacher is the bundled one. Each finished round is appended to
benchmarks/results/runtimes.jsonl, so a run that was ended goes on with the next round. The table
and the plot of docs/benchmarks.md are made of that file by `runtimes_tables.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from architecture_files import (
    facts_of,
    file_of,
    make_files_apart,
)
from edgekit.benchmarks.host import host_facts, load_average
from edgekit.core.store import write_bytes
from edgekit.distill.students.shape import Shape, shape_facts
from runtimes_rows import (
    E2GAN,
    FILES,
    NARROW_TORCH,
    NETWORKS,
    OURS,
    OUT,
    PIX2PIX,
    SIZE_PX,
    TEACHER,
    TORCH,
    read,
)

CALLS = {OURS: 5}
"""Calls a round; one for what takes a second."""
TEACHER_ROUNDS = 4
WARMUP = {OURS: 12}


def main(words: Sequence[str] | None = None) -> int:
    """Make the files, measure the rounds that are missing, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--work", type=Path, default=Path("runs/architecture"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", nargs="+", choices=(TEACHER, *NETWORKS), help="networks")
    given = parser.parse_args(words)
    chosen = given.only or [TEACHER, *NETWORKS]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    refused = made_files(given.work)
    lines = read(given.out)
    if not lines:
        lines = [header(refused)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        callers = opened(given.work, Path(folder), chosen, stack)
        for turn in range(len(lines) - 1, given.rounds):
            lines.append(measured_round(callers, turn))
            text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
            write_bytes(given.out, text.encode())
            print(f"round {turn + 1} of {given.rounds}, load {load_average()}", flush=True)
    from runtimes_tables import table

    print(table(lines))
    return 0


def made_files(work: Path) -> dict[str, Any]:
    """Export what is missing; return network -> kind -> why it could not be."""
    kinds = tuple(dict.fromkeys(kind for row in FILES.values() for kind in row))
    names = {"shapes": [shape_facts(Shape())], "references": [PIX2PIX, E2GAN]}
    missing = [
        kind
        for kind in kinds
        if not all(file_of(work, make(), SIZE_PX, kind).exists() for make in NETWORKS.values())
    ]
    return make_files_apart(work, names, SIZE_PX, missing) if missing else {}


def header(refused: dict[str, Any]) -> dict[str, Any]:
    """Return the first line: the machine, the networks, and what could not be exported."""
    return {
        "what": "processor and wall milliseconds of one picture, one thread, all in turns",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "size_px": SIZE_PX,
        "host": host_facts(),
        "networks": [{**facts_of(make(), SIZE_PX), "name": n} for n, make in NETWORKS.items()],
        "refused": refused,
    }


def opened(work: Path, folder: Path, chosen: Sequence[str], stack: ExitStack) -> dict[Any, Any]:
    """Open every network in every runtime and warm it up: (network, runtime, precision) -> call."""
    import runtimes_callers as by

    callers: dict[tuple[str, str, str], by.Call] = {}
    site = stack.enter_context(by.page(folder))
    for name in chosen:
        if name == TEACHER:
            callers[name, TORCH, "fp32"] = by.of_teacher(SIZE_PX)
            continue
        callers[name, TORCH, "fp32"] = by.of_torch(name, SIZE_PX)
        callers[name, NARROW_TORCH, "fp32"] = stack.enter_context(by.narrow_torch(name, SIZE_PX))
        for runtime, kinds in FILES.items():
            for kind in kinds:
                path = file_of(work, NETWORKS[name](), SIZE_PX, kind)
                if path.exists():
                    open_file = site.of_file if runtime.startswith("browser") else by.of_file
                    callers[name, runtime, kind.split(".")[1]] = open_file(path)
    for (name, *_), call in callers.items():
        call(WARMUP.get(name, 1))
    return callers


def measured_round(callers: dict[Any, Any], turn: int) -> dict[str, Any]:
    """Call everything once, beginning with another one each round."""
    keys = list(callers)
    start = turn * 5 % len(keys)
    rows = []
    for name, runtime, precision in keys[start:] + keys[:start]:
        if name == TEACHER and turn >= TEACHER_ROUNDS:
            continue
        count = CALLS.get(name, 1)
        walls, cpu = callers[name, runtime, precision](count)
        rows.append(
            {
                "network": name,
                "runtime": runtime,
                "precision": precision,
                "wall_ms": [round(value, 3) for value in walls],
                "cpu_ms": round(cpu / count, 3),
            }
        )
    return {"round": turn, "load": load_average(), "rows": rows}


if __name__ == "__main__":
    sys.modules.setdefault("runtimes", sys.modules["__main__"])
    sys.exit(main())
