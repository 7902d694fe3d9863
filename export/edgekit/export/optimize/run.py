"""The step behind `edgekit optimize`: a search for one format, kept in a folder of the run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgekit.core.errors import BadInput, QualityFailed
from edgekit.core.manifest import Format
from edgekit.core.progress import Report, silent
from edgekit.core.seams import OpenSession
from edgekit.core.store import (
    locked,
    prepared_folder,
    read_json,
    size_bytes,
    value_sha256,
    write_bytes,
    write_json,
)
from edgekit.export.optimize.front import (
    Limits,
    Row,
    as_json,
    chosen,
    front,
    leading,
    nearest,
    picture,
    score,
    warnings_about,
)
from edgekit.export.optimize.judge import Judge
from edgekit.export.optimize.layers import layers_of
from edgekit.export.optimize.prepare import prepared
from edgekit.export.optimize.samples import JUDGED_SAMPLES, Samples, samples_of
from edgekit.export.optimize.search import Proposer, Table, evaluate, in_order, search
from edgekit.export.optimize.sensitivity import Sensitivity, measured_alone, ranked_plans
from edgekit.export.optimize.space import Space, space_of
from edgekit.export.program import load_program, read_student, reference_outputs
from edgekit.export.rows import Workplace
from edgekit.export.targets import tool_versions

MADE_BY = "optimize-1"
"""Counts up when equal plans would give other files or other numbers."""
FRONT, PICTURE, TRIALS, JOURNAL, ALONE, SETTINGS = (
    "front.json",
    "front.svg",
    "trials.jsonl",
    "journal.log",
    "sensitivity.json",
    "settings.json",
)
WARM_STARTS = 16
LEAST = 4
"""Candidates that are measured however short the budget is: two float files, two by layer."""
CONFIRMED = 5
"""Leading candidates that are timed again in the end."""
JUDGED: dict[Format, int] = {"aimodel": 2}
"""Held-out pictures of a format whose interpreter needs seconds for each; 8 of any other."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found for one format."""

    form: Format
    folder: Path
    rows: tuple[Row, ...]
    best: Row | None
    closest: Row | None
    warnings: tuple[str, ...]
    place: Workplace
    reason: str
    """Why the search ended."""

    @property
    def file(self) -> Path:
        """The chosen file; ValueError if nothing was chosen."""
        if self.best is None:
            raise ValueError("no candidate keeps the limits")
        return self.folder / "files" / f"{self.best.plan.key}.{self.form}"


def optimize(
    student: Path,
    form: Format,
    folder: Path,
    *,
    open_session: OpenSession,
    budget_s: float,
    limits: Limits,
    trials: int | None = None,
    seed: int = 0,
    report: Report = silent,
) -> Found:
    """Search the precision of each layer of one format's file and return what was found.

    `folder` keeps every measurement; a second run with the same student, samples and tools goes on
    where the first one stopped, and only the time that is left of `budget_s` is spent. `trials`
    bounds the candidates. Raises BadInput for a bad student, TargetUnsupported for a format without
    choices, OutputError if `folder` cannot be written.
    """
    source = read_student(student)
    samples = samples_of(source, judged=JUDGED.get(form, JUDGED_SAMPLES))
    prepared_folder(folder)
    with locked(folder):
        settings = {
            "made_by": MADE_BY,
            "student": source.sha256,
            "format": form,
            "calibration": samples.calibration_sha256,
            "heldout": samples.heldout_sha256,
            "tools": tool_versions(form),
            "seed": seed,
        }
        _same_search(folder, settings)
        work = prepared_folder(folder / "source")
        program = prepared(load_program(source))
        place = Workplace(
            source,
            program,
            form,
            folder,
            work,
            open_session,
            samples.heldout,
            reference_outputs(source, samples.heldout),
        )
        return _searched(place, samples, folder, budget_s, limits, trials, seed, report)


def _same_search(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep what was measured for the same settings; put anything else aside."""
    path = folder / SETTINGS
    if path.is_file():
        try:
            if read_json(path) == dict(settings):
                return
        except BadInput:
            pass
        aside = folder / f"before-{value_sha256(path.read_text(encoding='utf-8'))[:8]}"
        aside.mkdir(exist_ok=True)
        for name in (FRONT, PICTURE, TRIALS, JOURNAL, ALONE, SETTINGS):
            if (folder / name).exists():
                (folder / name).replace(aside / name)
        for name in ("files", "source"):
            shutil.rmtree(folder / name, ignore_errors=True)
    write_json(path, dict(settings))


def _searched(
    place: Workplace,
    samples: Samples,
    folder: Path,
    budget_s: float,
    limits: Limits,
    trials: int | None,
    seed: int,
    report: Report,
) -> Found:
    table = Table(folder / TRIALS)
    kept = read_json(folder / ALONE) if (folder / ALONE).is_file() else {}
    spent = float(kept.get("seconds", 0.0)) + sum(row.seconds for row in table.rows)
    start = time.monotonic()
    space = space_of(place, samples.calibration)
    files = prepared_folder(folder / "files")
    judge = Judge(place, bool(space.times), place.sources().made("fp32"))
    alone = _alone(place, space, judge, samples, folder, kept, report)
    float_bytes = 4.0 * sum(layer.elements for layer in layers_of(place.program))
    fixed = max(0.0, size_bytes(judge.float_file) - 4.0 * sum(x.elements for x in space.layers))
    warm = ranked_plans(
        space,
        alone,
        partial(_limited, limits=limits, float_bytes=float_bytes + fixed),
        fixed_bytes=fixed,
        most=WARM_STARTS,
    )
    known = in_order(warm, space.presets())

    def over() -> str | None:
        if trials is not None and len(table.rows) >= trials:
            return f"{trials} candidates were measured"
        used = spent + time.monotonic() - start
        if used >= budget_s and len(table.rows) >= LEAST:  # the shortest search gives something
            return f"the budget of {budget_s:.0f} s is spent"
        return None

    def saved() -> None:
        save(place, samples, folder, table.rows, limits, "")
        note = f"{len(table.rows)} candidates, {_told(table.rows, limits)}"
        used = spent + time.monotonic() - start
        done, total = (len(table.rows), trials) if trials else (int(used), int(budget_s))
        report("optimize", min(done, total), total, note)

    proposer = Proposer(folder / JOURNAL, space, timed=bool(space.times), seed=seed)
    reason = search(
        known,
        proposer,
        table,
        lambda plan: evaluate(plan, table, space, judge, files),
        over,
        saved,
    )
    if judge.timed and reason:
        _confirm(table, judge, files, limits)
    return save(place, samples, folder, table.rows, limits, reason)


def _confirm(table: Table, judge: Judge, files: Path, limits: Limits) -> None:
    """Time the leading candidates again, side by side: a few busy calls may not decide."""
    rows = [
        row
        for row in leading(table.rows, limits, CONFIRMED)
        if (files / f"{row.plan.key}.{judge.place.form}").exists()
    ]
    if not rows:
        return
    times, reference = judge.timed_again(
        [files / f"{row.plan.key}.{judge.place.form}" for row in rows]
    )
    table.replace(
        [
            replace(row, measured=replace(row.measured, ms=ms, float_ms=reference))
            for row, ms in zip(rows, times, strict=True)
            if row.measured is not None
        ]
    )


def _limited(
    size_bytes: float, db: float, speed: float, *, limits: Limits, float_bytes: float
) -> float:
    """Score a prediction; one that should miss a limit comes after all that should keep them."""
    value = score(size_bytes, db, speed, float_bytes=float_bytes)
    if db < limits.min_db + 1 or (limits.max_bytes and size_bytes > limits.max_bytes):
        value -= 100
    return value


def _alone(
    place: Workplace,
    space: Space,
    judge: Judge,
    samples: Samples,
    folder: Path,
    kept: Mapping[str, Any],
    report: Report,
) -> Sensitivity:
    start = time.monotonic()
    before = float(kept.get("seconds", 0.0))

    def save(found: Mapping[str, Mapping[str, float]]) -> None:
        seconds = round(before + time.monotonic() - start, 2)
        write_json(folder / ALONE, {"seconds": seconds, "mean_squared_error": found})

    return measured_alone(
        place,
        space,
        space.rounding,
        judge,
        samples.calibration,
        scratch=prepared_folder(folder / "source"),
        known=kept.get("mean_squared_error", {}),
        save=save,
        report=report,
    )


def _told(rows: Sequence[Row], limits: Limits) -> str:
    best = chosen(rows, limits)
    if best is None or best.measured is None:
        return "nothing keeps the limits yet"
    found = best.measured
    speed = f", {found.speed:.1f}x" if found.ms is not None else ""
    return f"best {found.bytes / 1000:.0f} kB, {found.db:.1f} dB{speed}"


def save(
    place: Workplace,
    samples: Samples,
    folder: Path,
    rows: Sequence[Row],
    limits: Limits,
    reason: str,
) -> Found:
    """Write the front and its picture, delete files that nothing needs, return what was found."""
    best, closest = chosen(rows, limits), nearest(rows, limits)
    on_front = front(rows)
    notes = tuple(warnings_about(best, rows)) if best else ()
    form = place.form
    write_json(
        folder / FRONT,
        {
            "kind": "optimize",
            "format": form,
            "student": {"sha256": place.student.sha256, "name": place.student.facts["name"]},
            "samples": {
                "calibration": len(samples.calibration),
                "calibration_sha256": samples.calibration_sha256,
                "heldout": len(samples.heldout),
                "heldout_sha256": samples.heldout_sha256,
                "dropped": samples.dropped,
            },
            "limits": {
                "min_db": limits.min_db,
                "max_bytes": limits.max_bytes,
                "max_ms": limits.max_ms,
            },
            "chosen": best.number if best else None,
            "nearest": closest.number if closest else None,
            "warnings": list(notes),
            "front": [row.number for row in on_front],
            "ended": reason,
            "rows": [as_json(row) for row in rows],
        },
    )
    title = f"{place.student.facts['name']}: {form}, {len(rows)} candidates"
    if drawn := picture(rows, best, limits, title):
        write_bytes(folder / PICTURE, drawn.encode())
    kept = [*on_front, *leading(rows, limits, CONFIRMED), *(row for row in (best, closest) if row)]
    needed = {row.plan.key for row in kept}
    for path in (folder / "files").glob(f"*.{form}"):
        if path.stem not in needed:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Found(form, folder, tuple(rows), best, closest, notes, place, reason)


def missed_all(found: Found, limits: Limits) -> QualityFailed:
    """Return the error that says which limit nothing met, and the nearest candidate."""
    if found.closest is None or found.closest.measured is None:
        problems = {row.problem for row in found.rows if row.problem}
        return QualityFailed(
            f"no candidate could be made and run: {'; '.join(sorted(problems)) or found.reason}",
            hint=f"see {found.folder / FRONT}, or give --budget more time",
        )
    row, near = found.closest, found.closest.measured
    time_ms = f", {near.ms:.2f} ms" if near.ms is not None else ""
    return QualityFailed(
        f"none of {sum(r.works for r in found.rows)} candidates keeps every limit; the nearest "
        f"({row.plan.back_end}, {near.bytes:,} bytes, {near.db:.1f} dB{time_ms}) has "
        + " and ".join(limits.missed(near)),
        hint=f"loosen that limit, try --qat, or give more --budget; all are in "
        f"{found.folder / FRONT}",
    )
