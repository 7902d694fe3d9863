"""``edgekit verify``: proof that a bundle's files are whole and compute what the student does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.common import ConsoleReport, planned, show
from edgekit.core.errors import ParityFailed, TargetUnsupported

if TYPE_CHECKING:
    from edgekit.runtime.verify import Check

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `edgekit export`.")],
) -> None:
    """Check every file of a bundle: its sha256, its ports, and its output on the golden vectors.

    Ends with 5 if a file fails. Files that cannot be executed on this machine are listed as such.

    Example: edgekit verify runs/night/bundle
    """
    from edgekit.core.manifest import read_bundle
    from edgekit.runtime.bundle import bundle_folder
    from edgekit.runtime.verify import verify_bundle

    folder = bundle_folder(bundle)
    if planned({"command": "verify", "files": [m.path for m in read_bundle(folder).models]}):
        return
    found = verify_bundle(folder, report=ConsoleReport())
    show(found.as_dict(), table(found.checks))
    failed = [check.path for check in found.checks if check.status == "failed"]
    if failed:
        raise ParityFailed(
            f"{len(failed)} of {len(found.checks)} files failed, the first is {failed[0]}",
            hint="the table says why; copy the bundle again or export it anew",
        )
    if not found.passed:
        raise TargetUnsupported(
            f"no file of {folder} can be executed on this machine",
            hint="run `edgekit doctor` to see what is missing",
        )


def table(checks: tuple[Check, ...]) -> str:
    """Return the rows as aligned text, one line a file."""
    rows = [("file", "verdict", "dB", "max abs", "bar")]
    for check in checks:
        psnr_db = "" if check.psnr_db is None else f"{check.psnr_db:.1f}"
        if check.max_abs == 0:
            psnr_db = "same"
        max_abs = "" if check.max_abs is None else f"{check.max_abs:.1e}"
        rows.append((check.path, check.status, psnr_db, max_abs, check.bar))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    for number, check in enumerate(checks, start=1):
        if check.status == "failed":
            lines[number] += f"\n    {check.reason}"
    notes = {check.reason: None for check in checks if check.status == "not executable here"}
    return "\n".join([*lines, *(f"not executable here: {reason}" for reason in notes)])
