"""TFLite files in LiteRT (XNNPACK on the CPU), called by the names of their signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgekit.core.errors import BadInput
from edgekit.core.seams import Port
from edgekit.core.tensors import Batch
from edgekit.runtime.sessions.ports import checked, native_chatter_muted, port_of, unreadable

_KERNELS = {
    "xnnpack": OpResolverType.AUTO,
    "plain": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}


@dataclass(frozen=True, slots=True)
class LiteRTSession:
    """A TFLite file that can be called."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    runner: Any
    kept: tuple[Any, ...]
    """The interpreter and its buffer, which the runner uses but does not own."""

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        values: Mapping[str, Batch] = self.runner(**checked(feeds, self.inputs))
        return values


def open_file(path: Path, *, threads: int, provider: str = "xnnpack") -> LiteRTSession:
    """Load a TFLite file; `provider` is xnnpack, or plain for LiteRT's own kernels.

    The file is read into memory: an interpreter given a path maps it, and dies with SIGBUS when
    another process writes the file anew in its place.
    """
    content = path.read_bytes()
    try:
        with native_chatter_muted():
            interpreter = Interpreter(
                model_content=content,
                num_threads=threads,
                experimental_op_resolver_type=_KERNELS[provider],
            )
            interpreter.allocate_tensors()
            signatures = interpreter.get_signature_list()
            if not signatures:
                raise BadInput(
                    f"{path} has no signature, so its inputs and outputs have no names",
                    hint="export it with `edgekit export`",
                )
            runner = interpreter.get_signature_runner(next(iter(signatures)))
    except (ValueError, RuntimeError) as error:
        raise unreadable(path, error) from error
    return LiteRTSession(
        _ports(runner.get_input_details(), path),
        _ports(runner.get_output_details(), path),
        runner,
        (interpreter, content),
    )


def _ports(details: Mapping[str, Mapping[str, Any]], path: Path) -> tuple[Port, ...]:
    return tuple(
        port_of(name, detail["shape_signature"].tolist(), np.dtype(detail["dtype"]).name, path)
        for name, detail in details.items()
    )
