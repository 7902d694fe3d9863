"""``edgekit check``: which unit of a phone would run each part of a student, before any export."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgekit.cli.common import latest_run, planned, show

if TYPE_CHECKING:
    from edgekit.export.placement.check import Placement

app = typer.Typer(rich_markup_mode=None, add_completion=False)
SHOWN = 12
"""Lines a unit and format; --json has all."""


@app.command()
def check(
    run: Path | None = typer.Argument(
        None, help="Student folder of `edgekit distill`; default: the one in runs/ made last."
    ),
    target: list[str] = typer.Option(
        ["all"], help="Platform, give it once for each, or all (nothing needs to be installed)."
    ),
    precision: str = typer.Option("fp16", help="fp32, fp16 or int8."),
    require: str | None = typer.Option(
        None, help="End with 6 unless this unit runs everything: npu, gpu, xnnpack or cpu."
    ),
) -> None:
    """Say for each operator which units run it, by published tables; nothing is converted.

    Example: edgekit check runs/night --target ios --require npu
    """
    from edgekit.export.targets import FORMATS, checked_precisions, named_targets  # no torch

    targets = named_targets(target)
    kind = checked_precisions([precision])[0]
    run = run or latest_run()
    forms = [form.name for form in FORMATS.values() if form.target in targets]
    if planned({"command": "check", "student": run, "formats": forms, "precision": kind}):
        return
    from edgekit.export.placement.check import check as checked
    from edgekit.export.placement.check import require as required
    from edgekit.export.program import load_program, read_student

    warnings.filterwarnings("ignore", category=FutureWarning)  # torch's own, on loading
    found = checked(load_program(read_student(run)), forms, precision=kind)
    show({"student": run, "placements": [row.values() for row in found]}, _table(found))
    if require is not None:
        required(found, require)


def _table(found: list[Placement]) -> str:
    lines = []
    for row in found:
        if not row.runs:
            lines.append(f"{row.target} {row.form} {row.precision}: no table is published")
            continue
        units = ", ".join(f"{unit} {count}/{row.operators}" for unit, count in row.runs.items())
        lines.append(f"{row.target} {row.form} {row.precision}: {units}")
        if row.rewrites:
            lines.append(f"  {row.rewrites}")
        for unit in row.runs:
            mine = [refusal for refusal in row.refused if refusal.unit == unit]
            lines += _lines(unit, [(r.path, r.operator, r.reason, r.advice) for r in mine])
    return "\n".join(lines)


def _lines(unit: str, rows: list[tuple[str, str, str, str]]) -> list[str]:
    """Return one line a reason, with the modules that it is about."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for path, operator, reason, advice in rows:
        said = reason + (f"; {advice}" if advice else "")
        reasons.setdefault((operator, said), []).append(path)
    lines = []
    for (operator, said), paths in list(reasons.items())[:SHOWN]:
        where = ", ".join(dict.fromkeys(paths[:3])) + (" ..." if len(paths) > 3 else "")
        lines.append(f"  not on {unit}: {len(paths)} x {operator} ({where}): {said}")
    if len(reasons) > SHOWN:
        lines.append(f"  not on {unit}: {len(reasons) - SHOWN} more reasons, see --json")
    return lines
