"""The tables as data: what each unit runs, and where that is published.

`tables.json` lists the units of a format; a unit either names what it ``runs`` or what it
``refuses`` (with the reason), with neither it runs everything. `names.json` says which operators of
a format stand for an operator of PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STATED = "not in the published list of operators"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that can run a file, or a part of it."""

    unit: str
    """"npu", "gpu", "xnnpack" or "cpu"."""
    name: str
    source: tuple[str, ...]
    confidence: str
    runs: frozenset[str] | None = None
    refuses: Mapping[str, str] = field(default_factory=dict)
    half_only: bool = False
    max_rank: int | None = None
    delegate: str | None = None
    """What the names of operators begin with in a file whose converter has placed them already."""

    def reason_against(self, operator: str) -> str | None:
        """Return why the unit does not run an operator of the format, None if it does."""
        if operator in self.refuses:
            return self.refuses[operator]
        if self.runs is not None and operator not in self.runs:
            return f"{operator} is {STATED}"
        return None


@lru_cache(maxsize=1)
def _tables() -> Mapping[str, tuple[Unit, ...]]:
    value: Mapping[str, Any] = json.loads((HERE / "tables.json").read_text(encoding="utf-8"))
    return {form: tuple(_unit(row) for row in rows) for form, rows in value.items()}


def _unit(row: Mapping[str, Any]) -> Unit:
    runs = row.get("runs")
    return Unit(
        unit=row["unit"],
        name=row["name"],
        source=tuple(row["source"]),
        confidence=row["confidence"],
        runs=None if runs is None else frozenset(runs),
        refuses=row.get("refuses", {}),
        half_only=row.get("half_only", False),
        max_rank=row.get("max_rank"),
        delegate=row.get("delegate"),
    )


def units_of(form: str) -> tuple[Unit, ...]:
    """Return the units of a format, the best first; none where nothing is published."""
    return _tables().get(form, ())


@lru_cache(maxsize=1)
def _names() -> Mapping[str, Any]:
    value: Mapping[str, Any] = json.loads((HERE / "names.json").read_text(encoding="utf-8"))
    return value


def operators_for(form: str, operator: str) -> tuple[str, ...] | None:
    """Return a format's operators for one of PyTorch (without its overload).

    An empty tuple stands for an operator that leaves nothing in a file, None for an unknown one.
    """
    if operator in _names()["nothing"]:
        return ()
    found = _names()["operators"].get(operator, {}).get(form)
    return None if found is None else tuple(found.split())


def coverage(form: str, precision: str, operators: Mapping[str, int]) -> dict[str, int]:
    """Return unit -> how many of a file's operators it runs; empty where nothing is published."""
    return {
        unit.unit: sum(
            count
            for operator, count in operators.items()
            if not (unit.half_only and precision == "fp32")
            and (
                operator.startswith(unit.delegate)
                if unit.delegate
                else unit.reason_against(operator) is None
            )
        )
        for unit in units_of(form)
    }
