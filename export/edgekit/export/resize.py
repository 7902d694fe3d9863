"""A student for pictures of another size: a folder of its own, exported like any other.

The program's written sizes are replaced (`edgekit.export.sizes`); the photos of the samples are
scaled, every other array is kept. What is compared afterwards is the program at its new size.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit.core.errors import TargetUnsupported
from edgekit.core.images import resized
from edgekit.core.seams import Port
from edgekit.core.store import MANIFEST, value_sha256, write_bytes, write_json
from edgekit.core.tensors import Batch
from edgekit.export.program import (
    CALIBRATION,
    HELDOUT,
    PROGRAM,
    Student,
    exported,
    load_program,
    read_student,
)
from edgekit.export.sizes import sized
from edgekit.export.targets import Refused

MADE_BY = "resize-1"


def student_at(folder: Path, side: int, out: Path) -> Path:
    """Return the folder of the student for pictures of `side` pixels, made below `out` if needed.

    A student that has this size already is returned as it is. Raises TargetUnsupported for a
    program that only works at its own size.
    """
    student = read_student(folder)
    if int(student.facts["size_px"]) == side:
        return folder
    if parts := student.facts.get("parts"):
        raise TargetUnsupported(
            f"{folder} has parts ({', '.join(parts)}) and works at its own size only",
            hint="leave --size out, or distil the student at that size",
        )
    final = out / f".student-{side}"
    recipe = value_sha256({"made_by": MADE_BY, "student": student.sha256, "side": side})
    if (final / MANIFEST).is_file() and read_student(final).facts["recipe_sha256"] == recipe:
        return final
    try:
        with warnings.catch_warnings():  # torch's remarks about its own code
            warnings.simplefilter("ignore")
            program = sized(load_program(student), side)
            content = io.BytesIO()
            torch.export.save(exported(program), content)
    except Refused as error:
        raise TargetUnsupported(
            f"{folder} cannot be exported for {side} pixels: {error}",
            hint="leave --size out, or distil the student at that size",
        ) from error
    write_bytes(final / PROGRAM, content.getvalue())
    for name in (CALIBRATION, HELDOUT):
        write_bytes(final / name, _samples(student, name, side))
    facts = {**student.facts, "recipe_sha256": recipe, "size_px": side}
    facts["inputs"] = [_told(port) for port in program.inputs]
    facts["outputs"] = [_told(port) for port in program.outputs]
    if adapter := student.facts.get("adapter"):
        source = folder / str(adapter["path"])
        if source.is_file():
            write_bytes(final / str(adapter["path"]), source.read_bytes())
    factor = side / float(student.facts["size_px"])
    facts["gmac"] = round(float(student.facts.get("gmac", 0.0)) * factor**2, 4)
    facts["quality"] = {}  # measured at the other size
    write_json(final / MANIFEST, facts)
    return final


def _told(port: Port) -> dict[str, Any]:
    return {**asdict(port), "shape": list(port.shape)}


def _samples(student: Student, name: str, side: int) -> bytes:
    """Return the samples of a student with their photos scaled to `side`."""
    with np.load(student.folder / name, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    factor = side / float(student.facts["size_px"])
    scaled = {key: _scaled(array, factor) for key, array in arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **scaled)  # type: ignore[arg-type]
    return buffer.getvalue()


def _scaled(array: Batch, factor: float) -> Batch:
    if array.dtype != np.uint8 or array.ndim != 4:
        return array
    height, width = (round(int(size) * factor) for size in array.shape[1:3])
    return np.stack([resized(photo, height, width) for photo in array])
