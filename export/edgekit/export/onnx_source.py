"""The ONNX file that a TensorRT engine is built of, run by ONNX Runtime in the engine's place.

It proves the graph that the builder was given: layout, weights, quantization, order. It does not
prove what the builder made of it, and the protocol of such an entry says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from edgekit.core.engines import SOURCE
from edgekit.core.onnx_settings import session_settings
from edgekit.core.seams import Port
from edgekit.core.tensors import Batch

PROTOCOL = "onnx-source"


@dataclass(frozen=True, slots=True)
class SourceSession:
    """An ONNX file that can be called."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    engine: onnxruntime.InferenceSession

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        names = [port.name for port in self.outputs]
        return dict(zip(names, self.engine.run(names, dict(feeds)), strict=True))


def source_of(path: Path) -> Path:
    """Return where the ONNX file of a folder lies: inside, or while exporting beside it."""
    inside = path / SOURCE
    return inside if inside.is_file() else path.with_name(f"{path.name}.{SOURCE}")


def open_package(path: Path) -> SourceSession:
    """Open the source of the folder `path`; NotImplementedError if it is not kept."""
    source = source_of(path)
    if not source.is_file():
        raise NotImplementedError(f"the ONNX file of {path.name} is not kept")
    onnxruntime.disable_telemetry_events()
    engine = onnxruntime.InferenceSession(
        str(source), session_settings(), providers=["CPUExecutionProvider"]
    )
    return SourceSession(
        tuple(Port(value.name, tuple(value.shape)) for value in engine.get_inputs()),
        tuple(Port(value.name, tuple(value.shape)) for value in engine.get_outputs()),
        engine,
    )
