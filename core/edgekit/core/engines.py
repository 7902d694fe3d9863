"""What a TensorRT engine was built by and for, kept beside it, and whether it fits a machine.

An engine is a program for one GPU family and one version of TensorRT. Loaded elsewhere it fails
late and in words that nobody understands, so the fingerprint is compared before loading.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from edgekit.core.cuda import Device
from edgekit.core.errors import BadInput
from edgekit.core.store import read_json

ENGINE = "model.engine"
SOURCE = "model.onnx"
FINGERPRINT = "engine.json"
RECIPE = "build.json"
BUILT = "built"
"""Folder of a bundle in which `edgekit trt build` puts engines; no file there is listed."""
NO_DRIVER = "none"
RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""What TensorRT-RTX 1.7 builds for and loads on; Hopper (9.0) and data centre Blackwell (10.0)
are refused."""

BackendName = Literal["tensorrt_rtx", "tensorrt"]


class Fingerprint(BaseModel):
    """What an engine was built by and for, and of which ONNX file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: BackendName
    version: str
    compute_capabilities: tuple[str, ...]
    driver: str
    """CUDA version of the driver that it was built with; "none" if it was built without a GPU."""
    device: str
    """Name of the GPU that it was built on; "none" if it was built ahead of time."""
    onnx_sha256: str
    weights: dict[str, int] = {}
    """Stored type -> number of weights, of the ONNX file."""
    operators: dict[str, int] = {}
    """Operator -> count, of the ONNX file."""

    def facts(self) -> dict[str, str]:
        """Return what a bundle's manifest repeats."""
        return {
            "backend": self.backend,
            "version": self.version,
            "compute_capabilities": " ".join(self.compute_capabilities),
            "driver": self.driver,
            "device": self.device,
            "onnx_sha256": self.onnx_sha256,
        }


def read_fingerprint(folder: Path) -> Fingerprint:
    """Return the fingerprint of the engine in `folder`; BadInput if it has none."""
    try:
        return Fingerprint.model_validate(read_json(folder / FINGERPRINT))
    except ValidationError as error:
        raise BadInput(
            f"{folder / FINGERPRINT} is not the fingerprint of an engine",
            hint="export the bundle again, or run `edgekit trt build` on it",
        ) from error


def refused_device(device: Device | None, backend: BackendName) -> str | None:
    """Say why no engine of `backend` can run on `device`, None if one can."""
    if device is None:
        return "this machine has no NVIDIA driver, and an engine runs on a GPU only"
    if backend == "tensorrt_rtx" and device.compute_capability not in RTX_CAPABILITIES:
        return (
            f"TensorRT-RTX refuses compute capability {device.compute_capability} "
            f"({device.name}); it runs on {', '.join(RTX_CAPABILITIES)}"
        )
    return None


def mismatch(made: Fingerprint, device: Device, version: str) -> str | None:
    """Say why the engine `made` must not be loaded on `device` by `version`, None if it may."""
    if version != made.version:
        return f"it was built by {made.backend} {made.version}, installed is {version}"
    if device.compute_capability not in made.compute_capabilities:
        return (
            f"it was built for compute capability {', '.join(made.compute_capabilities)}, "
            f"this GPU ({device.name}) has {device.compute_capability}"
        )
    if made.device not in (NO_DRIVER, device.name):
        return f"it was built on {made.device}, this GPU is {device.name}"
    if made.driver != NO_DRIVER and made.driver != device.driver:
        return f"it was built with the driver of CUDA {made.driver}, here is {device.driver}"
    return None
