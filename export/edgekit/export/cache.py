"""Files that were exported before, on this machine, for any bundle: found by what made them.

An entry is a folder with a record and, if a file shipped, the file. Its name hashes the student,
the samples, the format, precision and options, the versions of all tools and edgekit's own code,
so an entry is never stale; it is compared with its sha256 before it is used, and the entries that
were not used for the longest time make room for new ones.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgekit.core.cache import LIMIT_BYTES, cache_folder
from edgekit.core.errors import OutputError
from edgekit.core.store import prepared_folder, size_bytes, value_sha256, write_json
from edgekit.export.records import FINISHED, Record, read_record, record_path, stands
from edgekit.export.targets import Row

RECORD = "record.json"


def user_cache() -> Cache:
    """Return the cache of this user; the variable EDGEKIT_CACHE_DIR moves it."""
    return Cache(cache_folder() / "exports")


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of exported files, at most `limit_bytes` large."""

    folder: Path
    limit_bytes: int = LIMIT_BYTES

    def fetch(self, row: Row, key: str, judge: str, out: Path) -> Record | None:
        """Copy the file of `row` into the bundle `out` and write its record; None if not held.

        `key` is the record's; `judge` names what executed the file. A damaged entry is dropped.
        """
        entry = self._entry(key, judge)
        record = read_record(entry / RECORD)
        if record is None or (record.format, record.precision) != row:
            return None
        if not stands(record, key, entry):
            shutil.rmtree(entry, ignore_errors=True)
            return None
        record.cached = True
        if record.model is not None:
            copied(entry / record.model.path, out / record.model.path)
            if not stands(record, key, out):
                return None
        write_json(record_path(out, *row), record.model_dump(mode="json"))
        os.utime(entry / RECORD)
        return record

    def keep(self, record: Record, judge: str, out: Path) -> None:
        """Copy what `record` says and its file into the cache; a full disk only costs the entry."""
        entry = self._entry(record.key, judge)
        if record.cached or record.status not in FINISHED or entry.exists():
            return
        try:
            prepared_folder(entry.parent)
            with tempfile.TemporaryDirectory(dir=entry.parent) as scratch:
                made = Path(scratch) / "made"
                if record.model is not None:
                    copied(out / record.model.path, made / record.model.path)
                write_json(made / RECORD, record.model_dump(mode="json"))
                made.rename(entry)
            self._shrink()
        except (OSError, OutputError):
            shutil.rmtree(entry, ignore_errors=True)

    def _entry(self, key: str, judge: str) -> Path:
        name = value_sha256({"key": key, "judge": judge, "code": code_sha256()})
        return self.folder / name[:2] / name

    def _shrink(self) -> None:
        entries = sorted(self.folder.glob(f"*/*/{RECORD}"), key=lambda file: file.stat().st_mtime)
        total = sum(size_bytes(file.parent) for file in entries)
        for file in entries[:-1]:  # the newest stays, whatever its size
            if total <= self.limit_bytes:
                return
            total -= size_bytes(file.parent)
            shutil.rmtree(file.parent, ignore_errors=True)


@functools.lru_cache(maxsize=1)
def code_sha256() -> str:
    """Hash the code of the exporter: another version may make other files of the same student."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def copied(source: Path, final: Path) -> None:
    """Put a copy of `source` (file or folder) in its place with one rename."""
    prepared_folder(final.parent)
    beside = final.with_name(f".{final.name}.part")
    removed(beside)
    if source.is_dir():
        shutil.copytree(source, beside)
        removed(final)  # a folder cannot be replaced at once; the record is written after it
    else:
        shutil.copyfile(source, beside)
    beside.replace(final)


def removed(path: Path) -> None:
    """Remove a file or folder if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
