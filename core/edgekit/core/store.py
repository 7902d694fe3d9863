"""Folders that are complete or do not count: files first, ``manifest.json`` last.

Every step of edgekit writes one folder. A step that finds the folder complete with the hash of its
own recipe does nothing; one that finds it incomplete continues or starts anew. A file appears at
once or not at all, because it is written beside its place and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit.core.errors import BadInput, OutputError

MANIFEST = "manifest.json"


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path` at once or not at all, and make sure that it reached the disk.

    `mode` are the rights of the file; it is never readable by others before they are set.

    Raises OutputError if the disk is full or the place is not writable.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(mode)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, at once or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file; raises BadInput if it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist", hint="check the path") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is not readable JSON: {error}", hint="write it anew") from error


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"{path}: the disk is full", hint="free some space and run the same command again"
            ) from error
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}", hint="choose another --out"
        ) from error


def prepared_folder(folder: Path) -> Path:
    """Create `folder` if needed and check that files can be written there.

    Raises OutputError, before any work is done, if they cannot.
    """
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    return folder


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's files with their relative names, as hex."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{file_sha256(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def size_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def value_sha256(value: Any) -> str:
    """Return the sha256 of a JSON value, independent of key order.

    >>> value_sha256({"a": 1, "b": 2}) == value_sha256({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def finish_folder(folder: Path, *, kind: str, recipe_sha256: str, facts: Mapping[str, Any]) -> None:
    """Declare `folder` complete by writing its manifest; call it last.

    `kind` says what the folder holds ("pairs", "student" …), `facts` is whatever readers need.
    """
    write_json(
        folder / MANIFEST, {"kind": kind, "schema": 1, "recipe_sha256": recipe_sha256, **facts}
    )


def complete(folder: Path, *, kind: str, recipe_sha256: str) -> bool:
    """Tell whether `folder` was finished by a step of this kind with this recipe."""
    if not (folder / MANIFEST).is_file():
        return False
    found = read_json(folder / MANIFEST)
    return bool(found.get("kind") == kind and found.get("recipe_sha256") == recipe_sha256)


def read_manifest(folder: Path, *, kind: str) -> dict[str, Any]:
    """Return the manifest of a finished folder of this kind.

    Raises BadInput if the folder is missing, not finished, or holds something else.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} does not exist", hint=f"name a folder that holds a {kind}")
    if not (folder / MANIFEST).is_file():
        raise BadInput(
            f"{folder} is not a finished {kind}: it has no {MANIFEST}",
            hint="run the step that writes it again; it continues where it stopped",
        )
    found = read_json(folder / MANIFEST)
    if not isinstance(found, dict) or found.get("kind") != kind:
        held = found.get("kind", "something else") if isinstance(found, dict) else "something else"
        raise BadInput(f"{folder} holds a {held}, not a {kind}", hint=f"name a {kind} folder")
    return found


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other edgekit processes out of `folder`; raises BadInput if one is at work there."""
    from filelock import FileLock, Timeout

    prepared_folder(folder)
    lock = FileLock(folder / ".lock")
    try:
        with lock.acquire(timeout=0):
            yield
    except Timeout:
        raise BadInput(
            f"{folder} is in use by another edgekit process",
            hint="wait for it, or choose another --out",
        ) from None
