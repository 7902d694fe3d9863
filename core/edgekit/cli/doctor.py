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
}


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
    for extra, purpose in PURPOSES.items():
        distributions = [*EXTRAS[extra].values(), "torch"]
        missing = [name for name in dict.fromkeys(distributions) if installed(name) is None]
        detail = purpose if not missing else f"{purpose}; missing: {', '.join(missing)}"
        fix = f"run: pip install 'edgekit-toolchain[{extra}]'" if missing else None
        findings.append(Finding(extra, not missing, detail, fix))
    return findings


def _assets() -> list[Finding]:
    from edgekit.core.assets import NAMES, asset_folder
    from edgekit.core.errors import EdgekitError
    from edgekit.core.store import size_bytes

    findings = []
    for name in NAMES:
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
    for tool, purpose in (("adb", "Android devices"), ("xcrun", "iOS devices (macOS only)")):
        path = shutil.which(tool)
        findings.append(Finding(tool, path is not None, f"{purpose}: {path or 'not on the PATH'}"))
    return findings
