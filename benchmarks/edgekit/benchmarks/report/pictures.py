"""Held-out photos through every file of the bundle, run here and now, as pictures for the page."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from edgekit.benchmarks.report.facts import Facts
from edgekit.core.errors import EdgekitError
from edgekit.core.images import to_bytes
from edgekit.core.manifest import ModelEntry
from edgekit.core.progress import Report
from edgekit.core.seams import Session
from edgekit.core.tensors import Batch, Photo
from edgekit.runtime.pipeline import from_golden, tile_size, to_golden
from edgekit.runtime.sessions import backend_of, obstacle, open_session
from edgekit.runtime.verify import IDENTICAL_DB, Open, evaluated, psnr_db, read_golden

ROWS = 4
INTERPRETED_ROWS = 2
"""Photos for a file whose runtime here is an interpreter, which takes seconds a picture."""
QUALITY = 88
EVALUATED = " (evaluated)"
RUNTIMES = {
    "onnx": "ONNX Runtime",
    "tflite": "LiteRT",
    "aimodel": "Core AI",
    "mlpackage": "Core ML",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture of the grid."""

    title: str
    uri: str
    alt: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The grid of pictures: one row a photo, and what is not in it."""

    rows: list[list[Cell]] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    """(file, why it was not run here)."""
    where: str = ""
    note: str = ""


def bundle_pictures(
    facts: Facts, report: Report, evaluators: Mapping[str, Open] | None = None
) -> Pictures:
    """Run the golden photos through every file that can be executed or evaluated here.

    The golden vectors bring the PyTorch student's picture; the teacher's comes from the student's
    held-out pairs, where it is found by the photo's bytes.
    """
    if facts.bundle is None:
        return Pictures()
    golden = read_golden(facts.bundle_folder, facts.bundle)[:ROWS]
    entries = facts.bundle.models
    if not golden or not entries or not _photo_model(entries[0]):
        return Pictures(missing=[("all files", "the model does not map one photo to one photo")])
    source, result = entries[0].inputs[0].name, entries[0].outputs[0].name
    teachers = _teacher_pictures(facts)
    rows = [_first_cells(facts, sample, source, result, teachers) for sample in golden]
    missing: list[tuple[str, str]] = []
    slow: list[str] = []
    for index, entry in enumerate(entries):
        report("pictures", index, len(entries), entry.path)
        path = facts.bundle_folder / entry.path
        try:
            session, word = _opened(path, evaluators or {})
            if backend_of(path).interpreted_on == sys.platform:
                slow.append(RUNTIMES[entry.format])
                _add_file(session, entry, golden[:INTERPRETED_ROWS], rows, word)
            else:
                _add_file(session, entry, golden, rows, word)
        except EdgekitError as error:
            missing.append((entry.path, error.what))
        except (ValueError, RuntimeError) as error:
            missing.append((entry.path, f"it could not be run: {error}"))
    report("pictures", len(entries), len(entries))
    note = ""
    if slow:
        names = " and ".join(dict.fromkeys(slow))
        note = (
            f"{names} is an interpreter on this system and made the first {INTERPRETED_ROWS} only."
        )
    if any(cell.title.endswith(EVALUATED) for row in rows for cell in row):
        note += (
            " Files marked (evaluated) were computed from their own bytes by edgekit, not by the "
            "runtime of the format, which this system does not have."
        )
    where = f"{len(golden)} photos that the student was not trained on"
    return Pictures(rows, missing, where, note)


def _photo_model(entry: ModelEntry) -> bool:
    return len(entry.inputs) == 1 and tile_size(entry.inputs[0].port()) is not None


def _first_cells(
    facts: Facts,
    sample: Mapping[str, Batch],
    source: str,
    result: str,
    teachers: Mapping[bytes, Photo],
) -> list[Cell]:
    photo = _photo(sample[source])
    edit = facts.prompt or "the edit"
    cells = [_cell("source", photo, "the photo, untouched")]
    student = _photo(sample[result])
    teacher = teachers.get(photo.tobytes())
    caption = ""
    if teacher is not None:
        caption = f"{photo_db(teacher, student)} to the teacher"
        untouched = f"{photo_db(teacher, photo)} to the teacher"
        cells = [_cell("source", photo, "the photo, untouched", untouched)]
        cells.append(_cell("teacher", teacher, f"the teacher's answer to: {edit}"))
    cells.append(_cell("student (PyTorch)", student, f"the student's answer to: {edit}", caption))
    return cells


def _opened(path: Path, evaluators: Mapping[str, Open]) -> tuple[Session, str]:
    """Return a session for `path` and, if it is a stand-in, the word that says so."""
    problem = obstacle(path)
    if problem is None:
        return open_session(path), ""
    if path.suffix not in evaluators:
        raise problem
    session, _ = evaluated(evaluators[path.suffix], path, problem.what)
    if session is None:
        raise problem
    return session, EVALUATED


def _add_file(
    session: Session,
    entry: ModelEntry,
    golden: Sequence[Mapping[str, Batch]],
    rows: list[list[Cell]],
    word: str,
) -> None:
    ports = tuple(port.port() for port in entry.inputs)
    title = f"{RUNTIMES[entry.format]} {entry.precision}{word}"
    for sample, row in zip(golden, rows, strict=False):
        found = session.run(from_golden(sample, ports))[entry.outputs[0].name]
        nchw = to_golden(found, entry.outputs[0].port())
        score = min(psnr_db(sample[entry.outputs[0].name], nchw), IDENTICAL_DB)
        caption = (
            "same as the student" if score == IDENTICAL_DB else f"{score:.1f} dB to the student"
        )
        row.append(_cell(title, _photo(nchw), f"the output of {entry.path}", caption))


def _teacher_pictures(facts: Facts) -> dict[bytes, Photo]:
    """Return the bytes of each held-out photo -> the teacher's picture of it."""
    file = facts.run / "heldout.npz"
    if not file.is_file():
        return {}
    with np.load(file, allow_pickle=False) as archive:
        if not {"image", "teacher"} <= set(archive.files):
            return {}
        photos, edits = archive["image"], archive["teacher"]
    return {photo.tobytes(): edit for photo, edit in zip(photos, edits, strict=True)}


def _photo(nchw: Batch) -> Photo:
    return to_bytes(nchw.transpose(0, 2, 3, 1))[0]


def photo_db(reference: Photo, candidate: Photo) -> str:
    """Return the PSNR of two uint8 photos in words."""
    score = psnr_db(reference.astype(np.float32), candidate.astype(np.float32), peak=255.0)
    return "identical" if np.isinf(score) else f"{score:.1f} dB"


def _cell(title: str, photo: Photo, alt: str, caption: str = "") -> Cell:
    return Cell(title, data_uri(photo), alt, caption)


def data_uri(photo: Photo) -> str:
    """Return a photo as a JPEG inside a URI, so that the page needs no other file."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(photo)).save(
        buffer, "JPEG", quality=QUALITY, subsampling=0
    )
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
