"""One callable through which long work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Told by long work after each unit; the command line draws a bar with it."""

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        """Say that `done` of `total` units of the stage `label` are finished."""
        ...


def silent(label: str, done: int, total: int, note: str = "") -> None:
    """Report nothing; the default of every library function."""
