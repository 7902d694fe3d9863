"""OpenVINO folders, computed in float32 unless the file itself says int8.

Without the hint OpenVINO computes a float32 file in bfloat16 where the processor can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.errors import TargetUnsupported
from edgekit.core.seams import Port
from edgekit.core.telemetry import silenced
from edgekit.core.tensors import Batch
from edgekit.runtime.sessions.ports import checked, port_of, unreadable

silenced()
import openvino as ov  # noqa: E402 - its telemetry has to be switched off first

MODEL = "model.xml"


@dataclass(frozen=True, slots=True)
class OpenVINOSession:
    """An OpenVINO model that can be called."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    request: Any

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        results = self.request.infer(checked(feeds, self.inputs), share_inputs=True)
        return {port.name: np.array(results[port.name]) for port in self.outputs}


def open_file(path: Path, *, threads: int, provider: str = "cpu") -> OpenVINOSession:
    """Load an OpenVINO folder on a device: cpu, gpu, npu, or auto for OpenVINO's own choice.

    Raises TargetUnsupported for a device that this machine does not have.
    """
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if provider == "cpu":
        settings |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    try:
        core = ov.Core()
        here = {name.partition(".")[0].lower() for name in core.available_devices}
        if provider not in here | {"auto"}:
            raise TargetUnsupported(
                f"{path} cannot be opened: OpenVINO finds no {provider} on this machine",
                hint=f"choose one of: {', '.join(sorted(here))}, auto",
            )
        model = core.compile_model(path / MODEL, provider.upper(), settings)
        request = model.create_infer_request()
    except (RuntimeError, ValueError, OSError) as error:
        raise unreadable(path, error) from error
    return OpenVINOSession(
        tuple(_port(value, path) for value in model.inputs),
        tuple(_port(value, path) for value in model.outputs),
        request,
    )


def _port(value: Any, path: Path) -> Port:
    names = {"f32": "float32", "f16": "float16", "i32": "int32", "u8": "uint8"}
    kind = value.get_element_type().get_type_name()
    return port_of(value.get_any_name(), list(value.shape), names.get(kind, kind), path)
