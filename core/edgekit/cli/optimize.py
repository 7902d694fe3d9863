"""``edgekit optimize``: the best precision of each layer, found by measuring, under a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgekit.cli.common import ConsoleReport, latest_run, note, planned, show
from edgekit.core.errors import EdgekitError

if TYPE_CHECKING:
    from edgekit.export.optimize.run import Found

app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def optimize(
    run: Path | None = typer.Argument(
        None, help="Student folder of `edgekit distill`; default: the one in runs/ made last."
    ),
    target: str = typer.Option(
        "onnx", help="onnx, android, ios, openvino or executorch; ios has --form."
    ),
    form: str | None = typer.Option(
        None, help="File format of the target, where it has several: mlpackage or aimodel."
    ),
    budget: str = typer.Option("10m", help="Time for the search, like 90s, 10m or 1h."),
    max_bytes: int | None = typer.Option(None, help="Most bytes of the file."),
    max_ms: float | None = typer.Option(
        None, help="Most CPU milliseconds of a call here, one thread (onnx, android, openvino)."
    ),
    min_db: float = typer.Option(40.0, help="Least decibels on the worst held-out picture."),
    trials: int | None = typer.Option(None, help="Most candidates; by default time decides."),
    seed: int = typer.Option(0, help="Decides what the estimator proposes."),
    qat: bool = typer.Option(
        False,
        "--qat",
        help="If nothing keeps the limits, fine-tune the student to the nearest recipe.",
    ),
    out: Path | None = typer.Option(
        None, help="Bundle folder that the best file is put into.", show_default="RUN/bundle"
    ),
    rules: bool = typer.Option(
        False, "--rules", help="Print the combinations that are never tried, and why."
    ),
) -> None:
    """Find the best precision for each layer of a student's file by measuring candidates.

    Every candidate is made, executed on held-out pictures and timed beside the float32 file. The
    best one under the limits goes into the bundle as precision `mixed`; exit code 6 if none keeps
    them. RUN/optimize/ keeps every measurement: a search that was killed goes on, and one with
    other limits starts from what is known.

    Example: edgekit optimize runs/night --target onnx --budget 10m --max-bytes 800000
    """
    if rules:
        from edgekit.export.optimize.rules import RULES, table

        show({"rules": [entry.values() for entry in RULES]}, table())
        return
    from edgekit.distill.search.settings import seconds_of

    student = run or latest_run()
    chosen = _format(target, form)
    budget_s = seconds_of(budget)
    folder, bundle = student / "optimize" / chosen, out or student / "bundle"
    plan = {"student": student, "format": chosen, "search": folder, "budget_s": budget_s}
    plan |= {"max_bytes": max_bytes, "max_ms": max_ms, "min_db": min_db, "out": bundle, "qat": qat}
    if planned(plan):
        return
    from edgekit.export.optimize.front import Limits
    from edgekit.export.optimize.handover import into_bundle
    from edgekit.export.optimize.run import missed_all
    from edgekit.export.optimize.run import optimize as search
    from edgekit.runtime.sessions import open_session

    limits = Limits(min_db, max_bytes, max_ms)
    found = search(
        student,
        chosen,  # type: ignore[arg-type]
        folder,
        open_session=open_session,
        budget_s=budget_s,
        limits=limits,
        trials=trials,
        seed=seed,
        report=ConsoleReport(),
    )
    if found.best is None and qat:
        from edgekit.export.optimize.fine_tune import fine_tuned

        found = fine_tuned(found, limits, report=ConsoleReport())
    _tell_front(found)
    if found.best is None:
        raise missed_all(found, limits)
    into_bundle(found, bundle, open_session=open_session, report=ConsoleReport())
    _tell(found, bundle)


def _format(target: str, form: str | None) -> str:
    """Return the file format to search; EdgekitError for a name that is not in a table."""
    from edgekit.core.errors import unknown_name
    from edgekit.export.optimize.space import MODULES
    from edgekit.export.targets import TARGETS, checked_targets

    if target in ("all", "web"):
        raise EdgekitError(
            f"{target} stands for several targets", hint="optimize one of them after the other"
        )
    (named,) = checked_targets([target])
    forms = [name for name in TARGETS[named] if name in MODULES]
    if not forms:
        raise EdgekitError(
            f"the files of {target} have one precision each, nothing can be chosen by layer",
            hint=f"optimize one of: {', '.join(sorted({t for t in TARGETS if _has(t)}))}",
        )
    if form is None:
        return forms[0]
    if form not in forms:
        raise unknown_name(f"format of {target}", form, forms)
    return form


def _has(target: str) -> bool:
    from edgekit.export.optimize.space import MODULES
    from edgekit.export.targets import FORMATS

    return any(FORMATS[form].target == target for form in MODULES if form in FORMATS)


def _tell_front(found: Found) -> None:
    """Say on stderr what was measured and what failed."""
    problems = [row for row in found.rows if row.problem]
    note(f"{len(found.rows)} candidates in {found.folder}; {found.reason}")
    for row in problems[:5]:
        note(f"not possible: {row.plan.back_end}: {row.problem}")


def _tell(found: Found, bundle: Path) -> None:
    assert found.best is not None
    best = found.best.measured
    assert best is not None
    time_ms = "" if best.ms is None else f", {best.ms:.2f} ms ({best.speed:.2f} times float32)"
    flip = "" if best.flip is None else f", FLIP {best.flip:.4f}"
    lines = [
        f"chosen: {best.bytes:,} bytes, {best.db:.1f} dB "
        f"(worst picture {best.worst_db:.1f}){flip}{time_ms}",
        f"recipe: {found.best.words}",
        *(f"note: {warning}" for warning in found.warnings),
        f"front: {found.folder / 'front.svg'}; bundle: {bundle}",
    ]
    data = {
        "chosen": found.best.number,
        "measured": best.values(),
        "recipe": found.best.words,
        "warnings": list(found.warnings),
        "front": found.folder / "front.json",
        "bundle": bundle,
    }
    show(data, "\n".join(lines))
