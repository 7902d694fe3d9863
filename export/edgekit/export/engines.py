"""TensorRT engines built of ONNX files, by one code for both packages; torch is not needed.

``tensorrt_rtx`` builds ahead of time, for GPUs that are not there. ``tensorrt`` (Jetson, data
centre) builds on the GPU that will run the engine. Both have the same interface below.
Networks are strongly typed: precision is what the ONNX file says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgekit.core import cuda
from edgekit.core.engines import NO_DRIVER, BackendName, Fingerprint
from edgekit.core.errors import DependencyMissing, TargetUnsupported
from edgekit.core.store import file_sha256

MODULES: dict[BackendName, tuple[str, str, str]] = {
    "tensorrt_rtx": ("tensorrt_rtx_bindings", "tensorrt-rtx-cu13-bindings", "tensorrt"),
    "tensorrt": ("tensorrt", "tensorrt", "tensorrt-full"),
}
"""Back end -> module, distribution, extra."""


@dataclass(frozen=True, slots=True)
class Built:
    """An engine and what goes beside it."""

    engine: bytes
    fingerprint: Fingerprint
    timing_cache: bytes | None


class EngineRefused(Exception):
    """The builder does not take this network; the message is its own first complaint."""


def library(backend: BackendName) -> Any:
    """Import the package of `backend`; DependencyMissing names its extra."""
    module, distribution, extra = MODULES[backend]
    if find_spec(module) is None:
        raise DependencyMissing(distribution, extra=extra)
    return import_module(module)


def build(
    source: Path,
    backend: BackendName,
    *,
    compute_capabilities: Sequence[str] = (),
    timing_cache: bytes | None = None,
) -> Built:
    """Build an engine of the ONNX file `source`.

    TensorRT-RTX builds for all of `compute_capabilities`; the full package for the GPU at hand,
    whatever they say. Raises EngineRefused if the network is not taken, TargetUnsupported for a
    compute capability that the back end does not have or a missing GPU.
    """
    trt = library(backend)
    device = cuda.device()
    if backend == "tensorrt":
        if device is None:
            raise TargetUnsupported(
                "TensorRT builds on the GPU that will run the engine, and this machine has none",
                hint="run the same command on the device, or add --backend tensorrt_rtx, which "
                "builds ahead of time",
            )
        compute_capabilities = (device.compute_capability,)
    complaints: list[str] = []
    logger = _logger(trt, complaints)  # the library keeps no reference to it
    builder = trt.Builder(logger)
    network, parser = _parsed(trt, builder, logger, source, complaints)
    config = builder.create_builder_config()
    if backend == "tensorrt_rtx":
        _aim(trt, config, compute_capabilities)
    cache = _cache(config, timing_cache) if backend == "tensorrt" else None
    made = builder.build_serialized_network(network, config)
    del parser  # it owns the weights that the network points to
    if made is None:
        raise EngineRefused(_first(complaints))
    fingerprint = Fingerprint(
        backend=backend,
        version=str(trt.__version__),
        compute_capabilities=tuple(compute_capabilities),
        driver=device.driver if device else NO_DRIVER,
        device=device.name if device and backend == "tensorrt" else NO_DRIVER,
        onnx_sha256=file_sha256(source),
    )
    return Built(bytes(made), fingerprint, bytes(cache.serialize()) if cache else None)


def _logger(trt: Any, complaints: list[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
        """Keeps what the builder complains about: it says why only there."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                complaints.append(message)

    return Logger()


def _parsed(
    trt: Any, builder: Any, logger: Any, source: Path, complaints: list[str]
) -> tuple[Any, Any]:
    flag = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flag)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(source)):
        found = [str(parser.get_error(i).desc()) for i in range(parser.num_errors)]
        raise EngineRefused(_first([*found, *complaints]))
    return network, parser


def _aim(trt: Any, config: Any, compute_capabilities: Sequence[str]) -> None:
    """Tell TensorRT-RTX which GPUs the engine is for."""
    config.num_compute_capabilities = len(compute_capabilities)
    for place, capability in enumerate(compute_capabilities):
        known = getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}", None)
        if known is None or not config.set_compute_capability(known, place):
            names = [name for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
            raise TargetUnsupported(
                f"TensorRT-RTX does not build for compute capability {capability}",
                hint=f"it builds for {', '.join(f'{n[2:-1]}.{n[-1]}' for n in names)}; for other "
                "GPUs ship the .trt folder and run `edgekit trt build` there",
            )


def _cache(config: Any, kept: bytes | None) -> Any:
    """Give the full builder its timing cache: the second build takes seconds, not minutes."""
    cache = config.create_timing_cache(kept or b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _first(complaints: Sequence[str]) -> str:
    text = complaints[0] if complaints else "the builder gave no reason"
    return " ".join(text.split())[:300]
