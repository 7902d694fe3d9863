"""One session a model format, found by the file's suffix; a back end is imported when asked for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

from edgekit.core.cuda import device
from edgekit.core.engines import BackendName, refused_device
from edgekit.core.errors import (
    BadInput,
    DependencyMissing,
    EdgekitError,
    TargetUnsupported,
    unknown_name,
)
from edgekit.core.seams import Session


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a format's session lives and what it needs."""

    module: str
    needs: str
    package: str
    extra: str
    only_on: str | None = None
    """Value of ``sys.platform`` without which the format cannot run at all."""
    interpreted_on: str | None = None
    """Value of ``sys.platform`` where the runtime is an interpreter: right, but not a measure."""
    gpu: BackendName | None = None
    """TensorRT back end that the format is executed by, on an NVIDIA GPU only."""


BACKENDS = {
    ".onnx": Backend("edgekit.runtime.sessions.onnxruntime", "onnxruntime", "onnxruntime", "onnx"),
    ".tflite": Backend(
        "edgekit.runtime.sessions.litert", "ai_edge_litert", "ai-edge-litert", "android"
    ),
    ".aimodel": Backend(
        "edgekit.runtime.sessions.coreai", "coreai", "coreai-core", "ios", interpreted_on="linux"
    ),
    ".mlpackage": Backend(
        "edgekit.runtime.sessions.coreml", "coremltools", "coremltools", "ios", only_on="darwin"
    ),
    ".pte": Backend(
        "edgekit.runtime.sessions.executorch", "executorch", "executorch", "executorch"
    ),
    ".engine": Backend(
        "edgekit.runtime.sessions.tensorrt",
        "tensorrt_rtx_bindings",
        "tensorrt-rtx-cu13-bindings",
        "tensorrt",
        gpu="tensorrt_rtx",
    ),
    ".trt": Backend(
        "edgekit.runtime.sessions.tensorrt", "tensorrt", "tensorrt", "tensorrt-full", gpu="tensorrt"
    ),
    ".openvino": Backend("edgekit.runtime.sessions.openvino", "openvino", "openvino", "openvino"),
}
"""Suffix -> back end."""


class _Opener(Protocol):
    def open_file(self, path: Path, *, threads: int) -> Session: ...


def backend_of(path: Path) -> Backend:
    """Return the back end for a model file; EdgekitError for a suffix that none has."""
    if path.suffix not in BACKENDS:
        raise unknown_name("model format", path.suffix or path.name, BACKENDS)
    return BACKENDS[path.suffix]


def obstacle(path: Path) -> EdgekitError | None:
    """Return what keeps this machine from executing files like `path`, None if nothing does.

    The file itself is not opened and no back end is imported.
    """
    backend = backend_of(path)
    if backend.only_on is not None and sys.platform != backend.only_on:
        return TargetUnsupported(
            f"{path.suffix} files are executed by Apple's own framework, on macOS only",
            hint="run the same command on a Mac, or use another file of the bundle here",
        )
    if backend.gpu and (problem := refused_device(device(), backend.gpu)):
        return TargetUnsupported(problem, hint="use another file of the bundle here")
    if find_spec(backend.needs) is None:
        return DependencyMissing(backend.package, extra=backend.extra)
    return None


def open_session(path: Path, *, threads: int = 1) -> Session:
    """Load the model file `path` so that it can be called; `threads` is the CPU threads it takes.

    Ports are read from the file: names, shapes, dtypes and layout; black and white are -1 and 1
    (0 and 255 for uint8), because no format stores them: a bundle's manifest does.

    Raises BadInput for a missing or damaged file, DependencyMissing with the extra to install,
    TargetUnsupported if this platform can never run it, ValueError for `threads` below 1.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    backend = backend_of(path)
    if not path.exists():
        raise BadInput(f"{path} does not exist", hint="check the path, or export the bundle again")
    if found := obstacle(path):
        raise found
    return cast(_Opener, import_module(backend.module)).open_file(path, threads=threads)
