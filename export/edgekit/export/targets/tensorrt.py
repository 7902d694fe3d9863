"""TensorRT, to be built on the device: a folder of the ONNX file and the recipe to build it by.

An engine of the full ``tensorrt`` package is bound to the GPU, driver and version that built it, so
what ships is everything but the engine: ``edgekit trt build`` makes it on the device.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from edgekit.core.engines import RECIPE, SOURCE
from edgekit.core.seams import Precision
from edgekit.core.store import file_sha256, write_json
from edgekit.export.onnx_source import source_of
from edgekit.export.program import Program
from edgekit.export.quantize_tensorrt import INT8_RECIPES, explicit_int8
from edgekit.export.targets import Sources
from edgekit.export.targets import onnx as onnx_target

file_port = onnx_target.file_port


def recipes(precision: Precision) -> tuple[str, ...]:
    """Return the recipes of `precision`, the best first."""
    return tuple(INT8_RECIPES) if precision == "int8" else ("plain",)


def convert(
    program: Program, path: Path, *, precision: Precision, recipe: str, sources: Sources
) -> str:
    """Write the folder `path`: model.onnx and build.json."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        folder = Path(scratch) / "made"
        folder.mkdir()
        words = write_source(
            program, folder / SOURCE, precision=precision, recipe=recipe, sources=sources
        )
        write_json(
            folder / RECIPE,
            {
                "kind": "tensorrt-build",
                "schema": 1,
                "onnx": SOURCE,
                "onnx_sha256": file_sha256(folder / SOURCE),
                "precision": precision,
                "network": "strongly typed: the ONNX file decides every type",
                "timing_cache": "timing.cache, beside the engine, written by the first build",
                "command": "edgekit trt build BUNDLE",
            },
        )
        shutil.rmtree(path, ignore_errors=True)
        folder.rename(path)
    return f"{words}; the engine is built on the device"


def write_source(
    program: Program, path: Path, *, precision: Precision, recipe: str, sources: Sources
) -> str:
    """Write the ONNX file that an engine of `precision` is built of; fp16 starts from fp32."""
    files = Sources(
        lambda kind: source_of(sources.made(kind)), sources.calibration, sources.options
    )
    if precision == "int8":
        feeds = files.calibration()
        return explicit_int8(files.made("fp32"), path, recipe=recipe, feeds=feeds)
    return onnx_target.convert(program, path, precision=precision, recipe="plain", sources=files)


def operators(path: Path) -> dict[str, int]:
    """Return operator -> count, as stored in the ONNX file."""
    return onnx_target.operators(source_of(path))


def weight_elements(path: Path) -> dict[str, int]:
    """Return stored type -> number of weights of the ONNX file."""
    return onnx_target.weight_elements(source_of(path))
