"""One format's files: convert, check, execute, compare, ship or refuse, one record a file.

A record is written after its file, so a run that was killed continues behind the last one.
"""

from __future__ import annotations

import errno
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np

from edgekit.core.engines import FINGERPRINT, read_fingerprint
from edgekit.core.errors import DependencyMissing, EdgekitError, TargetUnsupported
from edgekit.core.manifest import Format, ModelEntry, PortEntry
from edgekit.core.seams import OpenSession, Port, Precision, Session
from edgekit.core.store import file_sha256, prepared_folder, size_bytes, write_json
from edgekit.core.tensors import Batch
from edgekit.export.adversarial import with_extremes
from edgekit.export.cache import copied, removed
from edgekit.export.causes import in_one_line
from edgekit.export.first_bad_layer import first_bad_layer
from edgekit.export.judgement import judged
from edgekit.export.parity import (
    PROTOCOL,
    Parity,
    from_layout,
    measured,
    to_layout,
)
from edgekit.export.placement.tables import coverage
from edgekit.export.program import (
    Feed,
    Program,
    Student,
    calibration_feeds,
    heldout_feeds,
    load_program,
    reference_outputs,
)
from edgekit.export.ranges import KEEP_WIDE, half_overflow
from edgekit.export.records import FAILED, Attempt, Record, Status, record_path
from edgekit.export.targets import (
    DEFAULT,
    FORMATS,
    Converter,
    Options,
    Refused,
    Sources,
    converter_of,
    minimum_os,
    tool_versions,
)

CALIBRATION_SAMPLES = 16
MIN_INT8_SHARE = 0.5
"""Below this share of weights in 8 bits, a file that calls itself int8 is mislabelled."""
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""Errors that say nothing about a converter: the place to write to is at fault."""
REDUCED: tuple[Precision, ...] = ("int8", "mixed")
"""Files that must be smaller than fp32, and are refused, not failed, below their bar."""
SINGLE_FILE_BYTES = 2 * 1000**3
"""Where a single file ends: protobuf and flatbuffers address 2 GiB, phones' stores take less."""
_ENDS = "file ends at 2 GB; make the student smaller, or choose a target that is a folder"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workplace:
    """Everything that the rows of one format share."""

    student: Student
    program: Program
    form: Format
    out: Path
    scratch: Path
    open_session: OpenSession
    feeds: Sequence[Feed]
    references: Sequence[Mapping[str, Batch]]
    options: Options = DEFAULT

    @property
    def converter(self) -> Converter:
        """The module that writes this format."""
        return converter_of(self.form)

    @property
    def in_levels(self) -> bool:
        """Whether the files give bytes, where one gray level is the least difference."""
        given = port_pairs(self.converter, self.program.outputs, output=True)
        return any(entry.dtype == "image" for _, entry in given)

    def sources(self) -> Sources:
        """Return what a converter may start from; other precisions are made on demand."""
        return Sources(
            self._made,
            lambda: with_extremes(
                self.student.inputs, calibration_feeds(self.student, limit=CALIBRATION_SAMPLES)
            ),
            self.options,
        )

    def _made(self, precision: Precision) -> Path:
        path = self.scratch / f"{precision}.{self.form}"
        if not path.exists():
            recipe = self.converter.recipes(precision)[0]
            self.converter.convert(
                self.program, path, precision=precision, recipe=recipe, sources=self.sources()
            )
        return path


def make_rows(
    student: Student,
    form: Format,
    keys: Mapping[Precision, str],
    out: Path,
    scratch: Path,
    *,
    open_session: OpenSession,
    name: str,
    options: Options = DEFAULT,
) -> None:
    """Make each precision of `form` that `keys` names, and write one record for each."""
    feeds = heldout_feeds(student, limit=FORMATS[form].samples)
    place = Workplace(
        student,
        load_program(student),
        form,
        out,
        prepared_folder(scratch),
        open_session,
        feeds,
        reference_outputs(student, feeds),
        options,
    )
    for precision, key in keys.items():
        start = time.monotonic()
        record = _row(place, precision, key, name)
        record.seconds = round(time.monotonic() - start, 2)
        write_json(record_path(out, form, precision), record.model_dump(mode="json"))


def _row(place: Workplace, precision: Precision, key: str, name: str) -> Record:
    record = Record(
        key=key,
        format=place.form,
        precision=precision,
        status="refused",
        options=place.options,
    )
    if reason := _hopeless(place, precision):
        record.reason = reason
        return record
    attempts: list[Attempt] = []
    for recipe in place.converter.recipes(precision):
        start = time.monotonic()
        outcome = _attempt(place, precision, recipe)
        if outcome.status == "quality" and attempts:  # float islands have eaten the file
            outcome = replace(outcome, status="refused", reason=record.reason)
        verdict, parity = outcome.reason or "ships", outcome.parity
        attempts.append(
            Attempt(
                recipe=recipe,
                bytes=size_bytes(outcome.path) if outcome.path.exists() else 0,
                worst_psnr_db=round(min(parity.psnr_db), 3) if parity else None,
                seconds=round(time.monotonic() - start, 2),
                verdict=verdict,
            )
        )
        record.status, record.reason = outcome.status, outcome.reason
        if outcome.status != "refused":
            break
    record.attempts = tuple(attempts)
    if outcome.status == "shipped":
        record.model = shipped(place, precision, outcome, name)
    elif outcome.status in ("parity", "quality"):
        _keep_failed(place, precision, outcome, name)
    return record


def _hopeless(place: Workplace, precision: Precision) -> str | None:
    """Say why no recipe needs to be tried, None if one may work."""
    weights = sum(value.numel() * 4 for value in place.program.module.state_dict().values())
    if FORMATS[place.form].single and weights >= SINGLE_FILE_BYTES:
        return f"its weights are {weights / 1e9:.1f} GB in float32; a {place.form} {_ENDS}"
    if place.options.sizes and not FORMATS[place.form].sizes:
        return (
            f"a {place.form} file takes pictures of one size; give one --size at a time, each with "
            "its own --out"
        )
    return _overflow(place) if precision == "fp16" else None


def too_large(path: Path, form: Format) -> str | None:
    """Say that a file is larger than its format can be, None if it is not."""
    if not FORMATS[form].single or (size := size_bytes(path)) < SINGLE_FILE_BYTES:
        return None
    return f"it would be {size / 1e9:.1f} GB; a {form} {_ENDS}"


def _overflow(place: Workplace) -> str | None:
    """Say which layer leaves float16, for a format that could not keep it in float32."""
    if place.form in KEEP_WIDE or not FORMATS[place.form].half_math:
        return None
    feeds = [*place.feeds, *calibration_feeds(place.student, limit=CALIBRATION_SAMPLES)]
    return half_overflow(place.program, feeds)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of converting with one recipe."""

    status: Status
    reason: str
    path: Path
    words: str = ""
    parity: Parity | None = None


def _attempt(place: Workplace, precision: Precision, recipe: str) -> Outcome:
    """Convert with one recipe and judge the file."""
    path = place.scratch / f"{precision}.{place.form}"
    removed(path)
    try:
        words = place.converter.convert(
            place.program, path, precision=precision, recipe=recipe, sources=place.sources()
        )
    except Refused as answer:
        return Outcome("refused", str(answer), path)
    except Exception as error:  # converters raise anything; the log has the traceback
        _raise_if_not_theirs(error, EdgekitError)
        _log.exception("%s %s cannot be converted", place.form, precision)
        return Outcome("failed", f"cannot be converted: {in_one_line(error)}", path)
    if large := too_large(path, place.form):
        removed(path)
        return Outcome("refused", large, path, words)
    if precision == "int8" and (mislabelled := _not_int8(place.converter, path)):
        return Outcome("quality", mislabelled, path, words)
    if precision in REDUCED and size_bytes(path) >= size_bytes(place.sources().made("fp32")):
        return Outcome("refused", "is not smaller than the fp32 file", path, words)
    try:
        verdict = judged(place, path, precision)
    except Exception as error:  # what a converter wrote may be more than its runtime can load
        _raise_if_not_theirs(error, DependencyMissing)
        _log.exception("%s %s cannot be executed", place.form, precision)
        return Outcome("failed", f"was written but cannot be executed: {in_one_line(error)}", path)
    if not verdict.reason:
        return Outcome("shipped", "", path, words, verdict.parity)
    if precision in REDUCED and not verdict.broken:
        return Outcome("refused", verdict.reason, path, words, verdict.parity)
    layer = verdict.layer or _first_bad(place, precision, recipe)
    reason = f"{verdict.reason}; the first bad layer is {layer}"
    return Outcome("parity", reason, path, words, verdict.parity)


def _raise_if_not_theirs(error: Exception, ours: type[EdgekitError]) -> None:
    """Raise what says nothing about the converter: `ours`, and a place that cannot be written."""
    if isinstance(error, ours) or (isinstance(error, OSError) and error.errno in UNWRITABLE):
        raise error


def _not_int8(converter: Converter, path: Path) -> str | None:
    """Say how a file that should be int8 is not; None if it is."""
    found = converter.weight_elements(path)
    total = sum(found.values())
    eight = sum(count for kind, count in found.items() if "int8" in kind)
    if total and eight / total >= MIN_INT8_SHARE:
        return None
    held = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items())) or "none"
    return f"calls itself int8 but its weights are: {held}"


def port_pairs(
    converter: Converter, ports: Sequence[Port], *, output: bool
) -> list[tuple[Port, PortEntry]]:
    """Pair the student's ports with those of the converter's files."""
    return [(port, converter.file_port(port, output=output)) for port in ports]


def opened(place: Workplace, path: Path) -> tuple[Session, str] | None:
    """Open a file and name the protocol of what runs it; None where nothing here can."""
    evaluator = FORMATS[place.form].evaluator
    try:
        return place.open_session(path), PROTOCOL
    except TargetUnsupported as error:
        if evaluator is None:
            _log.info("%s is not executed here: %s", path.name, error)
            return None
    except DependencyMissing:
        if evaluator is None:
            raise
    module = import_module(evaluator)
    try:
        return module.open_package(path), f"{PROTOCOL}/{module.PROTOCOL}"
    except NotImplementedError as error:
        _log.info("%s cannot be evaluated here: %s", path.name, error)
        return None


def parity_of(place: Workplace, path: Path) -> Parity | None:
    """Execute a file on the held-out feeds; None where its format cannot run on this machine."""
    found = opened(place, path)
    if found is None:
        return None
    session, protocol = found
    return measured(
        session,
        place.feeds,
        place.references,
        inputs=[
            (a, b.port())
            for a, b in port_pairs(place.converter, place.program.inputs, output=False)
        ],
        outputs=[
            (a, b.port())
            for a, b in port_pairs(place.converter, place.program.outputs, output=True)
        ],
        protocol=protocol,
    )


def _first_bad(place: Workplace, precision: Precision, recipe: str) -> str:
    feed = place.feeds[0]

    def execute(part: Program) -> Mapping[str, Batch]:
        with tempfile.TemporaryDirectory(dir=place.scratch) as folder:
            work = replace(place, program=part, scratch=Path(folder), references=())
            return _executed(work, precision, recipe, feed)

    return first_bad_layer(place.program, feed, precision, execute)


def _executed(
    work: Workplace, precision: Precision, recipe: str, feed: Feed
) -> Mapping[str, Batch]:
    path = work.scratch / f"{precision}.{work.form}"
    work.converter.convert(
        work.program, path, precision=precision, recipe=recipe, sources=work.sources()
    )
    found = opened(work, path)
    if found is None:
        raise NotImplementedError(f"{path.name} cannot be executed here")
    result = found[0].run(
        {
            entry.name: to_layout(feed[port.name], port, entry.port())
            for port, entry in port_pairs(work.converter, work.program.inputs, output=False)
        }
    )
    return {
        port.name: from_layout(np.asarray(result[entry.name]), port, entry.port())
        for port, entry in port_pairs(work.converter, work.program.outputs, output=True)
    }


def shipped(place: Workplace, precision: Precision, outcome: Outcome, name: str) -> ModelEntry:
    """Copy a file that cleared its bar to its place and return its entry of the manifest."""
    form = FORMATS[place.form]
    relative = f"{form.target}/{name}.{precision}.{form.name}"
    final = place.out / relative
    copied(outcome.path, final)
    converter = place.converter
    operators = converter.operators(final)
    return ModelEntry(
        target=form.target,
        format=form.name,
        precision=precision,
        path=relative,
        sha256=file_sha256(final),
        bytes=size_bytes(final),
        inputs=tuple(e for _, e in port_pairs(converter, place.program.inputs, output=False)),
        outputs=tuple(e for _, e in port_pairs(converter, place.program.outputs, output=True)),
        minimum_os=minimum_os(place.form, place.options),
        recipe=outcome.words,
        executed=outcome.parity is not None and outcome.parity.protocol == PROTOCOL,
        parity=outcome.parity.entry() if outcome.parity else None,
        placement=operators,
        units=coverage(form.name, precision, operators),
        tools=tool_versions(form.name),
        fingerprint=fingerprint_of(final),
    )


def fingerprint_of(path: Path) -> dict[str, str]:
    """Return what a compiled engine was built by and for; nothing for any other file."""
    return read_fingerprint(path).facts() if (path / FINGERPRINT).is_file() else {}


def _keep_failed(place: Workplace, precision: Precision, outcome: Outcome, name: str) -> None:
    target = FORMATS[place.form].target
    copied(outcome.path, place.out / FAILED / target / f"{name}.{precision}.{place.form}")
