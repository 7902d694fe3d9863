"""Core ML packages through coremltools, which can execute them on macOS only.

Reading the ports was tried with exported packages on Linux; `run` was never executed, because
`open_session` refuses the format outside macOS.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import coremltools
import numpy as np
from PIL import Image

from edgekit.core.seams import Port
from edgekit.core.tensors import Batch
from edgekit.runtime.sessions.ports import checked, port_of, unreadable

_UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "cpu-gpu": "CPU_AND_GPU", "cpu-npu": "CPU_AND_NE"}


@dataclass(frozen=True, slots=True)
class CoreMLSession:
    """A Core ML package that can be called; pictures are uint8 ports in NHWC."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    model: Any
    copy: TemporaryDirectory[str]
    """Where the package that is open lies; gone with the session."""

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        given = checked(feeds, self.inputs)
        found = self.model.predict(
            {p.name: _picture(given[p.name]) if _is_picture(p) else given[p.name]
             for p in self.inputs}
        )  # fmt: skip
        return {
            port.name: _bytes(found[port.name]) if _is_picture(port) else found[port.name]
            for port in self.outputs
        }


def open_file(path: Path, *, threads: int, provider: str = "all") -> CoreMLSession:
    """Load a Core ML package on the compute units `provider`; `threads` has no meaning there.

    A copy is opened, because coremltools 9 writes the package's ``Manifest.json`` anew when it
    opens one, and the file that was verified must stay what it is.
    """
    copy = TemporaryDirectory(suffix=".edgekit", ignore_cleanup_errors=True)
    try:
        package = shutil.copytree(path, Path(copy.name) / path.name)
        model = coremltools.models.MLModel(
            str(package), compute_units=coremltools.ComputeUnit[_UNITS[provider]]
        )
        description = model.get_spec().description
    except Exception as error:  # coremltools and the framework below raise what they like
        raise unreadable(path, error) from error
    return CoreMLSession(
        tuple(_port(feature, path) for feature in description.input),
        tuple(_port(feature, path) for feature in description.output),
        model,
        copy,
    )


def _port(feature: Any, path: Path) -> Port:
    kind = feature.type
    if kind.WhichOneof("Type") == "imageType":
        size = (1, int(kind.imageType.height), int(kind.imageType.width), 3)
        return port_of(feature.name, size, "uint8", path)
    array = kind.multiArrayType
    names = {65568: "float32", 65552: "float16", 131104: "int32"}
    return port_of(
        feature.name, list(array.shape), names.get(array.dataType, str(array.dataType)), path
    )


def _is_picture(port: Port) -> bool:
    return port.dtype == "uint8"


def _picture(batch: Batch) -> Image.Image:
    return Image.fromarray(batch[0])


def _bytes(picture: Image.Image) -> Batch:
    return np.asarray(picture.convert("RGB"), np.uint8)[None]
