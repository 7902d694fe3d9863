"""What every command shares: the options that may stand anywhere, output, progress, plans."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from edgekit.core.errors import EdgekitError

RUNS = Path("runs")
"""Where runs are written when no ``--out`` is given, and looked for when no RUN is given."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options that any command takes, wherever they stand on the line."""

    json: bool = False
    quiet: bool = False
    debug: bool = False
    dry_run: bool = False
    config: str | None = None


_DEFAULT = Options()
_CURRENT: ContextVar[Options] = ContextVar("options", default=_DEFAULT)


def typed_options(ctx: typer.Context) -> list[str]:
    """Return the options that stand on the line; others come from a file or the environment."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def refuse_others(ctx: typer.Context, taken: Collection[str], student: str) -> None:
    """Raise EdgekitError if the line has an option that `student` does not take."""
    if alien := [name for name in typed_options(ctx) if name not in taken]:
        raise EdgekitError(
            f"--{alien[0].replace('_', '-')} is not for {student}",
            hint="leave it out; `edgekit distill --help` says which options are",
        )


def options() -> Options:
    """Return the options of the running command."""
    return _CURRENT.get()


def use_options(chosen: Options) -> None:
    """Set the options of the running command (called once, by ``main``)."""
    _CURRENT.set(chosen)


def show(data: Mapping[str, Any], text: str) -> None:
    """Print the result to stdout: `data` as one JSON object with ``--json``, else `text`."""
    if options().json:
        typer.echo(json.dumps(data, ensure_ascii=False, default=str))
    elif text:
        typer.echo(text)


def note(text: str) -> None:
    """Say something to the person on stderr; silent with ``-q``."""
    if not options().quiet:
        typer.echo(text, err=True)


def planned(plan: Mapping[str, Any]) -> bool:
    """With ``--dry-run`` print the resolved plan as JSON and return True: do no work."""
    if options().dry_run:
        typer.echo(json.dumps(plan, indent=None if options().json else 2, default=str))
        return True
    return False


def latest_run(folder: Path = RUNS, *, form: str | None = None) -> Path:
    """Return the student folder below `folder` that was finished last, of this form if given.

    Raises EdgekitError if there is none, so that a command called without RUN says what to do.
    """
    found = []
    for manifest in folder.glob("*/manifest.json"):
        with contextlib.suppress(OSError, ValueError):
            facts = json.loads(manifest.read_text(encoding="utf-8"))
            if facts.get("kind") == "student" and form in (None, facts.get("form")):
                found.append(manifest)
    if not found:
        how = "--concept ..." if form is None else f"--student {form}"
        raise EdgekitError(
            f"no RUN is given and {folder}/ holds no finished {form or 'student'}",
            hint=f"name a run folder, or make one with `edgekit distill {how}`",
        )
    return max(found, key=lambda manifest: manifest.stat().st_mtime).parent


class ConsoleReport:
    """Draws progress with an ETA on stderr: a moving line on a terminal, else a line now and then.

    It is the `edgekit.core.progress.Report` of the command line.
    """

    def __init__(self, *, every_s: float = 10.0) -> None:
        """`every_s` is the time between two lines when stderr is not a terminal."""
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._every_s = 0.1 if self._terminal else every_s
        self._label = ""
        self._start = self._last = 0.0

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` units of the stage `label` are finished."""
        if options().quiet:
            return
        now = time.monotonic()
        if label != self._label:
            self._label, self._start, self._last = label, now, 0.0
        if done < total and now - self._last < self._every_s:
            return
        self._last = now
        spent = now - self._start
        left = spent / done * (total - done) if done else 0.0
        eta = f" {_clock(left)} left" if 0 < done < total else f" {_clock(spent)}" if done else ""
        line = f"{label}: {done}/{total}{eta}{'  ' + note if note else ''}"
        if self._terminal:
            sys.stderr.write(f"\r\x1b[2K{line[:118]}" + ("\n" if done >= total else ""))
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
