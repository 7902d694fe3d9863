"""The table of formats: target -> formats, format -> module that writes it.

A module of the table is a `Converter`. It is imported only when a file of its format is asked for,
because each brings a converter of hundreds of megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from edgekit.core.errors import DependencyMissing, unknown_name
from edgekit.core.manifest import Format, PortEntry, TargetName
from edgekit.core.seams import PRECISIONS, Port, Precision
from edgekit.core.versions import EXTRAS, installed

if TYPE_CHECKING:  # the names of targets can be asked for without loading torch
    from edgekit.export.program import Feed, Program


@dataclass(frozen=True, slots=True)
class FileFormat:
    """One kind of model file."""

    name: Format
    target: TargetName
    module: str
    packages: tuple[str, ...]
    """Modules that must be importable; the extra is called like the target."""
    minimum_os: str | None = None
    half_math: bool = True
    """Whether an fp16 file computes in float16 everywhere, so that large values overflow."""
    samples: int = 8
    """Held-out samples that parity is measured on; fewer where execution is slow."""
    evaluator: str | None = None
    """Module whose `open_package` executes the format where its own runtime cannot."""


FORMATS: dict[Format, FileFormat] = {
    "onnx": FileFormat(
        "onnx", "onnx", "edgekit.export.targets.onnx", ("onnx", "onnxscript", "onnxruntime")
    ),
    "tflite": FileFormat(
        "tflite",
        "android",
        "edgekit.export.targets.litert",
        ("litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
        half_math=False,
    ),
    "mlpackage": FileFormat(
        "mlpackage",
        "ios",
        "edgekit.export.targets.coreml",
        ("coremltools",),
        "iOS 16",
        evaluator="edgekit.export.mil.session",
    ),
    "aimodel": FileFormat(
        "aimodel",
        "ios",
        "edgekit.export.targets.coreai",
        ("coreai_torch", "coreai_opt"),
        "iOS 27",
        samples=4,  # an interpreter: about a second a picture of 256 pixels
    ),
}
TARGETS: dict[TargetName, tuple[Format, ...]] = {
    target: tuple(form.name for form in FORMATS.values() if form.target == target)
    for target in ("onnx", "android", "ios")
}


@dataclass(frozen=True, slots=True)
class Sources:
    """What a converter may start from, each made only when asked for."""

    made: Callable[[Precision], Path]
    """Path of this format's own file in another precision."""
    calibration: Callable[[], Sequence[Feed]]
    """Feeds for measuring activation ranges."""


class Converter(Protocol):
    """What a module of the table offers."""

    def file_port(self, port: Port, *, output: bool) -> PortEntry:
        """Return how the student's `port` appears in this format's files."""
        ...

    def recipes(self, precision: Precision) -> tuple[str, ...]:
        """Return the recipes of `precision`, best first; the first that clears the bar ships."""
        ...

    def convert(
        self, program: Program, path: Path, *, precision: Precision, recipe: str, sources: Sources
    ) -> str:
        """Write `program` to `path` and return the recipe in words that can be repeated."""
        ...

    def operators(self, path: Path) -> dict[str, int]:
        """Return operator -> count, as stored in the file."""
        ...

    def weight_elements(self, path: Path) -> dict[str, int]:
        """Return stored type -> number of weights, small tensors (biases, shapes) left out."""
        ...


Row: TypeAlias = tuple[Format, Precision]
"""One file of a bundle: its format and its precision."""


def converter_of(name: Format) -> Converter:
    """Import the module that writes files of the format `name`."""
    return cast(Converter, import_module(FORMATS[name].module))


def wanted_rows(targets: Sequence[str], precisions: Sequence[str] = PRECISIONS) -> list[Row]:
    """Return the files that an export makes; raises what `checked_targets` raises."""
    kinds = checked_precisions(precisions)
    chosen = checked_targets(targets)
    return [(form, kind) for target in chosen for form in TARGETS[target] for kind in kinds]


def checked_targets(targets: Sequence[str]) -> tuple[TargetName, ...]:
    """Return `targets` without repetition, in the order of the table.

    Raises EdgekitError for an unknown one (with the nearest name) or for none at all, and
    DependencyMissing, which names the extra, for one whose packages are not installed.
    """
    for name in targets:
        if name not in TARGETS:
            raise unknown_name("target", name, TARGETS)
    if not targets:
        raise unknown_name("target", "", TARGETS)
    chosen = tuple(target for target in TARGETS if target in targets)
    for target in chosen:
        _check_packages(target)
    return chosen


def _check_packages(target: TargetName) -> None:
    names = EXTRAS[target]
    for form in TARGETS[target]:
        for package in ("torch", *FORMATS[form].packages):
            if find_spec(package) is None:
                raise DependencyMissing(names.get(package, package), extra=target)


def checked_precisions(precisions: Sequence[str]) -> tuple[Precision, ...]:
    """Return `precisions` without repetition, widest first; EdgekitError for an unknown one."""
    for name in precisions:
        if name not in PRECISIONS:
            raise unknown_name("precision", name, PRECISIONS)
    if not precisions:
        raise unknown_name("precision", "", PRECISIONS)
    return tuple(precision for precision in PRECISIONS if precision in precisions)


def tool_versions(name: Format) -> dict[str, str]:
    """Return package -> version of what writes files of this format, torch included."""
    distributions = EXTRAS[FORMATS[name].target]
    wanted = ["torch", *(distributions.get(module, module) for module in FORMATS[name].packages)]
    return {package: number for package in wanted if (number := installed(package)) is not None}
