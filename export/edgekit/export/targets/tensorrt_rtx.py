"""TensorRT-RTX engines, built ahead of time without a GPU: a folder of engine and fingerprint.

The engine itself cannot be executed where it is built; the ONNX file that it is built of can, and
parity is measured on exactly that file.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from edgekit.core.engines import ENGINE, FINGERPRINT, read_fingerprint
from edgekit.core.seams import Precision
from edgekit.core.store import write_bytes, write_json
from edgekit.export.engines import build
from edgekit.export.onnx_source import source_of
from edgekit.export.program import Program
from edgekit.export.targets import Sources
from edgekit.export.targets import onnx as onnx_target
from edgekit.export.targets import tensorrt as recipe_target

file_port = recipe_target.file_port
recipes = recipe_target.recipes


def convert(
    program: Program, path: Path, *, precision: Precision, recipe: str, sources: Sources
) -> str:
    """Write the folder `path`: model.engine and engine.json; the ONNX file stays beside it."""
    source = source_of(path)
    words = recipe_target.write_source(
        program, source, precision=precision, recipe=recipe, sources=sources
    )
    capabilities = sources.options.compute_capabilities
    made = build(source, "tensorrt_rtx", compute_capabilities=capabilities)
    fingerprint = made.fingerprint.model_copy(
        update={
            "weights": onnx_target.weight_elements(source),
            "operators": onnx_target.operators(source),
        }
    )
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        folder = Path(scratch) / "made"
        folder.mkdir()
        write_bytes(folder / ENGINE, made.engine)
        write_json(folder / FINGERPRINT, fingerprint.model_dump(mode="json"))
        shutil.rmtree(path, ignore_errors=True)
        folder.rename(path)
    where = ", ".join(capabilities)
    return f"{words}; TensorRT-RTX engine for compute capability {where}, built without a GPU"


def operators(path: Path) -> dict[str, int]:
    """Return operator -> count, of the ONNX file that the engine was built of."""
    return read_fingerprint(path).operators


def weight_elements(path: Path) -> dict[str, int]:
    """Return stored type -> number of weights, of the ONNX file that the engine was built of."""
    return read_fingerprint(path).weights
