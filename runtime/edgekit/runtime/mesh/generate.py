"""A prompt to a finished mesh: what `edgekit mesh` calls, and every stage's seconds.

    words and planes -> field on the lattice -> surface -> triangles -> uvs -> texture
                                                                     -> colors (without a texture)

The two networks run in any session of a bundle of form ``mesh``; all between them is numpy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.manifest import MeshEntry, PortEntry
from edgekit.core.tensors import Batch, Lattice, Vertices
from edgekit.runtime.bundle import OpenBundle, asset_path, bundle_folder, open_bundle, open_part
from edgekit.runtime.mesh.decimate import check_budget, decimated
from edgekit.runtime.mesh.extract import extracted
from edgekit.runtime.mesh.planes import at_points, on_lattice
from edgekit.runtime.mesh.surface import Mesh, without_crumbs
from edgekit.runtime.mesh.texture import Colors, baked, check_size, unwrapped
from edgekit.runtime.mesh.words import Words, read_words

FORM, FIELD, WORDS = "mesh", "field", "words"
EXACT = "fp32"
"""Precision of the field's file, whatever the planes': it holds 30 KB, is as fast as the smaller
ones, and rounded weights move the surface (docs/mesh.md)."""
TRIANGLES = 4000
"""Budget of a mesh with a texture, unless told otherwise."""
TEXTURE_PX = 512
FEWEST_CELLS, MOST_CELLS = 8, 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """What becomes of a surface."""

    triangles: int | None = None
    """At most so many; None keeps them all, or `TRIANGLES` with a texture."""
    texture_px: int = TEXTURE_PX
    """Side of the texture; 0 gives colours of vertices in its place."""

    def __post_init__(self) -> None:
        """Refuse what could only fail after the work."""
        if self.triangles is not None:
            check_budget(self.triangles)
        if self.texture_px:
            check_size(self.texture_px)

    @property
    def budget(self) -> int | None:
        """The most triangles, None for all."""
        return TRIANGLES if self.triangles is None and self.texture_px else self.triangles


@dataclass(frozen=True, slots=True)
class Made:
    """A mesh and what it took."""

    mesh: Mesh
    seconds: dict[str, float]
    """Stage -> seconds, in their order."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Keeps the seconds of stages."""

    now: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the seconds of the block to the stage `name`."""
        start = self.now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - start


@dataclass(frozen=True, slots=True)
class MeshGenerator:
    """A bundle of form ``mesh``, open: `mesh` makes one of a prompt."""

    words: Words
    planes: OpenBundle
    field: OpenBundle
    entry: MeshEntry

    def mesh(
        self,
        prompt: str,
        *,
        cells: int | None = None,
        finish: Finish | None = None,
        clock: Clock | None = None,
    ) -> Made:
        """Return the mesh of `prompt`.

        `cells` is how many the lattice has a side (default: as it was trained).

        Raises BadInput for a prompt that is not understood, EdgekitError for a number of cells that
        cannot be meant, QualityFailed if there is no surface or it cannot be finished so.
        """
        clock = clock or Clock()
        cells = self.entry.cells if cells is None else cells
        if not FEWEST_CELLS <= cells <= MOST_CELLS:
            raise EdgekitError(
                f"a lattice of {cells} cells a side",
                hint=f"choose {FEWEST_CELLS} to {MOST_CELLS}; it was trained with "
                f"{self.entry.cells}",
            )
        with clock.stage("planes"):
            planes = self.planes_of(prompt)
        with clock.stage("field"):
            sdf, deformation = self.on_lattice(planes, cells)
        return from_lattice(
            sdf,
            deformation,
            self.entry.deform,
            lambda points: self.at_points(planes, points)[:, 4:],
            finish=finish,
            clock=clock,
        )

    def planes_of(self, prompt: str) -> Batch:
        """Return the planes of `prompt`, 3 x C x R x R; BadInput if it is not understood."""
        (given,), (result,) = _ports(self.planes)
        text = self.words.text(prompt).astype(given.dtype)[None]
        if text.shape != given.shape:
            raise BadInput(
                f"the table of words gives {text.shape}, the planes take {given.shape}",
                hint="export the run again: its files do not belong together",
            )
        planes = np.asarray(self.planes.session.run({given.name: text})[result.name], np.float32)
        if result.layout == "nhwc":
            planes = planes.transpose(0, 3, 1, 2)
        _, channels, height, width = planes.shape
        return np.ascontiguousarray(planes.reshape(3, channels // 3, height, width))

    def on_lattice(self, planes: Batch, cells: int) -> tuple[Lattice, Batch]:
        """Return the signed distance and the deformation at all points of a lattice."""
        n = cells + 1
        values = np.empty((n**3, 4), np.float32)
        for start, end, features in on_lattice(planes, cells, self.chunk):
            values[start:end] = self._field(features)[: end - start, :4]
        sdf = np.ascontiguousarray(values[:, 0].reshape(n, n, n))
        return sdf, values[:, 1:].reshape(n, n, n, 3)

    def at_points(self, planes: Batch, points: Vertices) -> Batch:
        """Return the field at `points`: N x 7, distance, deformation, colour."""
        values = np.empty((len(points), 7), np.float32)
        features = np.zeros((self.chunk, planes.shape[1]), np.float32)
        for start in range(0, len(points), self.chunk):
            part = points[start : start + self.chunk]
            features[: len(part)] = at_points(planes, part)
            values[start : start + self.chunk] = self._field(features)[: len(part)]
        return values

    @property
    def chunk(self) -> int:
        """Points that the field takes in one call."""
        return self.field.entry.inputs[0].shape[1]

    def _field(self, features: Batch) -> Batch:
        (given,), (result,) = _ports(self.field)
        feeds = {given.name: features[None].astype(given.dtype, copy=False)}
        values: Batch = np.asarray(self.field.session.run(feeds)[result.name], np.float32)[0]
        return values


def from_lattice(
    sdf: Lattice,
    deformation: Batch | None,
    deform: float,
    colors: Colors,
    *,
    finish: Finish | None = None,
    clock: Clock | None = None,
) -> Made:
    """Return the finished mesh of a field on a lattice and of the colours in space.

    Raises QualityFailed if there is no surface or it cannot be finished as `finish` says.
    """
    clock, finish = clock or Clock(), finish or Finish()
    with clock.stage("surface"):
        mesh = without_crumbs(extracted(sdf, deformation, deform=deform))
    if finish.budget is not None and len(mesh.triangles) > finish.budget:
        with clock.stage("triangles"):
            mesh = decimated(mesh, finish.budget)
    if finish.texture_px:
        with clock.stage("uvs"):
            mesh = unwrapped(mesh, finish.texture_px)
        with clock.stage("texture"):
            mesh = baked(mesh, colors, finish.texture_px)
    else:
        with clock.stage("colors"):
            mesh = replace(mesh, colors=np.clip(colors(mesh.vertices), 0, 1))
    return Made(mesh, clock.seconds)


def open_generator(
    folder: Path,
    *,
    target: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
) -> MeshGenerator:
    """Open the mesh generator in `folder`, a bundle or a run that was exported.

    `target`, `precision` (of the planes) and `threads` as in `open_bundle`. Raises BadInput for a
    bundle that makes no meshes or is not whole, and what `open_bundle` raises.
    """
    bundle = open_bundle(bundle_folder(folder), target=target, precision=precision, threads=threads)
    manifest = bundle.manifest
    if manifest.form != FORM or manifest.mesh is None:
        raise BadInput(
            f"{manifest.name} makes no meshes: it is a bundle of form {manifest.form!r}",
            hint="name a run of `edgekit distill --student mesh`",
        )
    parts = open_part(bundle, FIELD, precision=EXACT, threads=threads)
    return MeshGenerator(read_words(asset_path(bundle, WORDS)), bundle, parts, manifest.mesh)


def _ports(bundle: OpenBundle) -> tuple[tuple[PortEntry, ...], tuple[PortEntry, ...]]:
    inputs, outputs = bundle.entry.inputs, bundle.entry.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise BadInput(
            f"{bundle.manifest.name} has {len(inputs)} inputs and {len(outputs)} outputs",
            hint="a mesh generator's programs have one each: export the run again",
        )
    return inputs, outputs
