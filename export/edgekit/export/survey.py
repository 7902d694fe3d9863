"""Every recipe of every format measured on one student: which of them should ship?

``python -m edgekit.export.survey RUN OUT.json`` writes the result that docs/export.md quotes and
prints its table. Recipes that a converter refuses are left out.
Latency is process time of one thread, runs interleaved, and ranks recipes on this machine only.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.core.manifest import Format
from edgekit.core.seams import PRECISIONS, OpenSession, Precision, Session
from edgekit.core.store import size_bytes, write_json
from edgekit.core.tensors import Batch
from edgekit.export.parity import PROTOCOL, to_layout
from edgekit.export.program import heldout_feeds, load_program, read_student, reference_outputs
from edgekit.export.rows import Workplace, parity_of, port_pairs
from edgekit.export.targets import FORMATS, Converter, Refused, tool_versions
from edgekit.export.worker import resolved

SAMPLES = 8
CALLS, WARM_UP = 30, 4
_SURVEYED: tuple[Format, ...] = ("onnx", "tflite", "mlpackage", "aimodel")
_TIMED: tuple[Format, ...] = ("onnx", "tflite")
"""Formats whose runtime here is the one that a phone has, so that a ranking means something."""


def survey(
    folder: Path,
    scratch: Path,
    *,
    open_session: OpenSession,
    formats: Sequence[Format] = _SURVEYED,
) -> dict[str, Any]:
    """Convert the student in `folder` with every recipe of `formats` and measure each file."""
    student = read_student(folder)
    feeds = heldout_feeds(student, limit=SAMPLES)
    references = reference_outputs(student, feeds)
    program = load_program(student)
    rows: list[dict[str, Any]] = []
    sessions: dict[int, tuple[Session, Mapping[str, Batch]]] = {}
    for form in formats:
        work = scratch / form
        work.mkdir(parents=True)
        place = Workplace(student, program, form, scratch, work, open_session, feeds, references)
        for precision in PRECISIONS:
            for recipe in every_recipe(place.converter, precision):
                try:
                    rows.append(_row(place, precision, recipe))
                except Refused:
                    continue
                if form in _TIMED:
                    path = work / f"{precision}.{recipe}.{form}"
                    feed = {
                        entry.name: to_layout(feeds[0][port.name], port, entry.port())
                        for port, entry in port_pairs(place.converter, program.inputs, output=False)
                    }
                    sessions[len(rows) - 1] = open_session(path), feed
    for index, milliseconds in _latencies(sessions).items():
        rows[index]["cpu_ms_one_thread"] = milliseconds
    return {
        "kind": "export-survey",
        "student": {
            "name": student.facts["name"],
            "sha256": student.sha256,
            "size_px": student.facts["size_px"],
            "parameters": student.facts.get("parameters"),
        },
        "protocol": {"parity": PROTOCOL, "samples": len(feeds), "calls": CALLS},
        "host": {
            "machine": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "tools": {form: tool_versions(form) for form in formats},
        "rows": rows,
    }


def every_recipe(converter: Converter, precision: Precision) -> tuple[str, ...]:
    """Return the recipes that may ship, then those that are only measured."""
    more = getattr(converter, "ALTERNATIVES", ()) if precision == "int8" else ()
    return (*converter.recipes(precision), *more)


def _row(place: Workplace, precision: Precision, recipe: str) -> dict[str, Any]:
    path = place.scratch / f"{precision}.{recipe}.{place.form}"
    start = time.monotonic()
    words = place.converter.convert(
        place.program, path, precision=precision, recipe=recipe, sources=place.sources()
    )
    seconds = time.monotonic() - start
    parity = parity_of(place, path)
    return {
        "format": place.form,
        "precision": precision,
        "recipe": recipe,
        "words": words,
        "bytes": size_bytes(path),
        "weights": place.converter.weight_elements(path),
        "convert_s": round(seconds, 2),
        "parity": parity.entry().model_dump() if parity else None,
    }


def _latencies(
    sessions: Mapping[int, tuple[Session, Mapping[str, Batch]]],
) -> dict[int, float]:
    samples: dict[int, list[float]] = {index: [] for index in sessions}
    for _ in range(WARM_UP + CALLS):
        for index, (session, feed) in sessions.items():
            start = time.process_time()
            session.run(feed)
            samples[index].append((time.process_time() - start) * 1e3)
    return {
        index: round(statistics.median(values[WARM_UP:]), 3) for index, values in samples.items()
    }


def table(result: Mapping[str, Any]) -> str:
    """Return the rows of a survey as a Markdown table; a recipe in bold is what ships."""
    lines = [
        "| file | recipe | MB | worst dB | largest difference | CPU ms |",
        "|---|---|---|---|---|---|",
    ]
    shipped: set[tuple[str, str]] = set()
    for row in result["rows"]:
        parity, kind = row["parity"], (row["format"], row["precision"])
        recipe = row["recipe"] if kind in shipped else f"**{row['recipe']}**"
        shipped.add(kind)
        latency = row.get("cpu_ms_one_thread")
        lines.append(
            f"| {row['format']} {row['precision']} | {recipe} | {row['bytes'] / 1e6:.2f} "
            f"| {parity['worst_psnr_db']:.1f} | {parity['max_abs']:.1e} "
            f"| {'' if latency is None else f'{latency:.1f}'} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Survey a student folder, write the result and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--format", nargs="+", choices=list(FORMATS), default=list(_SURVEYED))
    parser.add_argument("--open-session", default="edgekit.runtime.sessions:open_session")
    given = parser.parse_args(argv)
    opener = resolved(given.open_session)
    with tempfile.TemporaryDirectory() as scratch:
        result = survey(
            given.student, Path(scratch), open_session=opener, formats=tuple(given.format)
        )
    write_json(given.out, result)
    print(table(result))


if __name__ == "__main__":
    main(sys.argv[1:])
