"""What a run folder holds, read for the report; every part but one of two may be missing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.core.errors import BadInput
from edgekit.core.manifest import BundleManifest, read_bundle
from edgekit.core.store import MANIFEST, read_json


@dataclass(frozen=True, slots=True)
class Facts:
    """A run as its files tell it."""

    run: Path
    student: dict[str, Any]
    """The student's manifest; empty for a bundle on its own."""
    bundle: BundleManifest | None
    bundle_folder: Path
    bench: dict[str, Any]
    """The last measurement; empty if there is none."""
    log: list[dict[str, float]] = field(default_factory=list)
    """Rows of the training log, numbers only."""
    recipe: str = ""
    search: dict[str, Any] = field(default_factory=dict)
    """The table of a search of ranks; empty if there was none."""

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.student.get("name") or (self.bundle.name if self.bundle else self.run.name))

    @property
    def prompt(self) -> str:
        """The edit in the teacher's words."""
        return str(self.student.get("prompt") or (self.bundle.prompt if self.bundle else ""))


def read_run(run: Path) -> Facts:
    """Read the run folder `run`, or a bundle on its own.

    Raises BadInput if it is neither, or if one of its files cannot be read.
    """
    if not run.is_dir():
        raise BadInput(f"{run} does not exist", hint="name a folder written by `edgekit distill`")
    found = read_json(run / MANIFEST) if (run / MANIFEST).is_file() else {}
    kind = found.get("kind") if isinstance(found, dict) else None
    if kind == "bundle":
        return Facts(run, {}, read_bundle(run), run, _measured(run), recipe="")
    folder = run / "bundle"
    bundle = read_bundle(folder) if (folder / MANIFEST).is_file() else None
    if kind != "student" and bundle is None:
        raise BadInput(
            f"{run} holds neither a student nor a bundle",
            hint="name a folder written by `edgekit distill` or `edgekit export`",
        )
    recipe = run / "recipe.toml"
    return Facts(
        run,
        found if kind == "student" else {},
        bundle,
        folder,
        _measured(run),
        _log_rows(run / "log.jsonl"),
        recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        _searched(run),
    )


def _measured(run: Path) -> dict[str, Any]:
    file = run / "bench.json"
    return dict(read_json(file)) if file.is_file() else {}


def _searched(run: Path) -> dict[str, Any]:
    file = run / "search.json"
    found = read_json(file) if file.is_file() else {}
    return dict(found) if isinstance(found, dict) and found.get("kind") == "search" else {}


def _log_rows(file: Path) -> list[dict[str, float]]:
    """Return the log's numbers; a last line that was cut off by a kill does not count."""
    if not file.is_file():
        return []
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(
                {
                    str(key): float(value)
                    for key, value in row.items()
                    if isinstance(value, (int, float)) and not isinstance(value, bool)
                }
            )
    return rows
