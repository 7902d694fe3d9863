"""The parts of a student: students of their own inside its folder, such as a restorer's enroller.

Each becomes a whole bundle inside the bundle that it belongs to, with the same targets and
precisions, in a folder called like the part.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from edgekit.core.errors import BadInput, EdgekitError, TargetUnsupported
from edgekit.core.manifest import BundleManifest, PartEntry
from edgekit.core.store import MANIFEST, file_sha256
from edgekit.export.entries import encoder_sha256
from edgekit.export.program import Student, read_student
from edgekit.export.targets import TARGETS, Options

IDENTITY = "identity"
TAKEN = frozenset({*TARGETS, "golden", "adapters", "concepts", "failed", "logs"})
"""Folders of a bundle that are no part."""


def parts_of(student: Student, options: Options) -> dict[str, Path]:
    """Return the student folders of the parts by name.

    Raises BadInput for a part that is missing or has a name that a part cannot have, or for an
    encoder whose codes the student does not understand; TargetUnsupported if files for several
    sizes are asked for, because parts and student have to agree.
    """
    parts = {
        str(name): student.folder / str(path)
        for name, path in (student.facts.get("parts") or {}).items()
    }
    if parts and options.sizes:
        raise TargetUnsupported(
            f"{student.folder} has parts ({', '.join(parts)}) and works at its own size only",
            hint="leave --size out",
        )
    for name, folder in parts.items():
        if name in TAKEN or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise BadInput(
                f"{student.folder} has a part called {name!r}, which is no name for one",
                hint="distil the student again",
            )
        part = read_student(folder)
        wanted = encoder_sha256(student)
        if name == IDENTITY and wanted != part.sha256:
            raise BadInput(
                f"{folder} is another encoder than the one that {student.folder} was distilled "
                "with",
                hint="copy the encoder of its recipe there, or distil the student again",
            )
    return parts


def exported_part(name: str, out: Path, export: Callable[[Path], BundleManifest]) -> PartEntry:
    """Let `export` write the part `name` below the bundle `out` and return its entry.

    An error says which part it is about.
    """
    try:
        manifest = export(out / name)
    except EdgekitError as error:
        error.what = f"part {name!r}: {error.what}"
        raise
    return PartEntry(
        name=name, path=name, form=manifest.form, sha256=file_sha256(out / name / MANIFEST)
    )
