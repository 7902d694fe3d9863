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
    folder: bool = False
    """Whether what carries the suffix is a folder."""
    providers: tuple[str, ...] = ("default",)
    """What a file can be handed to, the one it is handed to unless told otherwise first."""
    takes_threads: bool = True
    """Whether `threads` means anything: some runtimes choose for themselves."""


_HERE = "edgekit.runtime.sessions"
BACKENDS = {
    ".onnx": Backend(
        f"{_HERE}.onnxruntime",
        "onnxruntime",
        "onnxruntime",
        "onnx",
        providers=(
            "cpu",
            "cuda",
            "tensorrt",
            "coreml",
            "directml",
            "openvino",
            "webgpu",
            "xnnpack",
        ),
    ),
    ".tflite": Backend(
        f"{_HERE}.litert",
        "ai_edge_litert",
        "ai-edge-litert",
        "android",
        providers=("xnnpack", "plain"),
    ),
    ".aimodel": Backend(
        f"{_HERE}.coreai",
        "coreai",
        "coreai-core",
        "ios",
        interpreted_on="linux",
        folder=True,
        takes_threads=False,
    ),
    ".mlpackage": Backend(
        f"{_HERE}.coreml",
        "coremltools",
        "coremltools",
        "ios",
        only_on="darwin",
        folder=True,
        providers=("all", "cpu", "cpu-gpu", "cpu-npu"),
        takes_threads=False,
    ),
    ".pte": Backend(f"{_HERE}.executorch", "executorch", "executorch", "executorch"),
    ".engine": Backend(
        f"{_HERE}.tensorrt",
        "tensorrt_rtx_bindings",
        "tensorrt-rtx-cu13-bindings",
        "tensorrt",
        gpu="tensorrt_rtx",
        folder=True,
        takes_threads=False,
    ),
    ".trt": Backend(
        f"{_HERE}.tensorrt",
        "tensorrt",
        "tensorrt",
        "tensorrt-full",
        gpu="tensorrt",
        folder=True,
        takes_threads=False,
    ),
    ".openvino": Backend(
        f"{_HERE}.openvino",
        "openvino",
        "openvino",
        "openvino",
        folder=True,
        providers=("cpu", "gpu", "npu", "auto"),
    ),
}
"""Suffix -> back end."""


class _Opener(Protocol):
    def open_file(self, path: Path, *, threads: int, provider: str) -> Session: ...


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


def open_session(path: Path, *, threads: int = 1, provider: str | None = None) -> Session:
    """Load the model file `path` so that it can be called.

    `threads` is the CPU threads it takes, where the format's runtime lets one choose. `provider`
    is what it is handed to, one of the format's ``BACKENDS[suffix].providers``; None takes the
    first. What was asked for is what runs: a provider that is not there is an error.

    Ports are read from the file: names, shapes, dtypes and layout; black and white are -1 and 1
    (0 and 255 for uint8), because no format stores them: a bundle's manifest does.

    Raises BadInput for a missing or damaged file, DependencyMissing with the extra to install,
    TargetUnsupported if this platform can never run it or has no such provider, EdgekitError for an
    unknown provider, ValueError for `threads` below 1.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    backend = backend_of(path)
    if not path.exists():
        raise BadInput(f"{path} does not exist", hint="check the path, or export the bundle again")
    chosen = chosen_provider(path, provider)
    if found := obstacle(path):
        raise found
    if path.is_dir() != backend.folder:
        kinds = ("a file", "a folder")
        raise BadInput(
            f"{path} is {kinds[path.is_dir()]}, a {path.suffix} is {kinds[backend.folder]}",
            hint="copy the bundle again, with its folders",
        )
    opener = cast(_Opener, import_module(backend.module))
    try:
        return opener.open_file(path, threads=threads, provider=chosen)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror or error}",
            hint="check its permissions, or copy it again",
        ) from error


def chosen_provider(path: Path, provider: str | None) -> str:
    """Return the provider that a file like `path` is opened with; EdgekitError for another one."""
    known = backend_of(path).providers
    if provider is not None and provider not in known:
        raise unknown_name(f"provider of {path.suffix} files", provider, known)
    return provider or known[0]
