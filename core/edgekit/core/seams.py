"""The seams of edgekit: small values and one-method protocols that the parts meet at.

A value here can be written to JSON and read by Kotlin, Swift or JavaScript. A protocol has one
method, so that a fake is a few lines and a new back end is one file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from edgekit.core.tensors import Batch, Photos

Layout: TypeAlias = Literal["nchw", "nhwc", "flat"]
DType: TypeAlias = Literal["float32", "float16", "int32", "uint8"]
Precision: TypeAlias = Literal["fp32", "fp16", "int8", "mixed"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
"""What an export makes unless it is told otherwise."""
EVERY_PRECISION: tuple[Precision, ...] = (*PRECISIONS, "mixed")
"""Also `mixed`: chosen layer by layer by `edgekit optimize`, never by an export."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of a model: how to fill a buffer without reading any code."""

    name: str
    shape: tuple[int, ...]
    dtype: DType = "float32"
    layout: Layout = "nchw"
    low: float = -1.0
    """Value that stands for black."""
    high: float = 1.0
    """Value that stands for white."""


@runtime_checkable
class Teacher(Protocol):
    """A diffusion pipeline that can perform an edit, slowly."""

    @property
    def identity(self) -> str:
        """Name and sha256 prefix of the weights; goes into the hash of every pair."""
        ...

    def edit(self, images: Photos, prompt: str, *, seed: int | Sequence[int]) -> Photos:
        """Return `images` edited as `prompt` says, at the same size.

        An int seeds image i with ``seed + i``; a sequence gives one seed an image. The result of
        one image does not depend on its neighbours in the batch (up to float rounding).
        Raises BadInput for a prompt or a size that the teacher cannot do.
        """
        ...


@runtime_checkable
class Session(Protocol):
    """A loaded model that can be called; the only seam that is timed."""

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What `run` takes."""
        ...

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What `run` returns."""
        ...

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        ...


OpenSession: TypeAlias = Callable[[Path], Session]
"""Opens a model file (.onnx, .tflite, .aimodel …) by its suffix; the command line hands the
runtime's function to the exporter, so that neither part imports the other."""
