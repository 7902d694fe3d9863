"""ONNX files in ONNX Runtime, with an exact thread count and without telemetry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from edgekit.core.errors import TargetUnsupported
from edgekit.core.onnx_settings import session_settings
from edgekit.core.seams import Port
from edgekit.core.tensors import Batch
from edgekit.runtime.sessions.ports import UNKNOWN, checked, port_of, unreadable

_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
}
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}
"""Our names -> ONNX Runtime's."""


@dataclass(frozen=True, slots=True)
class OnnxRuntimeSession:
    """An ONNX file that can be called."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    engine: onnxruntime.InferenceSession

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        names = [port.name for port in self.outputs]
        values = self.engine.run(names, checked(feeds, self.inputs))
        return dict(zip(names, values, strict=True))


def open_file(path: Path, *, threads: int, provider: str = "cpu") -> OnnxRuntimeSession:
    """Load an ONNX file on a provider; operators that it does not have run on the CPU.

    Raises TargetUnsupported if this ONNX Runtime has no such provider, or cannot start it: it would
    take the CPU and say so in a log alone.
    """
    onnxruntime.disable_telemetry_events()
    wanted = PROVIDERS[provider]
    if wanted not in onnxruntime.get_available_providers():
        raise _absent(path, provider, "is not part of")
    try:
        both = list(dict.fromkeys((wanted, PROVIDERS["cpu"])))
        engine = onnxruntime.InferenceSession(str(path), session_settings(threads), providers=both)
    except Exception as error:  # its error classes share no base below Exception
        raise unreadable(path, error) from error
    if wanted not in engine.get_providers():
        raise _absent(path, provider, "cannot be started by")
    return OnnxRuntimeSession(
        tuple(_port(value, path) for value in engine.get_inputs()),
        tuple(_port(value, path) for value in engine.get_outputs()),
        engine,
    )


def _absent(path: Path, provider: str, how: str) -> TargetUnsupported:
    names = {value: name for name, value in PROVIDERS.items()}
    here = [names[name] for name in onnxruntime.get_available_providers() if name in names]
    return TargetUnsupported(
        f"{path} cannot be opened: {provider} {how} this ONNX Runtime",
        hint=f"choose one of: {', '.join(here)}; others come with other builds of onnxruntime",
    )


def _port(value: onnxruntime.NodeArg, path: Path) -> Port:
    shape = [size if isinstance(size, int) else UNKNOWN for size in value.shape]
    return port_of(value.name, shape, _TYPES.get(value.type, value.type), path)
