"""ONNX files in ONNX Runtime on the CPU, with an exact thread count and without telemetry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from edgekit.core.seams import Port
from edgekit.core.tensors import Batch
from edgekit.runtime.sessions.ports import UNKNOWN, checked, port_of, unreadable

_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
}
_ERRORS_ONLY = 3


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


def open_file(path: Path, *, threads: int) -> OnnxRuntimeSession:
    """Load an ONNX file on the CPU provider."""
    onnxruntime.disable_telemetry_events()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.log_severity_level = _ERRORS_ONLY
    try:
        engine = onnxruntime.InferenceSession(
            str(path), settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its error classes share no base below Exception
        raise unreadable(path, error) from error
    return OnnxRuntimeSession(
        tuple(_port(value, path) for value in engine.get_inputs()),
        tuple(_port(value, path) for value in engine.get_outputs()),
        engine,
    )


def _port(value: onnxruntime.NodeArg, path: Path) -> Port:
    shape = [size if isinstance(size, int) else UNKNOWN for size in value.shape]
    return port_of(value.name, shape, _TYPES.get(value.type, value.type), path)
