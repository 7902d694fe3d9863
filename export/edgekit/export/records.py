"""One small file an export row: what was tried, what came of it, and for which key it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from edgekit.core.errors import BadInput
from edgekit.core.manifest import Format, ModelEntry
from edgekit.core.seams import Precision
from edgekit.core.store import file_sha256, read_json
from edgekit.export.targets import DEFAULT, Options

RECORDS = ".records"
FAILED = "failed"
FINISHED = ("shipped", "refused")
"""What need not be tried again as long as the key stays the same."""

Status: TypeAlias = Literal["shipped", "refused", "parity", "quality", "failed"]


class Attempt(BaseModel):
    """One recipe that was tried for a file, and what came of it."""

    recipe: str
    bytes: int
    worst_psnr_db: float | None
    seconds: float
    verdict: str


class Record(BaseModel):
    """What became of one (format, precision); kept beside the files so that a run can continue."""

    model_config = ConfigDict(extra="forbid")

    key: str
    format: Format
    precision: Precision
    status: Status
    reason: str = ""
    model: ModelEntry | None = None
    attempts: tuple[Attempt, ...] = ()
    seconds: float = 0.0
    options: Options = DEFAULT
    """What the user asked of the format, so that a later run for another target still knows it."""
    cached: bool = False
    """Whether the file was copied from the user's cache instead of made."""


def record_path(out: Path, form: Format, precision: Precision) -> Path:
    """Return where the record of a file lies."""
    return out / RECORDS / f"{form}.{precision}.json"


def read_record(path: Path) -> Record | None:
    """Return the record in a file, None if there is none that can be read."""
    if not path.is_file():
        return None
    try:
        return Record.model_validate(read_json(path))
    except (BadInput, ValueError):
        return None


def stands(record: Record, key: str, folder: Path) -> bool:
    """Tell whether a record still holds for `key` and its file in `folder` is the one it names."""
    if record.key != key or record.status not in FINISHED:
        return False
    if record.model is None:
        return True
    file = folder / record.model.path
    return file.exists() and file_sha256(file) == record.model.sha256
