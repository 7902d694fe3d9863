"""``edgekit trt build``: TensorRT engines, made on the device that will run them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import ConsoleReport, planned, show
from edgekit.core.errors import unknown_name

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Build TensorRT engines of a bundle on the device that runs them.",
)
BACKENDS = ("tensorrt", "tensorrt_rtx")


@app.callback()
def trt() -> None:
    """Build TensorRT engines of a bundle on the device that runs them."""


@app.command()
def build(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `edgekit export`.")],
    backend: Annotated[
        str,
        typer.Option(
            help="tensorrt (Jetson, data centre; builds for the GPU at hand) or tensorrt_rtx "
            "(GeForce, RTX; builds ahead of time)."
        ),
    ] = "tensorrt",
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, fp16 or int8; give it once for each.", show_default="all"),
    ] = None,
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(
            help="With tensorrt_rtx: what to build for, like 8.6; give it once for each.",
            show_default="8.0 8.6 8.9 12.0",
        ),
    ] = None,
) -> None:
    """Build an engine of every .trt folder of a bundle, or keep those that fit this device.

    The engines lie in BUNDLE/built/, each with a fingerprint that the runtime checks: they are
    built again after another version, GPU or driver. A timing cache makes that faster.

    Example: edgekit trt build runs/night/bundle --precision fp16
    """
    from edgekit.core.manifest import read_bundle
    from edgekit.export.device_build import build_on_device
    from edgekit.export.targets import Options, checked_options, checked_precisions
    from edgekit.runtime.bundle import bundle_folder

    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    chosen = checked_precisions(precision) if precision else ()
    capabilities = tuple(compute_capability or Options().compute_capabilities)
    if backend == "tensorrt_rtx":
        checked_options(Options(compute_capabilities=capabilities))
    folder = bundle_folder(bundle)
    files = [entry.path for entry in read_bundle(folder).models if entry.format == "trt"]
    if planned({"command": "trt build", "backend": backend, "files": files}):
        return
    made = build_on_device(
        folder,
        backend="tensorrt" if backend == "tensorrt" else "tensorrt_rtx",
        precisions=chosen,
        compute_capabilities=capabilities,
        report=ConsoleReport(),
    )
    lines = [f"{'engine':44} {'MB':>7} {'seconds':>8}  for"]
    lines += [
        f"{found.path.name:44} {found.bytes / 1e6:7.2f} {found.seconds:8.1f}  "
        f"{' '.join(found.fingerprint.compute_capabilities)}, {found.status}"
        for found in made
    ]
    rows = [
        {
            "path": str(found.path),
            "precision": found.precision,
            "bytes": found.bytes,
            "seconds": found.seconds,
            "status": found.status,
            **found.fingerprint.facts(),
        }
        for found in made
    ]
    show({"engines": rows}, "\n".join(lines))
