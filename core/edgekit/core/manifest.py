"""The bundle's manifest: the one file that Python, Kotlin, Swift and JavaScript read unchanged.

Version 1. `schema()` is the published JSON schema (docs/bundle.schema.json holds a copy, kept
equal by a test). Everything that a demo app needs stands here: no reader opens a model file to
learn a shape or a scale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgekit.core.errors import BadInput
from edgekit.core.seams import Port, Precision
from edgekit.core.store import (
    MANIFEST,
    file_sha256,
    read_json,
    size_bytes,
    value_sha256,
    write_json,
)

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
RelativePath = Annotated[str, Field(pattern=rf"^{_SEGMENT}(/{_SEGMENT})*$")]
TargetName = Literal["onnx", "android", "ios", "tensorrt", "executorch", "openvino"]
Format = Literal["onnx", "tflite", "mlpackage", "aimodel", "engine", "trt", "pte", "openvino"]
"""Suffix of a model file. mlpackage, aimodel, engine, trt and openvino are folders."""
FORMS = (
    "concept",
    "base",
    "restorer",
    "enroller",
    "identity",
    "face_net",
    "mesh",
    "field",
    "other",
)
"""Kinds of bundles that edgekit writes; a reader says in a sentence which ones it cannot show."""
MOST_PROMPTS = 16


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PortEntry(_Strict):
    """How to fill or read one buffer."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "float16", "int32", "uint8", "image"]
    layout: Literal["nchw", "nhwc", "flat", "image"]
    low: float = Field(description="value that stands for black")
    high: float = Field(description="value that stands for white")

    def port(self) -> Port:
        """Return the seam's value; an ``image`` port is a uint8 picture in NHWC."""
        image = self.dtype == "image"
        return Port(
            self.name,
            self.shape,
            "uint8" if self.dtype == "image" else self.dtype,
            "nhwc" if image or self.layout == "image" else self.layout,
            self.low,
            self.high,
        )


class ParityEntry(_Strict):
    """How far the executed file is from the PyTorch student, over held-out photos."""

    protocol: str = Field(description="what was compared, for example parity-1/heldout/peak2")
    samples: int
    max_abs: float
    psnr_db: float = Field(description="mean over samples; identical outputs are written as 999")
    worst_psnr_db: float
    reference: Literal["student", "fp32 file"]
    adversarial_db: dict[str, float] = Field(
        default_factory=dict, description="black, white, noise, hot pixel: dB of each"
    )


class ModelEntry(_Strict):
    """One model file of the bundle."""

    target: TargetName
    format: Format
    precision: Precision
    path: RelativePath
    sha256: Sha256
    bytes: int
    inputs: tuple[PortEntry, ...]
    outputs: tuple[PortEntry, ...]
    minimum_os: str | None = None
    recipe: str = Field(description="how the precision was made, in words that can be repeated")
    executed: bool = Field(
        description="whether the format's own runtime ran this very file here; with false, the "
        "end of the parity's protocol says what was executed in its place: edgekit.mil computes a "
        "Core ML package from its bytes, onnx-source runs the ONNX file that an engine is built of"
    )
    parity: ParityEntry | None
    placement: dict[str, int] = Field(
        default_factory=dict, description="operator name -> count, as stored in the file"
    )
    units: dict[str, int] = Field(
        default_factory=dict,
        description="unit (npu, gpu, xnnpack, cpu) -> how many of these operators it runs by "
        "published tables; empty where none is published",
    )
    tools: dict[str, str] = Field(description="package -> version that wrote the file")
    rewrites: tuple[str, ...] = Field(
        default=(), description="graph rewrites that were needed for this file, by name"
    )
    fingerprint: dict[str, str] = Field(
        default_factory=dict,
        description="of a compiled engine: what it was built by and for; a runtime that differs "
        "must build it again",
    )


class Refusal(_Strict):
    """A file that was made and is not shipped, or could not be made, with the reason."""

    target: TargetName
    format: Format
    precision: Precision
    reason: str


class GoldenEntry(_Strict):
    """Input and output vectors that every runtime checks itself against (NPZ of float32, NCHW).

    Each array holds the samples one after another along its first axis.
    """

    path: RelativePath
    sha256: Sha256
    samples: int


class FileEntry(_Strict):
    """Another file of the bundle, such as an adapter."""

    name: str
    path: RelativePath
    sha256: Sha256
    bytes: int


class PartEntry(_Strict):
    """A whole bundle inside this one, such as the enroller of a restorer."""

    name: str
    path: RelativePath = Field(description="its folder")
    form: str
    sha256: Sha256 = Field(description="of the manifest.json in its folder")


class MeshEntry(_Strict):
    """How planes and field of a mesh generator become a mesh (form ``mesh``)."""

    cells: int = Field(description="cells of the lattice along a side of the cube [-1, 1]^3")
    deform: float = Field(description="largest deformation of a lattice point, in half cells")
    prompts: tuple[str, ...] = Field(
        description="prompts to offer a user, those that no training saw first"
    )


class BlockEntry(_Strict):
    """One run of values of the adapter input, and where in a concept's file they stand."""

    name: str = Field(description="layer and what of it: stem.A, stem.B, stem.gain, stem.bias")
    part: Literal["norms", "factors", "text"] = Field(description="tensor of the concept's file")
    group: str = Field(description="group of layers whose rank counts; empty if none does")
    offset: int = Field(description="first value in the adapter input")
    rows: int = Field(description="rows in the input")
    most: int = Field(
        description="a file holds min(rank of the group, most) rows of a block with a group, the "
        "rest of the input is 0; it holds all rows of any other block"
    )
    columns: int = Field(description="values a row")


class AdapterEntry(_Strict):
    """The second input of a base: how to fill it from the file of a concept."""

    port: str
    length: int = Field(description="values of the input, float32")
    base_sha256: Sha256 = Field(description="weights that the concepts were trained on")
    layout_sha256: Sha256 = Field(
        description="of the blocks whatever the capacity; a concept's file repeats it"
    )
    capacity: dict[str, int] = Field(description="group of layers -> largest rank of a concept")
    blocks: tuple[BlockEntry, ...] = Field(
        description="they fill the input one after another, and each of the file's tensors too"
    )


class ConceptEntry(_Strict):
    """One concept of a base: a file that is loaded into the adapter input."""

    name: str
    prompt: str
    path: RelativePath
    sha256: Sha256
    bytes: int
    ranks: dict[str, int]


class LatencyEntry(_Strict):
    """A measured latency; raw samples lie in the file named by `raw`."""

    path: str
    runtime: str
    host: str
    threads: int
    calls: int
    p50_ms: float
    p90_ms: float | None = Field(description="null when there are fewer than ten calls")
    protocol: str


class StudentEntry(_Strict):
    """Where the model came from."""

    sha256: Sha256 = Field(
        description="of student.pt2, or of the shipped weights that it was made of"
    )
    recipe_sha256: Sha256
    teacher: str
    parameters: int
    gmac: float
    size_px: int


class BundleManifest(_Strict):
    """A bundle: what ships."""

    kind: Literal["bundle"] = "bundle"
    schema_version: Literal[1] = 1
    recipe_sha256: Sha256
    name: str
    prompt: str
    edgekit: str
    form: str = Field(
        default="concept",
        pattern=r"^[a-z][a-z_]*$",
        description=f"what the model is for: {', '.join(FORMS)}",
    )
    student: StudentEntry
    models: tuple[ModelEntry, ...]
    refused: tuple[Refusal, ...] = ()
    golden: GoldenEntry
    adapters: tuple[FileEntry, ...] = ()
    adapter_input: AdapterEntry | None = Field(
        default=None, description="of a base, whose models take a concept as a second input"
    )
    concepts: tuple[ConceptEntry, ...] = Field(
        default=(), description="of a base: what it can be switched to"
    )
    parts: tuple[PartEntry, ...] = Field(
        default=(),
        description="bundles inside this one that it works with: a restorer's enroller and the "
        "encoder of its codes (identity), in an iOS app also the nets that find faces (face_net); "
        "a mesh generator's field",
    )
    assets: tuple[FileEntry, ...] = Field(
        default=(), description="other files that it needs, such as a table of words"
    )
    encoder_sha256: Sha256 | None = Field(
        default=None,
        description="of a restorer that takes identity codes: weights of the encoder (its "
        "student.sha256) whose codes it understands",
    )
    mesh: MeshEntry | None = None
    licences: dict[str, str] = Field(description="what -> licence, of weights and data")
    quality: dict[str, float] = Field(default_factory=dict)
    latency: tuple[LatencyEntry, ...] = ()
    manifest_sha256: Sha256 | None = Field(
        default=None,
        description="of this file's JSON value without this field: keys sorted, no spaces, UTF-8",
    )


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a bundle's manifest."""
    return BundleManifest.model_json_schema()


def write_bundle(folder: Path, manifest: BundleManifest) -> BundleManifest:
    """Write the manifest of the bundle in `folder`, sealed with its own hash, and return it."""
    value = manifest.model_dump(mode="json", exclude={"manifest_sha256"})
    write_json(folder / MANIFEST, {**value, "manifest_sha256": value_sha256(value)})
    return read_bundle(folder)


def read_bundle(folder: Path, *, check_files: bool = False) -> BundleManifest:
    """Read and validate the manifest of the bundle in `folder`.

    With `check_files` every listed file is hashed too, those of its parts as well. Raises BadInput
    for a folder that is not a bundle, an invalid manifest or one that was changed, a missing file
    or one that was changed.
    """
    if not (folder / MANIFEST).is_file():
        raise BadInput(
            f"{folder} is not a bundle: it has no {MANIFEST}",
            hint="name a folder written by `edgekit export`",
        )
    value = read_json(folder / MANIFEST)
    if isinstance(value, dict) and value.get("kind") not in (None, "bundle"):
        raise BadInput(
            f"{folder} holds a {value['kind']}, not a bundle",
            hint="run `edgekit export` on it first",
        )
    try:
        manifest = BundleManifest.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(
            f"{folder / MANIFEST}: {where}: {first['msg']}", hint="export the bundle again"
        ) from error
    told = value.pop("manifest_sha256", None)
    if told is not None and told != value_sha256(value):
        raise BadInput(
            f"{folder / MANIFEST} was changed after it was written (other sha256)",
            hint="copy the whole bundle again or export it anew",
        )
    if check_files:
        for path, sha256 in _files(manifest):
            _check_file(folder / path, sha256)
        for part in manifest.parts:
            read_bundle(folder / part.path, check_files=True)
    return manifest


def _files(manifest: BundleManifest) -> list[tuple[str, str]]:
    entries = [(m.path, m.sha256) for m in manifest.models]
    entries += [(a.path, a.sha256) for a in manifest.adapters]
    entries += [(c.path, c.sha256) for c in manifest.concepts]
    entries += [(a.path, a.sha256) for a in manifest.assets]
    entries += [(f"{p.path}/{MANIFEST}", p.sha256) for p in manifest.parts]
    return [*entries, (manifest.golden.path, manifest.golden.sha256)]


def _check_file(path: Path, sha256: str) -> None:
    if not path.exists():
        raise BadInput(f"{path} is missing from the bundle", hint="copy the whole folder again")
    if file_sha256(path) != sha256:
        raise BadInput(
            f"{path} is not the file that was exported ({size_bytes(path)} bytes, other sha256)",
            hint="copy it again or export anew",
        )
