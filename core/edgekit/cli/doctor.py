"""``edgekit doctor``: what this machine can do, and the one command that mends each gap."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from edgekit.cli.common import show

app = typer.Typer(rich_markup_mode=None, add_completion=False)

PURPOSES = {
    "distill": "teachers, pairs and students",
    "onnx": "target onnx: written, executed and verified here",
    "android": "target android (LiteRT): written, executed and verified here",
    "ios": "target ios (Core ML, Core AI): written; Core AI executed and verified here",
    "tensorrt": "target tensorrt: engines built ahead of time, their ONNX files executed here",
    "executorch": "target executorch: written, executed (XNNPACK) and verified here",
    "openvino": "target openvino: written, executed and verified here; its telemetry is off",
    "mesh": "textures of meshes made of prompts",
}
WITHOUT_TORCH = ("mesh", "tensorrt-full")
DEVICE_ONLY = {"tensorrt-full": "edgekit trt build: engines built on the GPU that runs them"}
"""Extras for a device, which a machine that exports does not need."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    ready: bool
    detail: str
    fix: str | None = None


@app.command()
def doctor() -> None:
    """Say per target: ready, or the one command that makes it so.

    Example: edgekit doctor --json
    """
    findings = [*_extras(), *_assets(), *_machine()]
    width = max(len(finding.name) for finding in findings)
    lines = []
    for found in findings:
        lines.append(
            f"{'ready  ' if found.ready else 'missing'} {found.name:{width}}  {found.detail}"
        )
        if found.fix:
            lines.append(f"        {'':{width}}  {found.fix}")
    show({"findings": [asdict(found) for found in findings]}, "\n".join(lines))


def _extras() -> list[Finding]:
    from edgekit.core.versions import EXTRAS, installed

    findings = []
    for extra, purpose in {**PURPOSES, **DEVICE_ONLY}.items():
        own = [] if extra in WITHOUT_TORCH else ["torch"]
        distributions = [*EXTRAS[extra].values(), *own]
        missing = [name for name in dict.fromkeys(distributions) if installed(name) is None]
        detail = purpose if not missing else f"{purpose}; missing: {', '.join(missing)}"
        fix = f"run: pip install 'edgekit-toolchain[{extra}]'" if missing else None
        findings.append(Finding(extra, not missing, detail, fix))
    return findings


def _assets() -> list[Finding]:
    from edgekit.cli.shipped import ships
    from edgekit.core.assets import NAMES, STUDENTS, asset_folder
    from edgekit.core.errors import EdgekitError
    from edgekit.core.store import size_bytes

    findings = []
    for name in (*NAMES, *filter(ships, STUDENTS)):
        try:
            folder = asset_folder(name)
            detail = f"shipped weights, {size_bytes(folder) / 1e6:.1f} MB"
            findings.append(Finding(name, True, detail))
        except EdgekitError as error:
            findings.append(Finding(name, False, error.what, error.hint))
    return findings


def _machine() -> list[Finding]:
    import os
    import platform
    import shutil

    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    detail = (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {free_gb:.0f} GB free here"
    )
    fix = None if free_gb >= 2 else "free 2 GB of disk: pairs and model files need it"
    findings = [Finding("machine", fix is None, detail, fix)]
    findings.append(_gpu())
    findings.append(_cache())
    findings.append(_android_app())
    for tool, purpose in (("adb", "Android devices"), ("xcrun", "iOS devices (macOS only)")):
        path = shutil.which(tool)
        findings.append(Finding(tool, path is not None, f"{purpose}: {path or 'not on the PATH'}"))
    return findings


def _gpu() -> Finding:
    from edgekit.core.cuda import device
    from edgekit.core.engines import refused_device

    found = device()
    if found is None:
        return Finding("gpu", False, "no NVIDIA driver: TensorRT engines are built, not run, here")
    detail = (
        f"{found.name}, compute capability {found.compute_capability}, driver of CUDA "
        f"{found.driver}"
    )
    if problem := refused_device(found, "tensorrt_rtx"):
        detail += f"; {problem}"
    return Finding("gpu", True, detail)


def _android_app() -> Finding:
    from edgekit.core.errors import EdgekitError
    from edgekit.runtime.apps.android_tools import tools

    try:
        folder = tools().folder
    except EdgekitError as error:
        return Finding(
            "android app", False, f"edgekit app --target android: {error.what}", error.hint
        )
    return Finding("android app", True, f"edgekit app --target android: tools in {folder}")


def _cache() -> Finding:
    from edgekit.core.cache import LIMIT_BYTES, cache_folder
    from edgekit.core.store import size_bytes

    folder = cache_folder() / "exports"
    held = size_bytes(folder) if folder.is_dir() else 0
    detail = (
        f"exported files in {folder}: {held / 1e6:.0f} MB of at most {LIMIT_BYTES / 1e6:.0f}; "
        "delete it whenever you like"
    )
    return Finding("cache", True, detail)
