"""What became of one module in one format and precision, and the file that says it of all.

A file of results has one JSON object a line; it is only appended to, so a run that was killed goes
on behind its last line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edgekit.export.records import Record

PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class Cell:
    """One line."""

    module: str
    format: str
    precision: str
    rewrites: bool
    """Whether the format's graph rewrites were on."""
    status: str
    """shipped, refused, parity, quality or failed as in an export; died or expired for a worker."""
    converted: bool
    """Whether there was a file."""
    executed: bool
    """Whether the file was run and compared."""
    reason: str = ""
    protocol: str = ""
    """Says what ran the file, as in a bundle."""
    worst_db: float | None = None
    max_abs: float | None = None
    adversarial_db: Mapping[str, float] = field(default_factory=dict)
    recipe: str = ""
    bytes: int = 0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the file was made, run and is the same function: what would ship."""
        return self.status == "shipped" and self.executed

    @property
    def key(self) -> tuple[str, str, str, bool]:
        """What one line is about."""
        return (self.module, self.format, self.precision, self.rewrites)


def cell_of(record: Record, module: str, *, rewrites: bool) -> Cell:
    """Return the line of a record that an export wrote."""
    model, last = record.model, record.attempts[-1] if record.attempts else None
    parity = model.parity if model else None
    return Cell(
        module=module,
        format=record.format,
        precision=record.precision,
        rewrites=rewrites,
        status=record.status,
        converted=any(attempt.bytes > 0 for attempt in record.attempts),
        executed=any(attempt.worst_psnr_db is not None for attempt in record.attempts),
        reason=record.reason,
        protocol=parity.protocol if parity else "",
        worst_db=parity.worst_psnr_db if parity else last.worst_psnr_db if last else None,
        max_abs=parity.max_abs if parity else None,
        adversarial_db=parity.adversarial_db if parity else {},
        recipe=model.recipe if model else last.recipe if last else "",
        bytes=model.bytes if model else last.bytes if last else 0,
        seconds=record.seconds,
    )


def missed(
    module: str, form: str, precision: str, status: str, reason: str, rewrites: bool
) -> Cell:
    """Return the line of a conversion that left no record."""
    return Cell(module, form, precision, rewrites, status, False, False, reason)


def append(path: Path, cells: Iterable[Cell]) -> None:
    """Add lines to a file of results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(asdict(cell), sort_keys=True) + "\n" for cell in cells)


def read(path: Path) -> list[Cell]:
    """Return the lines of a file of results; a last line that was cut off is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(Cell(**json.loads(line)))
        except json.JSONDecodeError:
            continue
    return list({cell.key: cell for cell in found}.values())
