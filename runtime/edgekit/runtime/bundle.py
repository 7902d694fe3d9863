"""A bundle opened for use: the best file that this machine can execute, and `edit`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from edgekit.core.errors import BadInput, EdgekitError, TargetUnsupported, unknown_name
from edgekit.core.images import resized
from edgekit.core.manifest import BundleManifest, ModelEntry, TargetName, read_bundle
from edgekit.core.progress import Report, silent
from edgekit.core.seams import EVERY_PRECISION, Session
from edgekit.core.store import MANIFEST
from edgekit.core.tensors import Batch, Photo
from edgekit.runtime.adapters import Switched
from edgekit.runtime.blend import Blend, blended
from edgekit.runtime.concepts import base_of, concept_in, found, vector_in
from edgekit.runtime.pipeline import photo_port, tile_editor, tile_size
from edgekit.runtime.sessions import BACKENDS, backend_of, obstacle, open_session
from edgekit.runtime.tiles import edit_tiled

TARGETS: tuple[str, ...] = get_args(TargetName)
PREFERENCE = (
    ("tflite", "mixed"),
    ("tflite", "int8"),
    ("openvino", "int8"),
    ("onnx", "mixed"),
    ("onnx", "int8"),
    ("pte", "int8"),
    ("tflite", "fp32"),
    ("openvino", "fp32"),
    ("onnx", "fp32"),
    ("tflite", "fp16"),
    ("onnx", "fp16"),
    ("mlpackage", "int8"),
    ("mlpackage", "fp16"),
    ("mlpackage", "fp32"),
    ("aimodel", "fp16"),
    ("aimodel", "fp32"),
    ("aimodel", "int8"),
)
"""Which file `open_bundle` takes: the fastest on a CPU first. 16-bit weights save no time there,
and Core AI's runtime outside Apple's systems is an interpreter. What is not listed comes last."""

COMMANDS = {"restorer": "restore", "mesh": "mesh", "identity": "identity enrol"}
"""What to use bundles of other forms with."""


@dataclass(frozen=True, slots=True)
class OpenBundle:
    """A bundle whose file `entry` is loaded."""

    folder: Path
    manifest: BundleManifest
    entry: ModelEntry
    session: Session

    def switched(self, name: str) -> OpenBundle:
        """Return this base switched to the concept `name`; the session is shared, not loaded again.

        Raises BadInput for a bundle that is no base or a file that was changed, EdgekitError for an
        unknown name.
        """
        entry = base_of(self.manifest, self.folder)
        return self._with(vector_in(self.folder, found(self.manifest, name), entry))

    def blended(self, weights: Mapping[str, float]) -> tuple[OpenBundle, Blend]:
        """Return this base switched to a blend of concepts (name -> weight), and what it cost.

        What a blend means stands in `edgekit.runtime.blend`. Errors as in `switched`, and
        EdgekitError for a weight that is not positive.
        """
        entry = base_of(self.manifest, self.folder)
        rows = [(found(self.manifest, name), weight) for name, weight in weights.items()]
        blend = blended([(concept_in(self.folder, row), w) for row, w in rows], entry)
        return self._with(blend.vector), blend

    @property
    def concept_names(self) -> str:
        """The names of a base's concepts, in one line."""
        return ", ".join(row.name for row in self.manifest.concepts) or "none yet"

    def _with(self, vector: Batch) -> OpenBundle:
        port = base_of(self.manifest, self.folder).port
        engine = self.session.session if isinstance(self.session, Switched) else self.session
        inputs = tuple(given for given in self.entry.inputs if given.name != port)
        entry = self.entry.model_copy(update={"inputs": inputs})
        return replace(self, entry=entry, session=Switched(engine, port, vector))

    def edit(self, photo: Photo, *, max_side: int | None = None, report: Report = silent) -> Photo:
        """Return `photo` (uint8 sRGB, any size) edited, at the same size.

        With `max_side` the longer side is first scaled down to at most so many pixels, and the
        result has that size. `report` is told after each tile.

        Raises TargetUnsupported if the model does not map one photo to one photo or is for
        something else, EdgekitError for a base that is not switched to a concept.
        """
        if self.manifest.form in COMMANDS:
            raise TargetUnsupported(
                f"{self.folder} is a bundle of the form {self.manifest.form!r}: it edits no photos",
                hint=f"use `edgekit {COMMANDS[self.manifest.form]}`",
            )
        if self.manifest.adapter_input is not None and not isinstance(self.session, Switched):
            raise EdgekitError(
                f"{self.folder} is a base and needs a concept",
                hint=f"add --concept NAME; it holds: {self.concept_names}",
            )
        source = photo_port(tuple(port.port() for port in self.entry.inputs), "input")
        result = photo_port(tuple(port.port() for port in self.entry.outputs), "output")
        size = tile_size(source)
        assert size is not None  # photo_port has checked it
        scaled = limited(photo, max_side) if max_side else photo
        return edit_tiled(
            scaled, tile_editor(self.session, source, result), tile=size, report=report
        )


def limited(photo: Photo, max_side: int) -> Photo:
    """Scale `photo` down so that its longer side is at most `max_side` pixels; never up."""
    height, width = photo.shape[:2]
    factor = max_side / max(height, width)
    if factor >= 1:
        return photo
    return resized(photo, max(round(height * factor), 1), max(round(width * factor), 1))


def open_bundle(
    folder: Path,
    *,
    target: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    provider: str | None = None,
) -> OpenBundle:
    """Check the bundle in `folder` (manifest and sha256 of every file) and load one of its files.

    Without `target` and `precision` the first of `PREFERENCE` that the bundle ships and this
    machine can execute is taken; `threads` defaults to the cores that this process may use.
    `provider` is what the file is handed to (`edgekit.runtime.sessions.BACKENDS` lists them by
    format); with it only files of a format that has it are considered.

    Raises BadInput for a damaged bundle or one without such a file, EdgekitError for an unknown
    name, DependencyMissing or TargetUnsupported if the file cannot be executed here.
    """
    manifest = read_bundle(folder, check_files=True)
    entry = chosen(manifest, target, precision, provider)
    session = open_session(
        folder / entry.path, threads=threads or usable_cores(), provider=provider
    )
    return OpenBundle(folder, manifest, entry, session)


def open_part(
    bundle: OpenBundle, name: str, *, precision: str | None = None, threads: int | None = None
) -> OpenBundle:
    """Open the bundle `name` inside `bundle`, for the same target if it ships that.

    Without `precision`, or where the part does not ship it, it is that of `bundle`, or else the
    preferred one. Raises BadInput if there is no such part, and what `open_bundle` raises.
    """
    for part in bundle.manifest.parts:
        if part.name == name:
            folder = bundle.folder / part.path
            models = read_bundle(folder).models
            own = [model for model in models if model.target == bundle.entry.target]
            shipped = {model.precision for model in own or models}
            wanted = [each for each in (precision, bundle.entry.precision) if each in shipped]
            return open_bundle(
                folder,
                target=bundle.entry.target if own else None,
                precision=wanted[0] if wanted else None,
                threads=threads,
            )
    held = ", ".join(part.name for part in bundle.manifest.parts)
    raise BadInput(
        f"{bundle.folder} has no part {name!r}",
        hint=f"it has {held}" if held else "export the whole run again with `edgekit export`",
    )


def asset_path(bundle: OpenBundle, name: str) -> Path:
    """Return the file of an asset, which was checked when `bundle` was opened.

    Raises BadInput if there is no such asset.
    """
    for asset in bundle.manifest.assets:
        if asset.name == name:
            return bundle.folder / asset.path
    raise BadInput(f"{bundle.folder} has no asset {name!r}", hint="export the run again")


def chosen(
    manifest: BundleManifest,
    target: str | None,
    precision: str | None,
    provider: str | None = None,
) -> ModelEntry:
    """Return the entry that `open_bundle` loads; errors as there."""
    if target is not None and target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    if precision is not None and precision not in EVERY_PRECISION:
        raise unknown_name("precision", precision, EVERY_PRECISION)
    known = sorted({name for backend in BACKENDS.values() for name in backend.providers})
    if provider is not None and provider not in known:
        raise unknown_name("provider", provider, known)
    fitting = [
        entry
        for entry in manifest.models
        if target in (None, entry.target) and precision in (None, entry.precision)
    ]
    if not fitting:
        raise _nothing_fits(manifest, target, precision)
    if provider is not None:
        fitting = [e for e in fitting if provider in backend_of(Path(e.path)).providers]
        if not fitting:
            forms = [suffix for suffix, row in BACKENDS.items() if provider in row.providers]
            raise BadInput(
                f"{manifest.name} ships no file that runs on {provider}",
                hint=f"it takes {', '.join(forms)}; choose another --provider, or export one",
            )
    fitting.sort(key=_rank)
    obstacles = [obstacle(Path(entry.path)) for entry in fitting]
    for entry, problem in zip(fitting, obstacles, strict=True):
        if problem is None:
            return entry
    assert obstacles[0] is not None
    raise obstacles[0]


def _rank(entry: ModelEntry) -> int:
    kind = (entry.format, entry.precision)
    return PREFERENCE.index(kind) if kind in PREFERENCE else len(PREFERENCE)


def _nothing_fits(
    manifest: BundleManifest, target: str | None, precision: str | None
) -> EdgekitError:
    wanted = " ".join(word for word in (precision, target and f"for {target}") if word)
    for refusal in manifest.refused:
        if target in (None, refusal.target) and precision in (None, refusal.precision):
            return BadInput(
                f"{manifest.name} ships no file {wanted}: it was refused, {refusal.reason}",
                hint="choose another --target or --precision",
            )
    held = ", ".join(f"{entry.target} {entry.precision}" for entry in manifest.models)
    return BadInput(
        f"{manifest.name} ships no file {wanted}".rstrip(),
        hint=f"it holds: {held or 'no file at all'}",
    )


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def bundle_folder(folder: Path) -> Path:
    """Return the bundle that `folder` is or, for a run folder, the one in its ``bundle/``.

    Raises BadInput if `folder` does not exist.
    """
    if not folder.exists():
        raise BadInput(f"{folder} does not exist", hint="name a folder written by `edgekit export`")
    inside = folder / "bundle"
    if (inside / MANIFEST).is_file() and not (folder / "golden").is_dir():
        return inside
    return folder
