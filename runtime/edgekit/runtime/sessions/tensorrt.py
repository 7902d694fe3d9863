"""TensorRT engines on the first GPU, in buffers that the NVIDIA driver itself allocates.

Two kinds of folder: ``.engine`` holds an engine that was built ahead of time by TensorRT-RTX;
``.trt`` holds its ONNX file, and the engine that `edgekit trt build` made of it on this device lies
in the bundle's ``built/``. Each is checked against its fingerprint before it is loaded.

Checks and errors were tried on machines without a driver. `run` has not been executed yet: no GPU
that TensorRT-RTX supports was at hand.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core import cuda
from edgekit.core.engines import (
    BUILT,
    ENGINE,
    RECIPE,
    mismatch,
    read_fingerprint,
    refused_device,
)
from edgekit.core.errors import BadInput, TargetUnsupported
from edgekit.core.seams import Port
from edgekit.core.store import read_json
from edgekit.core.tensors import Batch
from edgekit.runtime.sessions.ports import checked, port_of, unreadable

_MODULES = {"tensorrt_rtx": "tensorrt_rtx_bindings", "tensorrt": "tensorrt"}


@dataclass(frozen=True, slots=True)
class TensorRTSession:
    """An engine that can be called."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    context: Any
    buffers: Mapping[str, ctypes.c_uint64]
    kept: tuple[Any, ...]
    """Runtime, engine and logger, which the context uses but does not own."""

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        library = _driver()
        for name, value in checked(feeds, self.inputs).items():
            data = value.ctypes.data_as(ctypes.c_void_p)
            _done(library.cuMemcpyHtoD_v2(self.buffers[name], data, value.nbytes))
        if not self.context.execute_async_v3(0):
            raise RuntimeError("TensorRT did not run the engine")
        _done(library.cuCtxSynchronize())
        results = {}
        for port in self.outputs:
            value = np.empty(port.shape, port.dtype)
            data = value.ctypes.data_as(ctypes.c_void_p)
            _done(library.cuMemcpyDtoH_v2(data, self.buffers[port.name], value.nbytes))
            results[port.name] = value
        return results


def open_file(path: Path, *, threads: int, provider: str = "default") -> TensorRTSession:
    """Load an engine on the first GPU; `threads` has no meaning there."""
    folder = engine_folder(path)
    made = read_fingerprint(folder)
    device = cuda.device()
    if problem := refused_device(device, made.backend):
        raise TargetUnsupported(f"{path.name}: {problem}", hint=_elsewhere(made.backend))
    assert device is not None  # refused_device has said so
    trt = import_module(_MODULES[made.backend])
    if problem := mismatch(made, device, str(trt.__version__)):
        raise TargetUnsupported(
            f"{path.name} is not for this machine: {problem}",
            hint="run `edgekit trt build` on the bundle, here, to build it anew",
        )
    logger = trt.Logger(trt.Logger.ERROR)
    runtime = trt.Runtime(logger)
    _retain_context()
    engine = runtime.deserialize_cuda_engine((folder / ENGINE).read_bytes())
    if engine is None:
        raise unreadable(path, ValueError("TensorRT does not take the engine"))
    context = engine.create_execution_context()
    inputs: list[Port] = []
    outputs: list[Port] = []
    buffers = {}
    for place in range(engine.num_io_tensors):
        name = engine.get_tensor_name(place)
        kind = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
        port = port_of(name, list(engine.get_tensor_shape(name)), kind, path)
        taken = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        (inputs if taken else outputs).append(port)
        buffers[name] = _allocated(port)
        context.set_tensor_address(name, int(buffers[name].value))
    kept = (runtime, engine, logger)
    return TensorRTSession(tuple(inputs), tuple(outputs), context, buffers, kept)


def engine_folder(path: Path) -> Path:
    """Return the folder of the engine of `path`; BadInput if it was not built on this device."""
    if path.suffix == ".engine":
        return path
    built = path.parent.parent / BUILT / path.with_suffix(".engine").name
    how = "run `edgekit trt build BUNDLE` on this device"
    if not (built / ENGINE).is_file():
        raise BadInput(f"{path.name} holds no engine yet", hint=how)
    if read_fingerprint(built).onnx_sha256 != read_json(path / RECIPE)["onnx_sha256"]:
        raise BadInput(f"{built} was built of another ONNX file", hint=how)
    return built


def _elsewhere(backend: str) -> str:
    if backend == "tensorrt_rtx":
        return (
            "use another file of the bundle here; a GPU that TensorRT-RTX refuses can run the .trt "
            "folder through `edgekit trt build` and the full tensorrt package"
        )
    return "run it on the device that it was built on, or use another file of the bundle here"


def _retain_context() -> None:
    library, context = _driver(), ctypes.c_void_p()
    _done(library.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
    _done(library.cuCtxSetCurrent(context))


def _allocated(port: Port) -> ctypes.c_uint64:
    address = ctypes.c_uint64()
    size = int(np.prod(port.shape)) * np.dtype(port.dtype).itemsize
    _done(_driver().cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)))
    return address


def _driver() -> Any:
    library = cuda.driver()
    assert library is not None  # open_file has asked for the device before
    return library


def _done(code: int) -> None:
    if code:
        raise RuntimeError(f"the NVIDIA driver answered with error {code}")
