"""``edgekit trt build``: the engines of a bundle, built on the device; needs no torch.

Engines lie in the bundle's ``built/``, which its manifest does not list: they belong to this
device, driver and version, and are built again when one of these changes.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgekit.core import cuda
from edgekit.core.engines import (
    BUILT,
    ENGINE,
    FINGERPRINT,
    NO_DRIVER,
    SOURCE,
    BackendName,
    Fingerprint,
    mismatch,
    read_fingerprint,
)
from edgekit.core.errors import BadInput, TargetUnsupported
from edgekit.core.manifest import ModelEntry, read_bundle
from edgekit.core.progress import Report, silent
from edgekit.core.store import file_sha256, locked, write_bytes, write_json
from edgekit.export.engines import EngineRefused, build, library

TIMING_CACHE = "timing.cache"


@dataclass(frozen=True, slots=True)
class DeviceEngine:
    """One engine that `build_on_device` made or found."""

    path: Path
    precision: str
    bytes: int
    seconds: float
    status: Literal["built", "kept"]
    fingerprint: Fingerprint


def build_on_device(
    folder: Path,
    *,
    backend: BackendName = "tensorrt",
    precisions: Sequence[str] = (),
    compute_capabilities: Sequence[str] = (),
    report: Report = silent,
) -> list[DeviceEngine]:
    """Build the engines of the bundle in `folder`; those that fit this device already are kept.

    Raises BadInput for a bundle without .trt folders or with a changed one, DependencyMissing,
    TargetUnsupported without a GPU (the full package) or for a network that is not taken.
    """
    manifest = read_bundle(folder)
    entries = [
        entry
        for entry in manifest.models
        if entry.format == "trt" and (not precisions or entry.precision in precisions)
    ]
    if not entries:
        raise BadInput(
            f"{folder} holds no .trt folder{' of that precision' if precisions else ''}",
            hint="export it with `edgekit export RUN --target tensorrt`",
        )
    version = str(library(backend).__version__)
    made = []
    with locked(folder / BUILT):
        for place, entry in enumerate(entries):
            report("trt build", place, len(entries), entry.path)
            made.append(_engine(folder, entry, backend, version, compute_capabilities))
    report("trt build", len(entries), len(entries))
    return made


def _engine(
    folder: Path,
    entry: ModelEntry,
    backend: BackendName,
    version: str,
    compute_capabilities: Sequence[str],
) -> DeviceEngine:
    source = folder / entry.path
    if not source.exists() or file_sha256(source) != entry.sha256:
        raise BadInput(
            f"{source} is not the folder that was exported", hint="copy the whole bundle again"
        )
    final = folder / BUILT / Path(entry.path).with_suffix(".engine").name
    kept = _fitting(final, source / SOURCE, backend, version, compute_capabilities)
    if kept is not None:
        size = (final / ENGINE).stat().st_size
        return DeviceEngine(final, entry.precision, size, 0.0, "kept", kept)
    start = time.monotonic()
    cache = folder / BUILT / TIMING_CACHE
    try:
        made = build(
            source / SOURCE,
            backend,
            compute_capabilities=compute_capabilities,
            timing_cache=cache.read_bytes() if cache.is_file() else None,
        )
    except EngineRefused as error:
        raise TargetUnsupported(
            f"{backend} {version} does not take {entry.path}: {error}",
            hint="build another --precision, or export the bundle anew",
        ) from error
    with tempfile.TemporaryDirectory(dir=folder / BUILT) as scratch:
        work = Path(scratch) / "made"
        write_bytes(work / ENGINE, made.engine)
        write_json(work / FINGERPRINT, made.fingerprint.model_dump(mode="json"))
        shutil.rmtree(final, ignore_errors=True)
        work.rename(final)
    if made.timing_cache is not None:
        write_bytes(cache, made.timing_cache)
    seconds = round(time.monotonic() - start, 2)
    return DeviceEngine(
        final, entry.precision, len(made.engine), seconds, "built", made.fingerprint
    )


def _fitting(
    final: Path,
    source: Path,
    backend: BackendName,
    version: str,
    compute_capabilities: Sequence[str],
) -> Fingerprint | None:
    """Return the fingerprint of an engine that need not be built again."""
    if not (final / ENGINE).is_file() or not (final / FINGERPRINT).is_file():
        return None
    try:
        found = read_fingerprint(final)
    except BadInput:
        return None
    if found.backend != backend or found.onnx_sha256 != file_sha256(source):
        return None
    device = cuda.device()
    if backend == "tensorrt_rtx" and found.device == NO_DRIVER:
        same = found.version == version
        wanted = set(compute_capabilities) <= set(found.compute_capabilities)
        return found if same and wanted else None
    fits = device is not None and mismatch(found, device, version) is None
    return found if fits else None
