"""Why a conversion that fails does so: (module, format, precision or "*") -> what is known."""

from __future__ import annotations

from zoo.cells import Cell

NOT_OFFERED = {("pte", "fp16")}
"""Rows that an export refuses for every student, so that there is nothing to convert."""
KNOWN: dict[tuple[str, str, str], str] = {}


def reason_of(cell: Cell) -> str:
    """Return what is known about a failed cell, "" if nothing is."""
    for precision in (cell.precision, "*"):
        if found := KNOWN.get((cell.module, cell.format, precision)):
            return found
    return ""
