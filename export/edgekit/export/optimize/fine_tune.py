"""The step behind `--qat`: when rounding alone misses the bar, the student learns to be rounded."""

from __future__ import annotations

import time
from dataclasses import replace

from edgekit.core.progress import Report, silent
from edgekit.core.store import prepared_folder, write_json
from edgekit.export.optimize.front import Limits, Row
from edgekit.export.optimize.judge import Judge
from edgekit.export.optimize.plan import LAYERS, Plan
from edgekit.export.optimize.run import JUDGED, TRIALS, Found, save
from edgekit.export.optimize.samples import JUDGED_SAMPLES, samples_of
from edgekit.export.optimize.search import Table
from edgekit.export.optimize.space import space_of
from edgekit.export.optimize.tune import RANK, STEPS, tuned

FACTS = "qat.json"


def fine_tuned(
    found: Found, limits: Limits, *, steps: int = STEPS, report: Report = silent
) -> Found:
    """Fine-tune the candidate by layer that is nearest to the limits, and measure its file.

    The new candidate has the same choice for each layer, so the same bytes; its row joins the
    others. What was gained stands in ``qat.json``, also if it is nothing.
    """
    rows = [row for row in found.rows if row.plan.back_end == LAYERS and row.measured is not None]
    if not rows:
        return found
    row = found.best or min(rows, key=lambda row: limits.distance(row.measured))  # type: ignore[arg-type]
    if row.plan.back_end != LAYERS:
        row = min(rows, key=lambda row: limits.distance(row.measured))  # type: ignore[arg-type]
    place = found.place
    samples = samples_of(place.student, judged=JUDGED.get(found.form, JUDGED_SAMPLES))
    table = Table(found.folder / TRIALS)
    trained = f"{steps} steps, rank {RANK}"
    options = {**row.plan.options, "rounding": "nearest", "fine-tuned": trained}
    plan = Plan(LAYERS, row.plan.layers, options)
    known = table.find(plan)
    if known is None:
        start = time.monotonic()
        made = tuned(
            place.program, row.plan.layers, samples.calibration, steps=steps, report=report
        )
        scratch = prepared_folder(found.folder / "qat")
        for old in scratch.iterdir():
            if old.is_file():
                old.unlink()
        work = replace(place, program=made.program, scratch=scratch)
        space = space_of(work, samples.calibration)
        judge = Judge(work, bool(space.times), work.sources().made("fp32"))
        path = found.folder / "files" / f"{plan.key}.{found.form}"
        words = space.write(plan, path)
        measured = judge.measure(path)
        known = Row(len(table.rows), plan, words, measured, time.monotonic() - start)
        table.add(known)
        assert row.measured is not None
        write_json(
            found.folder / FACTS,
            {
                "from": row.number,
                "to": known.number,
                "steps": steps,
                "rank": RANK,
                "mean_squared_error": [made.before, made.after],
                "db": [row.measured.db, measured.db],
                "worst_db": [row.measured.worst_db, measured.worst_db],
                "bytes": [row.measured.bytes, measured.bytes],
            },
        )
    return save(place, samples, found.folder, table.rows, limits, found.reason)
