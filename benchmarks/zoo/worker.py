"""Send modules one after another through an export's own rows, in one process for a format.

A converter is imported once for many modules. Orders come as lines of JSON on standard input,
answers go as lines to a file descriptor; what converters print goes to standard output.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

from edgekit.core.manifest import Format
from edgekit.core.store import prepared_folder
from edgekit.export.records import read_record, record_path
from edgekit.export.worker import Job, work
from edgekit.runtime.sessions import open_session
from zoo.member import Member, write


def rows_of(member: Member, form: Format, precisions: Sequence[str], place: Path) -> str:
    """Make the rows of one module; the records under `place` say what came of each.

    Returns why the rows ended early, "" if they did not.
    """
    student = place.parent / "students" / member.name
    try:
        if not (student / "manifest.json").is_file():
            write(member, student)
        job = Job(
            student=student,
            format=form,
            keys=dict.fromkeys(precisions, "zoo"),  # type: ignore[arg-type]
            out=prepared_folder(place / "out"),
            scratch=place / "scratch",
            open_session="",
            name=member.name,
        )
        work(job, open_session)
    except Exception as error:  # whatever it is, the next module has its turn
        traceback.print_exc()
        return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:300]}"
    return ""


def main(form: Format, answers: int, *, rewrites: bool, members: dict[str, Member]) -> None:
    """Serve orders until standard input ends."""
    warnings.filterwarnings("ignore")
    if not rewrites:
        from edgekit.export import rewrites as table

        table.FOR.clear()
    with os.fdopen(answers, "w", encoding="utf-8") as stream:
        for line in sys.stdin:
            order = json.loads(line)
            said = rows_of(
                members[order["module"]], form, order["precisions"], Path(order["place"])
            )
            stream.write(json.dumps({"error": said}) + "\n")
            stream.flush()


def records_of(place: Path, form: Format, precisions: Sequence[str]) -> dict[str, object]:
    """Return precision -> record, of those that were written under `place`."""
    found = {p: read_record(record_path(place / "out", form, p)) for p in precisions}  # type: ignore[arg-type]
    return {precision: record for precision, record in found.items() if record is not None}
