"""``edgekit verify``: proof that a bundle's files are whole and compute what the student does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.common import ConsoleReport, planned, show
from edgekit.core.errors import ParityFailed, TargetUnsupported

if TYPE_CHECKING:
    from edgekit.core.seams import Session
    from edgekit.runtime.verify import Check

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def verify(
    bundle: Annotated[
        Path, typer.Argument(help="Folder written by `edgekit export`, or a zip file of one.")
    ],
) -> None:
    """Check every file of a bundle: its sha256, its ports, and its output on the golden vectors.

    Of a base each concept is checked too: its sha256, and that it belongs to this base. Ends with 5
    if a file fails. Files that cannot be executed on this machine are listed as such.

    Example: edgekit verify runs/night/bundle
    """
    from edgekit.core.manifest import read_bundle
    from edgekit.runtime.archive import unpacked
    from edgekit.runtime.bundle import bundle_folder
    from edgekit.runtime.verify import verify_bundle

    with unpacked(bundle) as given:
        folder = bundle_folder(given)
        if planned({"command": "verify", "files": [m.path for m in read_bundle(folder).models]}):
            return
        found = verify_bundle(folder, evaluators=evaluators(), report=ConsoleReport())
    rows = (*found.checks, *found.concepts)
    show(found.as_dict(), table(rows))
    failed = [check.path for check in rows if check.status == "failed"]
    if failed:
        raise ParityFailed(
            f"{len(failed)} of {len(rows)} files failed, the first is {failed[0]}",
            hint="the table says why; copy the bundle again or export it anew",
        )
    if not found.passed:
        raise TargetUnsupported(
            f"no file of {bundle} can be executed on this machine",
            hint="run `edgekit doctor` to see what is missing",
        )


def evaluators() -> dict[str, Callable[[Path], Session]]:
    """Return what stands in for runtimes that are not here, by suffix.

    Core ML packages are computed from their bytes (needs torch and coremltools); of a .trt folder
    the ONNX file that an engine is built of is run by ONNX Runtime.
    """
    from importlib import import_module
    from importlib.util import find_spec

    def open_package(path: Path) -> Session:
        # Importing it complains, once a class, that Apple's framework is not there: we know.
        logging.getLogger("coremltools").setLevel(logging.CRITICAL)
        session: Session = import_module("edgekit.export.mil.session").open_package(path)
        return session

    def open_source(path: Path) -> Session:
        from edgekit.core.engines import SOURCE
        from edgekit.runtime.sessions import open_session

        return open_session(path / SOURCE)

    found: dict[str, Callable[[Path], Session]] = {}
    if find_spec("torch") is not None and find_spec("coremltools") is not None:
        found[".mlpackage"] = open_package
    if find_spec("onnxruntime") is not None:
        found[".trt"] = open_source
    return found


def table(checks: tuple[Check, ...]) -> str:
    """Return the rows as aligned text, one line a file."""
    rows = [("file", "verdict", "dB", "max abs", "bar")]
    for check in checks:
        psnr_db = "" if check.psnr_db is None else f"{check.psnr_db:.1f}"
        if check.max_abs == 0:
            psnr_db = "same"
        max_abs = "" if check.max_abs is None else f"{check.max_abs:.1e}"
        status = "ok, evaluated" if check.evaluated and check.status == "ok" else check.status
        rows.append((check.path, status, psnr_db, max_abs, check.bar))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    for number, check in enumerate(checks, start=1):
        if check.status == "failed":
            lines[number] += f"\n    {check.reason}"
    notes = {check.reason: None for check in checks if check.status == "not executable here"}
    if any(check.evaluated for check in checks):
        lines.append(
            "evaluated: computed here from the file's own bytes, not by the runtime of the format "
            "(of a .trt folder its ONNX file, not an engine)"
        )
    return "\n".join([*lines, *(f"not executable here: {reason}" for reason in notes)])
