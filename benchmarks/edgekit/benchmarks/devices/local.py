"""This machine as a device: the same runner, the same checks, no cable."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from edgekit.benchmarks.devices.transport import copied
from edgekit.core.cache import cache_folder


@dataclass(frozen=True, slots=True)
class Local:
    """The shell of this machine."""

    place: Path | None = None
    """Folder to use; the user's cache without it."""

    @property
    def name(self) -> str:
        """The device as ``--device`` names it."""
        return "local"

    @property
    def folder(self) -> str:
        """Folder for everything of edgekit."""
        return str(self.place or cache_folder() / "device")

    def argv(self, command: str) -> list[str]:
        """Return the process that runs the shell `command`."""
        return ["/bin/sh", "-c", command]

    def check(self) -> None:
        """Do nothing: this machine answers."""

    def push(self, source: Path, place: str) -> None:
        """Copy a file."""
        _copy(source, Path(place))

    def pull(self, place: str, target: Path) -> None:
        """Copy a file."""
        _copy(Path(place), target)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        copied("this machine", str(target), 1, error.strerror or str(error))
