"""What `runtimes.py` compares, and its lines: networks, the files that each runtime takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from architecture_files import REFERENCES, Network, generator_of
from edgekit.distill.students.shape import Shape

OUT = Path(__file__).resolve().parent / "results" / "runtimes.jsonl"
SIZE_PX = 256
TEACHER, PIX2PIX, E2GAN, OURS = "teacher, 8 steps", "pix2pix ResNet-9", "E2GAN, paper size", "ours"
NETWORKS: dict[str, Callable[[], Network]] = {
    PIX2PIX: lambda: next(row for row in REFERENCES if row.name == PIX2PIX),
    E2GAN: lambda: next(row for row in REFERENCES if row.name == E2GAN),
    OURS: lambda: generator_of(Shape()),
}
FILES = {
    "ONNX Runtime": ("onnx.fp32", "onnx.int8"),
    "LiteRT": ("tflite.fp32", "tflite.int8"),
    "OpenVINO": ("openvino.fp32",),
    "ExecuTorch": ("pte.fp32",),
    "browser, LiteRT.js": ("tflite.fp32", "tflite.int8"),
    "browser, ONNX Runtime Web": ("onnx.fp32", "onnx.int8"),
}
"""Runtime -> the files it takes. PyTorch takes the module itself."""
TORCH, NARROW_TORCH = "PyTorch", "PyTorch, 128-bit vectors"


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of results, [] if there is none."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
