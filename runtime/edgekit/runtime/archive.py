"""A bundle in a zip file, unpacked to a folder of its own for as long as it is needed."""

from __future__ import annotations

import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from edgekit.core.errors import BadInput, OutputError
from edgekit.core.store import MANIFEST

MOST_BYTES = 8 << 30
MOST_FILES = 100_000
_BLOCK = 1 << 20


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield `path` itself if it is a folder, else the bundle in the zip file that it is.

    The manifest stands at the top of the archive or in its only folder. Raises BadInput for a file
    that is no zip, is damaged, holds no bundle, or holds anything that does not belong into one
    folder: paths that lead out of it, links, more than 8 GiB.
    """
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="edgekit-") as name:
        _unpack(path, Path(name))
        yield _bundle_in(Path(name), path)


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check_members(members, path)
            for member in members:
                final = folder / member.filename
                final.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, final.open("xb") as sink:
                    _copy(source, sink, member, path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BadInput(
            f"{path} is not a zip file that can be read: {error}", hint="copy or pack it again"
        ) from error
    except OSError as error:
        raise OutputError(
            f"{path} cannot be unpacked to {folder}: {error.strerror or error}",
            hint="free some space, or set TMPDIR to a larger disk",
        ) from error


def _copy(source: IO[bytes], sink: IO[bytes], member: zipfile.ZipInfo, path: Path) -> None:
    """Copy at most as many bytes as the archive's index tells: an index may lie about its size."""
    left = member.file_size
    while block := source.read(min(_BLOCK, left + 1)):
        left -= len(block)
        if left < 0:
            raise BadInput(f"{path}: {member.filename} is longer than told", hint="pack it again")
        sink.write(block)


def _check_members(members: list[zipfile.ZipInfo], path: Path) -> None:
    total = sum(member.file_size for member in members)
    if total > MOST_BYTES or len(members) > MOST_FILES:
        raise BadInput(
            f"{path} holds {len(members)} files of {total / 1e9:.1f} GB, more than a bundle",
            hint="unpack it yourself if it is to be trusted, and verify the folder",
        )
    seen = set()
    for member in members:
        name = PurePosixPath(member.filename)
        outside = name.is_absolute() or ".." in name.parts or "\\" in member.filename
        drive = ":" in member.filename
        link = stat.S_ISLNK(member.external_attr >> 16)
        if outside or drive or link or not name.parts or str(name).lower() in seen:
            raise BadInput(
                f"{path} holds {member.filename!r}, which does not stay inside its folder or is "
                "there twice",
                hint="pack the bundle again: only its files, no links",
            )
        seen.add(str(name).lower())


def _bundle_in(folder: Path, path: Path) -> Path:
    if (folder / MANIFEST).is_file():
        return folder
    inside = [child for child in folder.iterdir() if (child / MANIFEST).is_file()]
    if len(inside) != 1:
        raise BadInput(
            f"{path} holds no bundle: no {MANIFEST} at its top or in its only folder",
            hint="pack a folder written by `edgekit export`",
        )
    return inside[0]
