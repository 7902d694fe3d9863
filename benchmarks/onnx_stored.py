"""What it saves and costs to store the weights of float layers of an int8 ONNX file in 8 bits.

    edgekit export --base --target onnx --out runs/base
    python benchmarks/onnx_stored.py shipped:things=ends-2 shipped:restorer=ends-1 \
        runs/base=ends-1 --out benchmarks/results/onnx_stored.json

Each student's int8 file is made twice by the recipe that ships of it: with float32 kept in the
layers that stay float, and as it ships. Decibels are those of the gate: held-out samples against
the PyTorch student. Both files and the float32 and float16 ones are called in turns, one thread
(protocol latency-1).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.benchmarks.compare import PROTOCOL, Candidate, measure
from edgekit.benchmarks.host import host_facts, load_average
from edgekit.cli.shipped import shipped_name, shipped_student
from edgekit.core.store import write_json
from edgekit.core.tensors import Batch
from edgekit.export.program import heldout_feeds, load_program, read_student, reference_outputs
from edgekit.export.quantize_onnx import static_int8
from edgekit.export.rows import Workplace, parity_of
from edgekit.runtime.sessions import open_session

SAMPLES = 8


def main(words: Sequence[str] | None = None) -> None:
    """Measure every student that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("students", nargs="+", help="STUDENT=RECIPE")
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(words)
    load = load_average()
    students = {}
    for text in given.students:
        name, _, recipe = text.rpartition("=")
        found = measured(Path(name), recipe, given.calls)
        students[found.pop("name")] = found
    value = {
        "protocol": f"{PROTOCOL}/{given.calls} calls/1 thread",
        "host": host_facts(),
        "load_average": [load, load_average()],
        "students": students,
    }
    write_json(given.out, value)
    print(table(students))


def measured(path: Path, recipe: str, calls: int) -> dict[str, Any]:
    """Return bytes, decibels and raw milliseconds of a student's files."""
    name = shipped_name(path)
    student = read_student(path if name is None else shipped_student(name))
    feeds = heldout_feeds(student, limit=SAMPLES)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        work = Workplace(
            student,
            load_program(student),
            "onnx",
            folder,
            folder,
            open_session,
            feeds,
            reference_outputs(student, feeds),
        )
        sources = work.sources()
        source, samples = sources.made("fp32"), sources.calibration()
        files = {"fp32": source, "fp16": sources.made("fp16")}
        for kind, smaller in (("int8, float32 kept", False), ("int8", True)):
            files[kind] = folder / f"{kind}.onnx"
            static_int8(source, files[kind], recipe=recipe, feeds=samples, smaller=smaller)
        rows: dict[str, dict[str, Any]] = {}
        for kind, file in files.items():
            found = parity_of(work, file)
            assert found is not None
            rows[kind] = {"bytes": file.stat().st_size, "worst_db": round(min(found.psnr_db), 3)}
        one = dict(feeds[0])
        timings = measure(
            [Candidate(kind, loader(file, one)) for kind, file in files.items()], calls=calls
        )
        for timing in timings:
            rows[timing.name] |= {
                "load_ms": round(timing.load_ms, 2),
                "cpu_ms": [round(ms, 3) for ms in timing.cpu_ms],
                "wall_ms": [round(ms, 3) for ms in timing.wall_ms],
            }
    return {
        "name": student.facts["name"],
        "recipe": recipe,
        "sha256": student.sha256,
        "files": rows,
    }


def loader(file: Path, feed: Mapping[str, Batch]) -> Callable[[], Callable[[], object]]:
    """Return what opens a file and gives its call."""

    def load() -> Callable[[], object]:
        session = open_session(file, threads=1)
        return lambda: session.run(feed)

    return load


def table(students: Mapping[str, Any]) -> str:
    """Return the rows that docs/export.md shows."""
    rows = ["| student | file | MB | worst dB | CPU ms | load ms |", "|---|---|---|---|---|---|"]
    rows += [
        f"| {name} | {kind} | {row['bytes'] / 1e6:.2f} | {row['worst_db']:.1f} | "
        f"{np.median(row['cpu_ms']):.1f} | {row['load_ms']:.0f} |"
        for name, found in students.items()
        for kind, row in found["files"].items()
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
