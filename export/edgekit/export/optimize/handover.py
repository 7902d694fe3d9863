"""The file that a search chose becomes a file of the bundle, in the precision ``mixed``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgekit.core.errors import QualityFailed
from edgekit.core.manifest import BundleManifest
from edgekit.core.progress import Report, silent
from edgekit.core.seams import OpenSession
from edgekit.core.store import MANIFEST, write_json
from edgekit.export.bundle import export_student, list_mixed, mixed_key
from edgekit.export.entries import file_name
from edgekit.export.optimize.run import Found
from edgekit.export.parity import missed_bar
from edgekit.export.records import Record, record_path
from edgekit.export.rows import Outcome, parity_of, shipped
from edgekit.export.targets import FORMATS


def into_bundle(
    found: Found, bundle: Path, *, open_session: OpenSession, report: Report = silent
) -> BundleManifest:
    """Put the chosen file into `bundle` and return its manifest; a bundle is made if there is none.

    The file is executed once more where it lies in the end. Raises QualityFailed if nothing was
    chosen or the bundle's own bar is missed, and what `export_student` raises.
    """
    assert found.best is not None
    student, form = found.place.student, found.form
    target = FORMATS[form].target
    export_student(
        student.folder,
        [target],
        bundle,
        open_session=open_session,
        precisions=("fp32",) if not (bundle / MANIFEST).is_file() else _present(bundle, target),
        report=report,
    )
    place = replace(found.place, out=bundle)
    parity = parity_of(place, found.file)
    if parity and (reason := missed_bar(parity, "mixed", levels=place.in_levels)):
        raise QualityFailed(
            f"the chosen {form} file {reason}", hint="ask for more with --min-db, or see front.json"
        )
    words = "; ".join([found.best.words, *(f"note: {note}" for note in found.warnings)])
    outcome = Outcome("shipped", "", found.file, words, parity)
    record = Record(
        key=mixed_key(student, form),
        format=form,
        precision="mixed",
        status="shipped",
        model=shipped(place, "mixed", outcome, file_name(str(student.facts["name"]))),
    )
    write_json(record_path(bundle, form, "mixed"), record.model_dump(mode="json"))
    return list_mixed(student, form, bundle)


def _present(bundle: Path, target: str) -> tuple[str, ...]:
    """Return the precisions of `target` that a bundle has, so that nothing is made anew."""
    from edgekit.core.errors import BadInput
    from edgekit.core.manifest import read_bundle

    try:
        models = read_bundle(bundle).models
    except BadInput:
        return ("fp32",)
    kept = {model.precision for model in models if model.target == target} - {"mixed"}
    return tuple(sorted(kept)) or ("fp32",)
