"""How far good files are from their student on feeds that no photo looks like: where the bars are.

``python benchmarks/parity_bars.py STUDENT… --out benchmarks/results/parity_bars.json`` converts
each student with the recipe that ships and measures every file on held-out photos and on the
adversarial feeds. Nothing is judged here; edgekit.export.parity quotes the figures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from edgekit.core.manifest import Format
from edgekit.core.seams import PRECISIONS
from edgekit.core.store import write_json
from edgekit.export.adversarial import KINDS, adversarial_feeds
from edgekit.export.parity import measured
from edgekit.export.program import (
    calibration_feeds,
    heldout_feeds,
    load_program,
    read_student,
    reference_outputs,
)
from edgekit.export.rows import Workplace, opened, port_pairs
from edgekit.runtime.sessions import open_session

FORMATS: tuple[Format, ...] = ("onnx", "tflite", "mlpackage", "aimodel")


def rows_of(folder: Path, formats: tuple[Format, ...], photos: int) -> list[dict[str, Any]]:
    """Measure every file of one student."""
    student, rows = read_student(folder), []
    program = load_program(student)
    calibration = calibration_feeds(student, limit=16)
    real = heldout_feeds(student, limit=photos)
    hard = adversarial_feeds(program.inputs, calibration)
    references = reference_outputs(student, [*real, *hard])
    for form in formats:
        with tempfile.TemporaryDirectory() as folder_name:
            place = Workplace(
                student, program, form, Path(folder_name), Path(folder_name), open_session, real, []
            )
            for precision in PRECISIONS:
                path = place.scratch / f"{precision}.{form}"
                place.converter.convert(
                    program,
                    path,
                    precision=precision,
                    recipe=place.converter.recipes(precision)[0],
                    sources=place.sources(),
                )
                found = opened(place, path)
                assert found is not None
                parity = measured(
                    found[0],
                    [*real, *hard],
                    references,
                    inputs=[
                        (a, b.port())
                        for a, b in port_pairs(place.converter, program.inputs, output=False)
                    ],
                    outputs=[
                        (a, b.port())
                        for a, b in port_pairs(place.converter, program.outputs, output=True)
                    ],
                )
                row = {
                    "student": folder.name,
                    "format": form,
                    "precision": precision,
                    "photos_db": round(min(parity.psnr_db[: len(real)]), 1),
                    "photos_max_abs": max(parity.max_abs[: len(real)]),
                }
                for kind, psnr, most in zip(
                    KINDS, parity.psnr_db[len(real) :], parity.max_abs[len(real) :], strict=True
                ):
                    row[f"{kind}_db"], row[f"{kind}_max_abs"] = round(psnr, 1), most
                print(row, flush=True)
                rows.append(row)
    return rows


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("students", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS))
    given = parser.parse_args()
    rows = [
        row
        for folder in given.students
        for row in rows_of(folder, tuple(given.formats), given.photos)
    ]
    write_json(given.out, {"kind": "parity-bars", "photos": given.photos, "rows": rows})


if __name__ == "__main__":
    main()
