"""Where the weights that edgekit itself trained lie."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from edgekit.core.errors import BadInput, unknown_name

NAMES = ("teacher", "base")
LATER = ("identity",)
"""What a version may ship; commands do without it and say how it is made."""


def asset_folder(name: str) -> Path:
    """Return the folder of the shipped asset `name`: "teacher", "base" or "identity".

    Raises EdgekitError for another name, BadInput if this installation lacks the folder.
    """
    if name not in (*NAMES, *LATER):
        raise unknown_name("asset", name, (*NAMES, *LATER))
    folder = Path(str(files("edgekit.assets").joinpath(name)))
    if not folder.is_dir():
        raise BadInput(
            f"the shipped {name} is missing from this installation",
            hint="install edgekit-toolchain again from its wheel or source tree",
        )
    return folder
