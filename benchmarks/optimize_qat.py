"""What `edgekit optimize --qat` gains: the same recipe, the same bytes, before and after training.

    python benchmarks/optimize_qat.py runs/night runs/restorer --out benchmarks/results/optimize_qat.json

Every layer has the same choice; the ONNX files are executed on held-out pictures that neither
calibration nor training saw. `--docs` writes the table of docs/optimize.md anew.
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs/optimize.md"
OPENING, CLOSING = "<!-- qat -->", "<!-- end of qat -->"
CHOICES = ("w4", "w8a8")


def gained(student: Path, choice: str, work: Path, steps: int) -> dict[str, Any]:
    """Make, train, make again; return both measurements."""
    from edgekit.core.store import prepared_folder
    from edgekit.export.optimize.judge import Judge
    from edgekit.export.optimize.plan import LAYERS, Plan
    from edgekit.export.optimize.prepare import prepared
    from edgekit.export.optimize.samples import samples_of
    from edgekit.export.optimize.space import space_of
    from edgekit.export.optimize.tune import RANK, tuned
    from edgekit.export.program import load_program, read_student, reference_outputs
    from edgekit.export.rows import Workplace
    from edgekit.runtime.sessions import open_session

    source = read_student(student)
    samples = samples_of(source)
    program = prepared(load_program(source))
    references = reference_outputs(source, samples.heldout)
    folder = prepared_folder(work / f"{source.facts['name']}-{choice}")
    place = Workplace(
        source, program, "onnx", folder, folder, open_session, samples.heldout, references
    )
    space = space_of(place, samples.calibration)
    layers = {
        layer.name: choice if choice in space.choices(layer) else "w8" for layer in space.layers
    }
    rows = {}
    for how in ("nearest", "gptq"):
        path = folder / f"{how}.onnx"
        space.write(Plan(LAYERS, layers, {"rounding": how}), path)
        rows[how] = Judge(place, False, path).measure(path).values()
    start = time.monotonic()
    made = tuned(program, layers, samples.calibration, steps=steps)
    seconds = time.monotonic() - start
    tuned_folder = prepared_folder(folder / "tuned")
    (tuned_folder / "fp32.onnx").unlink(missing_ok=True)
    after = replace(place, program=made.program, scratch=tuned_folder)
    path = folder / "tuned.onnx"
    space_of(after, samples.calibration).write(Plan(LAYERS, layers, {"rounding": "nearest"}), path)
    rows["qat"] = Judge(after, False, path).measure(path).values()
    return {
        "student": source.facts["name"],
        "choice": choice,
        "steps": steps,
        "rank": RANK,
        "seconds": round(seconds),
        "emulated_mean_squared_error": [made.before, made.after],
        "rows": rows,
    }


def table(result: dict[str, Any]) -> str:
    """Return the gains as a Markdown table."""
    lines = [
        "| student | every layer | kB | to nearest | repaired | fine-tuned | gain |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        nearest, gptq, qat = (row["rows"][name] for name in ("nearest", "gptq", "qat"))
        lines.append(
            f"| {row['student']} | {row['choice']} | {qat['bytes'] / 1000:.0f} "
            f"| {nearest['db']:.1f} dB | {gptq['db']:.1f} dB | {qat['db']:.1f} dB "
            f"| {qat['db'] - gptq['db']:+.1f} dB |"
        )
    steps = result["rows"][0]["steps"]
    return "\n".join([*lines, "", f"{steps} steps; `python benchmarks/optimize_qat.py`."])


def main() -> None:
    """Measure and write, or put the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("students", type=Path, nargs="*")
    parser.add_argument("--work", type=Path, default=Path("runs/optimize_qat"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--choice", action="append", choices=CHOICES)
    parser.add_argument("--out", type=Path, default=HERE / "results/optimize_qat.json")
    parser.add_argument("--docs", action="store_true", help="write the table of the page")
    given = parser.parse_args()
    if given.docs:
        text = PAGE.read_text(encoding="utf-8")
        head, rest = text.split(OPENING)
        made = table(json.loads(given.out.read_text(encoding="utf-8")))
        tail = rest.split(CLOSING)[1]
        PAGE.write_text(f"{head}{OPENING}\n{made}\n{CLOSING}{tail}", encoding="utf-8")
        return
    import torch

    from edgekit.core.store import write_json

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for student in given.students:
        for choice in given.choice or CHOICES:
            rows.append(gained(student, choice, given.work, given.steps))
            write_json(given.out, {"kind": "optimize-qat", "rows": rows})
            print(table({"rows": rows}), flush=True)


if __name__ == "__main__":
    main()
