"""``edgekit report``: one page that shows a run to somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import ConsoleReport, planned, show

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def report(
    run: Annotated[
        Path, typer.Argument(help="Folder of `edgekit distill`, or a bundle on its own.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="HTML file to write.  [default: RUN/report.html]"),
    ] = None,
) -> None:
    """Write one offline HTML page about a run: pictures, curves, parity, sizes, latency, origin.

    Example: edgekit report runs/night -o report.html
    """
    from edgekit.benchmarks.report.facts import read_run
    from edgekit.benchmarks.report.page import write_report
    from edgekit.cli.verify import evaluators
    from edgekit.core.store import prepared_folder, size_bytes

    file = out or run / "report.html"
    facts = read_run(run)
    if planned(
        {
            "command": "report",
            "run": run,
            "bundle": facts.bundle_folder if facts.bundle else None,
            "bench": bool(facts.bench),
            "out": file,
        }
    ):
        return
    prepared_folder(file.parent)
    write_report(run, file, evaluators=evaluators(), report=ConsoleReport())
    size = size_bytes(file)
    show({"report": file, "bytes": size}, f"{file}  {size / 1e6:.1f} MB")
