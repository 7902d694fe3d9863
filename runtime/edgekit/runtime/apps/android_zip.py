"""An APK as a zip file: aligned as Android wants it, the same bytes for the same content."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit.core.errors import BadInput

PAGE = 16384
"""Alignment of libraries that are not compressed; fits devices with pages of 4 and of 16 KiB."""
WORD = 4
_PADDING_ID = 0xD935
"""The extra field that Android's own tools pad with; starts with the alignment."""
_DATE = (1981, 1, 1, 0, 0, 0)
_LOCAL = struct.Struct("<4s5H3I2H")
STORED = (".arsc", ".onnx", ".npz", ".safetensors", ".png", ".jpg")
"""What the system maps, or what does not get smaller."""


class Apk:
    """Writes entries one after another; stored ones start where their alignment says."""

    def __init__(self, path: Path) -> None:
        """Begin the file at `path`."""
        self._zip = zipfile.ZipFile(path, "w")

    def add(self, name: str, data: bytes) -> None:
        """Write one file."""
        info = zipfile.ZipInfo(name, _DATE)
        stored = name.endswith(STORED)
        info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        if stored:
            info.extra = _padding(self._zip.start_dir, name, alignment_of(name))
        self._zip.writestr(info, data, compresslevel=9)

    def close(self) -> None:
        """Write the directory."""
        self._zip.close()


def alignment_of(name: str) -> int:
    """Return the bytes that a stored entry's data has to begin at a multiple of."""
    return PAGE if name.endswith(".so") else WORD


def _padding(start: int, name: str, alignment: int) -> bytes:
    before = start + _LOCAL.size + len(name.encode()) + 6
    zeros = -before % alignment
    return struct.pack("<3H", _PADDING_ID, 2 + zeros, alignment) + bytes(zeros)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one file of an APK lies."""

    name: str
    stored: bool
    start: int
    """First byte of its data."""


def entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of an APK; raises BadInput if it is no zip file."""
    try:
        with zipfile.ZipFile(path) as held, path.open("rb") as stream:
            for info in held.infolist():
                stream.seek(info.header_offset)
                fields = _LOCAL.unpack(stream.read(_LOCAL.size))
                start = info.header_offset + _LOCAL.size + fields[-2] + fields[-1]
                yield Entry(info.filename, info.compress_type == zipfile.ZIP_STORED, start)
    except (OSError, zipfile.BadZipFile, struct.error) as error:
        raise BadInput(f"{path} is not an APK: {error}", hint="build it again") from error


def misaligned(path: Path) -> list[str]:
    """Return the stored entries whose data does not begin where it should."""
    return [e.name for e in entries(path) if e.stored and e.start % alignment_of(e.name)]
