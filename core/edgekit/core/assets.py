"""Where the weights that edgekit itself trained lie, and what names a student made of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgekit.core.errors import BadInput, unknown_name
from edgekit.core.store import file_sha256

NAMES = ("teacher", "base")
STUDENTS = ("identity", "restorer", "things")
"""What a version may ship besides, students that are ready for use: the encoder of identity codes,
the restorer for phones that understands its codes, the generator of meshes. Commands do without
them and say how each is made."""
SHIPPED_SHA256 = "shipped_sha256"
"""Key in the manifest of a student made of shipped weights: their sha256."""


def asset_folder(name: str) -> Path:
    """Return the folder of the shipped asset `name`, one of `NAMES` and `STUDENTS`.

    Raises EdgekitError for another name, BadInput if this installation lacks the folder.
    """
    if name not in (*NAMES, *STUDENTS):
        raise unknown_name("asset", name, (*NAMES, *STUDENTS))
    folder = Path(str(files("edgekit.assets").joinpath(name)))
    if not folder.is_dir():
        again = "install edgekit-toolchain again from its wheel or source tree"
        newer = f"install a version that ships it, or train one: {MADE[name]}"
        raise BadInput(
            f"the shipped {name} is missing from this installation",
            hint=newer if name in MADE else again,
        )
    return folder


MADE = {
    "identity": "edgekit identity train FACES --seconds 900 -o runs/identity",
    "restorer": "edgekit distill --student restorer --faces FACES --phone --encoder runs/identity",
    "things": "edgekit distill --student mesh --teacher runs/views",
}
"""Name of a student -> the command that makes one."""


def student_sha256(program: Path, facts: Mapping[str, Any]) -> str:
    """Return what names a student: the sha256 of its program, or of the shipped weights it is of.

    A program made of shipped weights is saved anew on each machine, and its bytes depend on the
    version of torch there: codes and bundles made of them would not fit each other.
    """
    shipped = facts.get(SHIPPED_SHA256)
    return file_sha256(program) if shipped is None else str(shipped)
