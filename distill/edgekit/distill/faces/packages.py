"""Packages of the extra ``faces``, imported where they are needed and named if they are missing."""

from __future__ import annotations

from typing import Any

from edgekit.core.errors import DependencyMissing
from edgekit.core.face_nets import net_file


def kornia() -> Any:
    """Return kornia; raises DependencyMissing if it is not installed."""
    try:
        import kornia as module
    except ModuleNotFoundError as error:
        raise DependencyMissing("kornia", extra="faces") from error
    return module


def interpreter(name: str) -> Any:
    """Return a loaded interpreter of the net `name`, on one thread."""
    path = net_file(name)
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise DependencyMissing("ai-edge-litert", extra="faces") from error
    loaded = Interpreter(str(path), num_threads=1)
    loaded.allocate_tensors()
    return loaded
