"""The table of formats: target -> formats, format -> module that writes it.

A module of the table is a `Converter`. It is imported only when a file of its format is asked for,
because each brings a converter of hundreds of megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast, get_args

from edgekit.core.engines import RTX_CAPABILITIES
from edgekit.core.errors import DependencyMissing, EdgekitError, TargetUnsupported, unknown_name
from edgekit.core.manifest import Format, PortEntry, TargetName
from edgekit.core.seams import EVERY_PRECISION, PRECISIONS, Port, Precision
from edgekit.core.versions import EXTRAS, installed

if TYPE_CHECKING:  # the names of targets can be asked for without loading torch
    from edgekit.export.program import Feed, Program


Delegate: TypeAlias = Literal["xnnpack", "coreml"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may ask of a format beyond its precision; checked by the command line."""

    ios: int = 16
    """Oldest iOS that a Core ML package must run on: 16, 17, 18 or 26."""
    sizes: tuple[int, ...] = ()
    """Sides in pixels that the pictures may have; empty means the student's own size."""
    compute_capabilities: tuple[str, ...] = ("8.0", "8.6", "8.9", "12.0")
    """NVIDIA compute capabilities that a TensorRT-RTX engine is built for."""
    delegate: Delegate = "xnnpack"
    """What an ExecuTorch program hands its layers to."""


DEFAULT = Options()
"""What an export makes when it is asked for nothing in particular."""


class Refused(Exception):
    """A converter's answer that it does not make such a file, in one sentence for the user."""


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
    single: bool = True
    """Whether all weights stand in one file that a 32-bit offset has to reach."""
    sizes: bool = False
    """Whether one file can take pictures of several sizes."""
    options: tuple[str, ...] = ("sizes",)
    """Names of the `Options` that decide what a file of this format holds."""


FORMATS: dict[Format, FileFormat] = {
    "onnx": FileFormat(
        "onnx",
        "onnx",
        "edgekit.export.targets.onnx",
        ("onnx", "onnxscript", "onnxruntime"),
        sizes=True,
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
        evaluator="edgekit.export.mil.session",
        options=("ios", "sizes"),
        sizes=True,
        single=False,
    ),
    "aimodel": FileFormat(
        "aimodel",
        "ios",
        "edgekit.export.targets.coreai",
        ("coreai_torch", "coreai_opt"),
        "iOS 27",
        samples=4,  # an interpreter: about a second a picture of 256 pixels
        single=False,
    ),
    "engine": FileFormat(
        "engine",
        "tensorrt",
        "edgekit.export.targets.tensorrt_rtx",
        ("onnx", "onnxscript", "onnxruntime", "tensorrt_rtx_bindings"),
        evaluator="edgekit.export.onnx_source",
        options=("compute_capabilities", "sizes"),
    ),
    "trt": FileFormat(
        "trt",
        "tensorrt",
        "edgekit.export.targets.tensorrt",
        ("onnx", "onnxscript", "onnxruntime"),
        evaluator="edgekit.export.onnx_source",
    ),
    "pte": FileFormat(
        "pte",
        "executorch",
        "edgekit.export.targets.executorch",
        ("executorch", "torchao"),
        half_math=False,
        options=("delegate", "ios", "sizes"),
    ),
    "openvino": FileFormat(
        "openvino",
        "openvino",
        "edgekit.export.targets.openvino",
        ("openvino", "nncf"),
        half_math=False,
        single=False,
    ),
}
TARGETS: dict[TargetName, tuple[Format, ...]] = {
    target: tuple(form.name for form in FORMATS.values() if form.target == target)
    for target in get_args(TargetName)
}
WEB: tuple[TargetName, ...] = ("onnx", "android")
"""What a browser runs: ONNX Runtime Web and LiteRT.js take the files of these targets."""
IOS = (16, 17, 18, 26)
ALIASES = ("web", "all")
"""Names that stand for several targets; `all` for every one that is installed."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What a converter may start from, each made only when asked for."""

    made: Callable[[Precision], Path]
    """Path of this format's own file in another precision."""
    calibration: Callable[[], Sequence[Feed]]
    """Feeds for measuring activation ranges."""
    options: Options = DEFAULT
    """What the user asked of the format."""


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
        """Write `program` to `path` and return the recipe in words that can be repeated.

        A recipe is a name of `recipes`, or for the precision ``mixed`` a JSON text that says what
        becomes of each layer. Raises Refused for what the format cannot express.
        """
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


def named_targets(targets: Sequence[str]) -> tuple[TargetName, ...]:
    """Return `targets` without aliases and repetition, in the order of the table.

    Nothing needs to be installed. Raises EdgekitError for an unknown name (with the nearest one)
    or for none at all.
    """
    for name in targets:
        if name not in TARGETS and name not in ALIASES:
            raise unknown_name("target", name, (*TARGETS, *ALIASES))
    if not targets:
        raise unknown_name("target", "", (*TARGETS, *ALIASES))
    named = {*targets, *(WEB if "web" in targets else ())}
    return tuple(target for target in TARGETS if target in named or "all" in named)


def checked_targets(targets: Sequence[str]) -> tuple[TargetName, ...]:
    """Return the targets named that can be written here.

    Raises what `named_targets` raises, and DependencyMissing, which names the extra, for one whose
    packages are not installed. `all` leaves out what is not installed; `missing_targets` says what
    that is.
    """
    named, missing = named_targets(targets), missing_targets()
    asked = {*targets, *(WEB if "web" in targets else ())}
    for target in named:
        if target in missing and target in asked:
            raise missing[target]
    if len(missing) == len(TARGETS):
        raise missing["onnx"]
    return tuple(target for target in named if target not in missing)


def missing_targets() -> dict[TargetName, DependencyMissing]:
    """Return target -> the error that names the extra to install, of those not installed."""
    found = {target: missing_package(target) for target in TARGETS}
    return {target: error for target, error in found.items() if error is not None}


def missing_package(target: TargetName) -> DependencyMissing | None:
    """Return the error that names what `target` lacks, None if it can be written."""
    names = EXTRAS[target]
    for form in TARGETS[target]:
        for package in ("torch", *FORMATS[form].packages):
            if find_spec(package) is None:
                return DependencyMissing(names.get(package, package), extra=target)
    return None


def checked_precisions(precisions: Sequence[str]) -> tuple[Precision, ...]:
    """Return `precisions` without repetition, widest first; EdgekitError for an unknown one."""
    for name in precisions:
        if name == "mixed":
            raise EdgekitError(
                "a mixed file is made layer by layer from measurements, not by an export",
                hint="run `edgekit optimize` on the student",
            )
        if name not in PRECISIONS:
            raise unknown_name("precision", name, PRECISIONS)
    if not precisions:
        raise unknown_name("precision", "", PRECISIONS)
    return tuple(precision for precision in EVERY_PRECISION if precision in precisions)


def options_of(form: Format, options: Options) -> dict[str, object]:
    """Return what of `options` decides the files of `form`; goes into the hash of its rows.

    What is left at its default is left out, so that a new option makes no old file stale.
    """
    default = asdict(DEFAULT)
    return {
        name: value
        for name, value in asdict(options).items()
        if name in FORMATS[form].options and value != default[name]
    }


def checked_sizes(sizes: Sequence[int]) -> None:
    """Raise EdgekitError for a side that no student can have."""
    for size in sizes:
        if size < 8 or size % 8:
            raise EdgekitError(
                f"--size {size} is not a multiple of 8 pixels", hint="ask for 128, 256 or the like"
            )


def checked_options(options: Options) -> Options:
    """Return `options`; raises EdgekitError or TargetUnsupported for a value that cannot be."""
    if options.ios not in IOS:
        raise unknown_name("iOS version", str(options.ios), map(str, IOS))
    if options.delegate not in get_args(Delegate):
        raise unknown_name("delegate", options.delegate, get_args(Delegate))
    checked_sizes(options.sizes)
    for capability in options.compute_capabilities:
        if capability not in RTX_CAPABILITIES:
            raise TargetUnsupported(
                f"TensorRT-RTX does not build for compute capability {capability}",
                hint=f"it builds for {', '.join(RTX_CAPABILITIES)}; for other GPUs, such as Hopper "
                "(9.0), ship the .trt folder and run `edgekit trt build` there",
            )
    return options


def minimum_os(form: Format, options: Options) -> str | None:
    """Return the oldest system that runs files of `form`, None where that is no question."""
    return f"iOS {options.ios}" if form == "mlpackage" else FORMATS[form].minimum_os


def tool_versions(name: Format) -> dict[str, str]:
    """Return package -> version of what writes files of this format, torch included."""
    distributions = EXTRAS[FORMATS[name].target]
    wanted = ["torch", *(distributions.get(module, module) for module in FORMATS[name].packages)]
    return {package: number for package in wanted if (number := installed(package)) is not None}
