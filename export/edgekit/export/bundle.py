"""From a student folder to a bundle: every file made, executed, compared, and only then listed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from edgekit.core.errors import BadInput, ParityFailed, QualityFailed, TargetUnsupported
from edgekit.core.manifest import (
    BundleManifest,
    Format,
    PartEntry,
    Refusal,
    read_bundle,
    write_bundle,
)
from edgekit.core.progress import Report, silent
from edgekit.core.seams import EVERY_PRECISION, PRECISIONS, OpenSession, Precision
from edgekit.core.store import (
    MANIFEST,
    file_sha256,
    locked,
    prepared_folder,
    read_json,
    value_sha256,
)
from edgekit.core.versions import edgekit_version
from edgekit.export.cache import Cache
from edgekit.export.entries import (
    adapter_input,
    adapters,
    assets,
    encoder_sha256,
    file_name,
    form_of,
    golden,
    kept_concepts,
    licences,
    mesh,
    numbers,
    student_entry,
)
from edgekit.export.parts import exported_part, parts_of
from edgekit.export.processes import TIMEOUT_S, run_jobs
from edgekit.export.program import (
    CALIBRATION,
    HELDOUT,
    Student,
    calibration_feeds,
    heldout_feeds,
    read_student,
)
from edgekit.export.records import FAILED, Record, read_record, record_path, stands
from edgekit.export.targets import (
    DEFAULT,
    FORMATS,
    Options,
    Row,
    checked_options,
    options_of,
    tool_versions,
    wanted_rows,
)
from edgekit.export.worker import Job, reference_of

MADE_BY = "export-2"
"""Counts up when the same student would give other files, so that old ones are not reused."""
SCRATCH = ".work"


def export_student(
    student: Path,
    targets: Sequence[str],
    out: Path,
    *,
    open_session: OpenSession,
    precisions: Sequence[str] = PRECISIONS,
    options: Options = DEFAULT,
    report: Report = silent,
    isolated: bool = True,
    timeout_s: float = TIMEOUT_S,
    cache: Cache | None = None,
) -> BundleManifest:
    """Write the bundle of the student in the folder `student` to `out` and return its manifest.

    Each file is executed with `open_session` and compared with PyTorch on held-out samples. Files
    that are there already and were made from the same student by the same tools stay; targets
    exported earlier stay in the bundle. With `isolated` each converter runs in a process of its
    own, for which `open_session` must be importable by name, and at most `timeout_s` seconds. Files
    that `cache` holds are copied from there and new ones into it. The student's parts are exported
    first, each to a bundle inside this one.

    Raises EdgekitError for an unknown target or precision, DependencyMissing for a target whose
    packages are not installed, BadInput for a bad student, OutputError for a bad place, all before
    any work; ParityFailed or QualityFailed if a file is not what it should be (it is kept under
    ``failed/``, finished files are kept for the next run), TargetUnsupported if a target ends
    without any file or its converter died.
    """
    wanted = wanted_rows(targets, precisions)
    checked_options(options)
    source = read_student(student)
    heldout_feeds(source, limit=1)  # both files are checked before any work
    calibration_feeds(source, limit=1)
    recipe, parts = _recipe(source), parts_of(source, options)
    prepared_folder(out)

    def part(folder: Path, place: Path) -> BundleManifest:
        return export_student(
            folder,
            targets,
            place,
            open_session=open_session,
            precisions=precisions,
            options=options,
            report=report,
            isolated=isolated,
            timeout_s=timeout_s,
            cache=cache,
        )

    with locked(out):
        _check_replaceable(out)
        made = tuple(exported_part(name, out, partial(part, at)) for name, at in parts.items())
        done = _finished(out, recipe, options, wanted)
        if done is not None and (done.form, done.parts) == (form_of(source), made):
            return done
        _keep_whole(out, made)
        judge = reference_of(open_session) or ""
        if cache is not None:
            for row in wanted:
                if _record(out, recipe, options, row) is None:
                    cache.fetch(row, row_key(recipe, row, options), judge, out)
        jobs = _jobs(source, recipe, options, wanted, out)
        try:
            run_jobs(jobs, open_session, report=report, isolated=isolated, timeout_s=timeout_s)
        finally:
            shutil.rmtree(out / SCRATCH, ignore_errors=True)
            if cache is not None:
                for row in wanted:
                    if (record := _record(out, recipe, options, row)) is not None:
                        cache.keep(record, judge, out)
        return _assembled(source, recipe, wanted, out, made)


def _keep_whole(out: Path, parts: tuple[PartEntry, ...]) -> None:
    """Let a bundle that was finished before name its parts as they are now, whatever comes next."""
    if (out / MANIFEST).is_file():
        before = read_bundle(out)
        if before.parts != parts:
            write_bundle(out, before.model_copy(update={"parts": parts}))


def _recipe(student: Student) -> str:
    """Hash everything but the tools that decides what the bundle holds."""
    names = (HELDOUT, CALIBRATION, *(student.facts.get("assets") or {}).values())
    files = {name: file_sha256(student.folder / name) for name in names}
    return value_sha256(
        {
            "made_by": MADE_BY,
            "student": student.sha256,
            "recipe": student.facts["recipe_sha256"],
            "name": student.facts["name"],
            "files": files,
        }
    )


def row_key(recipe: str, row: Row, options: Options) -> str:
    """Hash all that decides the bytes of one file."""
    asked = options_of(row[0], options)
    value = {"recipe": recipe, "row": list(row), "tools": tool_versions(row[0])}
    return value_sha256({**value, "options": asked} if asked else value)


def _record(out: Path, recipe: str, options: Options | None, row: Row) -> Record | None:
    """Return the record of a file that need not be made again; None asks for the record's own."""
    record = read_record(record_path(out, *row))
    if record is None:
        return None
    key = row_key(recipe, row, options or record.options)
    return record if stands(record, key, out) else None


def _finished(
    out: Path, recipe: str, options: Options, wanted: Sequence[Row]
) -> BundleManifest | None:
    """Return the manifest of `out` if it holds all of `wanted` already.

    A manifest of another student is removed: from here on the folder is unfinished.
    """
    if not (out / MANIFEST).is_file():
        return None
    try:
        found = read_bundle(out)
    except BadInput:
        (out / MANIFEST).unlink()
        return None
    if found.recipe_sha256 != recipe:
        (out / MANIFEST).unlink()
        return None
    listed = {(model.format, model.precision) for model in found.models}
    listed |= {(refusal.format, refusal.precision) for refusal in found.refused}
    vectors = out / found.golden.path
    intact = vectors.is_file() and file_sha256(vectors) == found.golden.sha256
    kept = all(row in listed and _record(out, recipe, options, row) is not None for row in wanted)
    return found if intact and kept else None


def _check_replaceable(out: Path) -> None:
    """Refuse to write a bundle over something else, such as the student itself."""
    value = read_json(out / MANIFEST) if (out / MANIFEST).is_file() else None
    if isinstance(value, dict) and value.get("kind") not in (None, "bundle"):
        raise BadInput(f"{out} holds a {value['kind']}, not a bundle", hint="choose another --out")


def _jobs(
    student: Student, recipe: str, options: Options, wanted: Sequence[Row], out: Path
) -> list[Job]:
    """Return what is left to be made, one job a format; what failed before is cleared away."""
    name = file_name(str(student.facts["name"]))
    missing = [row for row in wanted if _record(out, recipe, options, row) is None]
    shutil.rmtree(out / FAILED, ignore_errors=True)
    shutil.rmtree(out / SCRATCH, ignore_errors=True)
    jobs = []
    for form in dict.fromkeys(form for form, _ in missing):
        keys: dict[Precision, str] = {
            kind: row_key(recipe, (form, kind), options) for other, kind in missing if other == form
        }
        for kind in keys:
            record_path(out, form, kind).unlink(missing_ok=True)
        jobs.append(
            Job(
                student=student.folder.resolve(),
                format=form,
                keys=keys,
                out=out.resolve(),
                scratch=(out / SCRATCH / form).resolve(),
                open_session="",
                name=name,
                options=options,
            )
        )
    return jobs


def mixed_key(student: Student, form: Format) -> str:
    """Return the key under which the record of a file of mixed precision stays valid."""
    return row_key(_recipe(student), (form, "mixed"), DEFAULT)


def list_mixed(student: Student, form: Format, out: Path) -> BundleManifest:
    """Write the manifest of a finished bundle anew, now with the file of mixed precision."""
    with locked(out):
        parts = read_bundle(out).parts
        return _assembled(student, _recipe(student), [(form, "mixed")], out, parts)


def _assembled(
    student: Student, recipe: str, wanted: Sequence[Row], out: Path, parts: tuple[PartEntry, ...]
) -> BundleManifest:
    """Judge the records and, if all is well, write the manifest."""
    records = [Record.model_validate(read_json(record_path(out, *row))) for row in wanted]
    _raise_failures(records, out)
    every = [
        record
        for form in FORMATS
        for kind in EVERY_PRECISION
        if (record := _listed(out, recipe, (form, kind), wanted)) is not None
    ]
    manifest = BundleManifest(
        recipe_sha256=recipe,
        name=str(student.facts["name"]),
        prompt=str(student.facts.get("prompt", "")),
        edgekit=edgekit_version(),
        form=form_of(student),
        student=student_entry(student),
        models=tuple(record.model for record in every if record.model is not None),
        refused=tuple(
            Refusal(
                target=FORMATS[record.format].target,
                format=record.format,
                precision=record.precision,
                reason=record.reason,
            )
            for record in every
            if record.model is None
        ),
        golden=golden(student, out),
        adapters=adapters(student, out),
        adapter_input=adapter_input(student),
        concepts=kept_concepts(recipe, out),
        parts=parts,
        assets=assets(student, out),
        encoder_sha256=encoder_sha256(student),
        mesh=mesh(student),
        licences=licences(student),
        quality=numbers(student.facts.get("quality", {})),
    )
    return write_bundle(out, manifest)


def _listed(out: Path, recipe: str, row: Row, wanted: Sequence[Row]) -> Record | None:
    if row in wanted:
        return Record.model_validate(read_json(record_path(out, *row)))
    try:
        return _record(out, recipe, None, row)
    except Exception:  # a target whose tools are gone: its old files are not vouched for
        return None


def _raise_failures(records: Sequence[Record], out: Path) -> None:
    for status, error in (("parity", ParityFailed), ("quality", QualityFailed)):
        failed = [record for record in records if record.status == status]
        if failed:
            target = FORMATS[failed[0].format].target
            kept = f"{out / FAILED / target}"
            raise error(
                "; ".join(f"{_title(record)} {record.reason}" for record in failed),
                hint=f"the file is kept in {kept}, all others are finished; "
                f"leave out --target {target} to ship those",
            )
    for target in dict.fromkeys(FORMATS[record.format].target for record in records):
        mine = [record for record in records if FORMATS[record.format].target == target]
        if all(record.model is None for record in mine):
            raise TargetUnsupported(
                f"no file of the target {target} could be made: "
                + "; ".join(f"{_title(record)} {record.reason}" for record in mine),
                hint=f"see {out / 'logs'}, or leave out --target {target}",
            )


def _title(record: Record) -> str:
    return f"{FORMATS[record.format].target}: {record.format} {record.precision}"
