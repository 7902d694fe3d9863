"""``edgekit export``: a student becomes files for phones, each executed and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgekit.cli.common import RUNS, ConsoleReport, latest_run, note, planned, show
from edgekit.core.errors import EdgekitError

if TYPE_CHECKING:
    from edgekit.core.manifest import BundleManifest

app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
BASE_SIZE_PX = 256
BASE_CAPACITY = "4"


@app.command()
def export(
    run: Path | None = typer.Argument(
        None, help="Student folder of `edgekit distill`; default: the one in runs/ made last."
    ),
    target: list[str] = typer.Option(
        ["onnx", "android", "ios"],
        help="Platform: onnx, android, ios; give it once for each. web stands for onnx and "
        "android, all for every one that is installed.",
    ),
    precision: list[str] = typer.Option(
        ["fp32", "fp16", "int8"], help="fp32, fp16 or int8; give it once for each."
    ),
    out: Path | None = typer.Option(
        None,
        help="Bundle folder to write; with --base the run folder around it.",
        show_default="RUN/bundle, with --base runs/base",
    ),
    base: bool = typer.Option(
        False, "--base", help="Export the shipped base, which takes concepts as a second input."
    ),
    base_folder: Path | None = typer.Option(
        None, help="With --base: a base of your own (weights.safetensors and card.json)."
    ),
    size: int | None = typer.Option(
        None, help="With --base: side of its pictures, a multiple of 32.  [default: 256]"
    ),
    capacity: str | None = typer.Option(
        None,
        help="With --base: the largest rank of a concept, one for all groups of layers or like "
        '"down=2,ds=4,transformer=4,us=4,up=8".  [default: 4]',
    ),
) -> None:
    """Turn a student into files for phones, run each one here and compare it with PyTorch.

    With --base it is the base that is turned into files, once for all concepts: they are added
    with `edgekit adapters add`.

    Example: edgekit export runs/night --target onnx --target android --target ios
    """
    from edgekit.export.targets import missing_targets, wanted_rows

    if base and run is not None:
        raise EdgekitError(
            f"--base exports the base itself, not {run}",
            hint=f"leave {run} out, then `edgekit adapters add` it to the base",
        )
    for name, value in (("size", size), ("capacity", capacity), ("base-folder", base_folder)):
        if value is not None and not base:
            raise EdgekitError(
                f"--{name} needs --base: a student has one already",
                hint=f"leave --{name} out, or add --base",
            )
    rows = wanted_rows(target, precision)
    if "all" in target:
        for absent, problem in missing_targets().items():
            note(f"left out: {absent}, {problem.what}; {problem.hint}")
    files = [f"{form} {kind}" for form, kind in rows]
    if base:
        run = out or RUNS / "base"
        folder = run / "bundle"
        what: dict[str, object] = {"base": base_folder or "shipped"}
        what |= {"size_px": size or BASE_SIZE_PX, "capacity": capacity or BASE_CAPACITY}
    else:
        run = run or latest_run()
        folder = out or run / "bundle"
        what = {"student": run}
    if planned({**what, "out": folder, "files": files}):
        return
    from edgekit.export.bundle import export_student  # loads torch
    from edgekit.runtime.sessions import open_session

    if base:
        _write_base(run, base_folder, size or BASE_SIZE_PX, capacity or BASE_CAPACITY)
    bundle = export_student(
        run,
        target,
        folder,
        open_session=open_session,
        precisions=precision,
        report=ConsoleReport(),
    )
    _tell(bundle, folder)
    if base:
        note(f"next: edgekit adapters add {run} RUN, then edgekit run {run} PHOTO --concept NAME")


def _write_base(run: Path, folder: Path | None, size_px: int, capacity: str) -> None:
    from edgekit.distill.adapters_base import write_base
    from edgekit.distill.base import load_base
    from edgekit.distill.ranks import ranks_of_text

    ranks = int(capacity) if capacity.isdecimal() else ranks_of_text(capacity)
    write_base(run, load_base(folder), size_px=size_px, capacity=ranks, report=ConsoleReport())


def _tell(bundle: BundleManifest, folder: Path) -> None:
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
