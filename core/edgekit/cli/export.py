"""``edgekit export``: a student becomes files for phones, each executed and compared."""

from __future__ import annotations

from pathlib import Path

import typer

from edgekit.cli.common import ConsoleReport, latest_run, note, planned, show

app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def export(
    run: Path | None = typer.Argument(
        None, help="Student folder of `edgekit distill`; default: the one in runs/ made last."
    ),
    target: list[str] = typer.Option(
        ["onnx", "android", "ios"], help="Platform: onnx, android or ios; give it once for each."
    ),
    precision: list[str] = typer.Option(
        ["fp32", "fp16", "int8"], help="fp32, fp16 or int8; give it once for each."
    ),
    out: Path | None = typer.Option(
        None, help="Bundle folder to write.", show_default="RUN/bundle"
    ),
) -> None:
    """Turn a student into files for phones, run each one here and compare it with PyTorch.

    Example: edgekit export runs/night --target onnx --target android --target ios
    """
    from edgekit.export.targets import wanted_rows

    run = run or latest_run()
    rows = wanted_rows(target, precision)
    folder = out or run / "bundle"
    plan = {"student": run, "out": folder, "files": [f"{form} {kind}" for form, kind in rows]}
    if planned(plan):
        return
    from edgekit.export.bundle import export_student  # loads torch
    from edgekit.runtime.sessions import open_session

    bundle = export_student(
        run,
        target,
        folder,
        open_session=open_session,
        precisions=precision,
        report=ConsoleReport(),
    )
    for refusal in bundle.refused:
        note(
            f"not shipped: {refusal.target} {refusal.format} {refusal.precision}: {refusal.reason}"
        )
    lines = [f"{'file':44} {'MB':>7} {'worst dB':>9} {'max abs':>9}"]
    for model in bundle.models:
        worst, largest = "not run", "here"
        if model.parity is not None:
            exact = model.parity.worst_psnr_db >= 999
            worst = "exact" if exact else f"{model.parity.worst_psnr_db:.1f}"
            largest = f"{model.parity.max_abs:.1e}"
        lines.append(f"{model.path:44} {model.bytes / 1e6:7.2f} {worst:>9} {largest:>9}")
    lines.append(f"bundle: {folder}")
    show({"bundle": folder, **bundle.model_dump(mode="json")}, "\n".join(lines))
