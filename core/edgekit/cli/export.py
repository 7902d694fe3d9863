"""``edgekit export``: a student becomes files for phones, each executed and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgekit.cli.common import RUNS, ConsoleReport, latest_run, note, planned, show
from edgekit.cli.shipped import shipped_name, shipped_student
from edgekit.core.errors import EdgekitError

if TYPE_CHECKING:
    from edgekit.core.manifest import BundleManifest
    from edgekit.export.targets import Options

app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
BASE_SIZE_PX = 256
BASE_CAPACITY = "4"


@app.command()
def export(
    run: Path | None = typer.Argument(
        None,
        help="Student folder of `edgekit distill`; shipped:restorer, shipped:identity or "
        "shipped:things for a student that ships; default: the one in runs/ made last.",
    ),
    target: list[str] = typer.Option(
        ["onnx", "android", "ios"],
        help="Platform: onnx, android, ios, tensorrt, executorch, openvino; give it once for each. "
        "web stands for onnx and android, all for every one that is installed.",
    ),
    precision: list[str] = typer.Option(
        ["fp32", "fp16", "int8"], help="fp32, fp16 or int8; give it once for each."
    ),
    out: Path | None = typer.Option(
        None,
        help="Bundle folder to write; with --base the run folder around it.",
        show_default="RUN/bundle, with --base runs/base, with shipped:NAME runs/NAME/bundle",
    ),
    base: bool = typer.Option(
        False, "--base", help="Export the shipped base, which takes concepts as a second input."
    ),
    base_folder: Path | None = typer.Option(
        None, help="With --base: a base of your own (weights.safetensors and card.json)."
    ),
    size: list[int] | None = typer.Option(
        None,
        help="Side of the pictures in pixels. One makes all files for that side; several make an "
        "ONNX file and a Core ML package that take each of them.",
        show_default="the student's own; 256 with --base",
    ),
    capacity: str | None = typer.Option(
        None,
        help="With --base: the largest rank of a concept, one for all groups of layers or like "
        '"down=2,ds=4,transformer=4,us=4,up=8".  [default: 4]',
    ),
    ios: int = typer.Option(16, help="Oldest iOS of the Core ML packages: 16, 17, 18 or 26."),
    compute_capability: list[str] | None = typer.Option(
        None,
        help="NVIDIA GPUs that TensorRT-RTX engines are for, like 8.6; give it once for each.",
        show_default="8.0 8.6 8.9 12.0",
    ),
    delegate: str = typer.Option(
        "xnnpack",
        help="What ExecuTorch hands its layers to: xnnpack, or coreml (cannot be executed here).",
    ),
    timeout: float = typer.Option(
        1800, help="Seconds that one converter may take; finished files are kept."
    ),
    no_cache: bool = typer.Option(
        False, "--no-cache", help="Make every file, even if this machine made it before."
    ),
) -> None:
    """Turn a student into files for phones, run each one here and compare it with PyTorch.

    With --base it is the base that is turned into files, once for all concepts: they are added
    with `edgekit adapters add`.

    Example: edgekit export runs/night --target onnx --target android --target ios
    """
    from edgekit.export.targets import (
        checked_options,
        checked_sizes,
        missing_targets,
        wanted_rows,
    )

    if base and run is not None:
        raise EdgekitError(
            f"--base exports the base itself, not {run}",
            hint=f"leave {run} out, then `edgekit adapters add` it to the base",
        )
    if timeout <= 0:
        raise EdgekitError(f"--timeout {timeout:g} is no time", hint="give it some seconds")
    for name, value in (("capacity", capacity), ("base-folder", base_folder)):
        if value is not None and not base:
            raise EdgekitError(
                f"--{name} needs --base: a student has one already",
                hint=f"leave --{name} out, or add --base",
            )
    rows = wanted_rows(target, precision)
    sizes = tuple(sorted(set(size or ())))
    if not base:  # a base has a rule of its own
        checked_sizes(sizes)
    options = checked_options(_options(sizes, ios, compute_capability, delegate))
    if "all" in target:
        for absent, problem in missing_targets().items():
            note(f"left out: {absent}, {problem.what}; {problem.hint}")
    files = [f"{form} {kind}" for form, kind in rows]
    if base:
        run = out or RUNS / "base"
        folder = run / "bundle"
        what: dict[str, object] = {"base": base_folder or "shipped"}
        side = sizes[-1] if sizes else BASE_SIZE_PX
        what |= {"size_px": side, "capacity": capacity or BASE_CAPACITY}
    else:
        run = run or latest_run()
        shipped = shipped_name(run)
        folder = out or (run if shipped is None else RUNS / shipped) / "bundle"
        what = {"student": run, **({"size_px": sizes} if sizes else {})}
    if planned({**what, "out": folder, "files": files}):
        return
    from edgekit.export.bundle import export_student  # loads torch
    from edgekit.export.cache import user_cache
    from edgekit.export.resize import student_at
    from edgekit.runtime.sessions import open_session

    if base:
        _write_base(run, base_folder, side, capacity or BASE_CAPACITY)
    elif shipped is not None:
        run = shipped_student(shipped)
    bundle = export_student(
        student_at(run, sizes[0], folder) if len(sizes) == 1 and not base else run,
        target,
        folder,
        open_session=open_session,
        precisions=precision,
        options=options,
        report=ConsoleReport(),
        timeout_s=timeout,
        cache=None if no_cache else user_cache(),
    )
    _tell(bundle, folder)
    if base:
        note(f"next: edgekit adapters add {run} RUN, then edgekit run {run} PHOTO --concept NAME")


def _options(
    sizes: tuple[int, ...], ios: int, compute_capability: list[str] | None, delegate: str
) -> Options:
    from edgekit.export.targets import DEFAULT, Options

    return Options(
        ios=ios,
        sizes=sizes if len(sizes) > 1 else (),
        compute_capabilities=tuple(compute_capability or DEFAULT.compute_capabilities),
        delegate=delegate,  # type: ignore[arg-type]  # checked_options looks at it
    )


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
    from edgekit.export.processes import worker_facts

    lines = [f"{'file':44} {'MB':>7} {'worst dB':>9} {'max abs':>9}"]
    for model in bundle.models:
        worst, largest = "not run", "here"
        if model.parity is not None:
            exact = model.parity.worst_psnr_db >= 999
            worst = "exact" if exact else f"{model.parity.worst_psnr_db:.1f}"
            largest = f"{model.parity.max_abs:.1e}"
        lines.append(f"{model.path:44} {model.bytes / 1e6:7.2f} {worst:>9} {largest:>9}")
    workers = worker_facts(folder)
    peaks = [
        f"{form} {facts['peak_mib']:.0f} MiB"
        for form, facts in workers.items()
        if "peak_mib" in facts
    ]
    if peaks:
        lines.append(f"peak memory of the last converters: {', '.join(peaks)}")
    lines.append(f"bundle: {folder}")
    answer = {"bundle": folder, **bundle.model_dump(mode="json"), "workers": workers}
    show(answer, "\n".join(lines))
