"""ExecuTorch programs with XNNPACK; needs torch, because ExecuTorch's Python runtime does.

A program whose layers were handed to Core ML cannot be called outside Apple's systems.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCHAO_FORCE_SKIP_LOADING_SO_FILES", "1")  # built for another torch

import numpy as np

from edgekit.core.errors import BadInput, TargetUnsupported
from edgekit.core.seams import Port
from edgekit.core.tensors import Batch
from edgekit.runtime.sessions.ports import checked, native_chatter_muted, port_of, unreadable

PORTS = "edgekit_ports"
"""Method that returns the names of the ports as JSON."""
_ABSENT = ("CoreMLBackend", "MPSBackend")
_TYPES = {6: "float32", 5: "float16", 3: "int32", 0: "uint8"}
"""ExecuTorch's scalar types."""


@dataclass(frozen=True, slots=True)
class ExecuTorchSession:
    """A .pte file that can be called."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    method: Any
    program: Any
    """Owns the method's memory."""

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        import torch

        given = checked(feeds, self.inputs)
        values = self.method.execute([torch.from_numpy(given[port.name]) for port in self.inputs])
        return {
            port.name: np.array(value.numpy())
            for port, value in zip(self.outputs, values, strict=True)
        }


def open_file(path: Path, *, threads: int, provider: str = "default") -> ExecuTorchSession:
    """Load a .pte file; what its layers are handed to was chosen when it was exported."""
    content = path.read_bytes()
    logging.getLogger("torchao").setLevel(logging.ERROR)
    with native_chatter_muted():
        from executorch.extension.pybindings import _C
        from executorch.runtime import Runtime

        runtime = Runtime.get()
        for backend in _ABSENT:
            here = backend in runtime.backend_registry.registered_backend_names
            if backend.encode() in content and not here:
                raise TargetUnsupported(
                    f"{path.name} hands its layers to {backend}, which this system does not have",
                    hint="run it in an app on an Apple device, or export with --delegate xnnpack",
                )
        if _C._threadpool_get_thread_count() != threads:
            _C._unsafe_reset_threadpool(threads)
        try:
            program = runtime.load_program(content)
            if PORTS not in program.method_names:
                raise BadInput(
                    f"{path} does not name its inputs and outputs",
                    hint="export it with `edgekit export`",
                )
            names = json.loads(program.load_method(PORTS).execute([])[0])
            method = program.load_method("forward")
        except (RuntimeError, ValueError) as error:
            raise unreadable(path, error) from error
        facts = method.metadata
        inputs = _ports(names["inputs"], facts.input_tensor_meta, path)
        outputs = _ports(names["outputs"], facts.output_tensor_meta, path)
    return ExecuTorchSession(inputs, outputs, method, program)


def _ports(names: list[str], describe: Any, path: Path) -> tuple[Port, ...]:
    found = [(name, describe(place)) for place, name in enumerate(names)]
    return tuple(
        port_of(name, list(facts.sizes()), _TYPES.get(facts.dtype(), str(facts.dtype())), path)
        for name, facts in found
    )
