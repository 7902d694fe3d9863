"""Meshes and their pictures in files; the suffix decides what is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.store import write_bytes
from edgekit.runtime.mesh.gltf import glb_bytes, mesh_of_glb, png_bytes
from edgekit.runtime.mesh.obj import obj_files
from edgekit.runtime.mesh.surface import Mesh
from edgekit.runtime.mesh.turntable import sheet, turntable
from edgekit.runtime.mesh.usdz import usdz_bytes


def _glb(mesh: Mesh, path: Path) -> Mapping[str, bytes]:
    return {path.name: glb_bytes(mesh, name=path.stem)}


def _usdz(mesh: Mesh, path: Path) -> Mapping[str, bytes]:
    return {path.name: usdz_bytes(mesh)}


def _obj(mesh: Mesh, path: Path) -> Mapping[str, bytes]:
    files = obj_files(mesh, path.stem)
    files[path.name] = files.pop(f"{path.stem}.obj")
    return files


def _png(mesh: Mesh, path: Path) -> Mapping[str, bytes]:
    return {path.name: png_bytes(sheet(mesh))}


def _gif(mesh: Mesh, path: Path) -> Mapping[str, bytes]:
    return {path.name: turntable(mesh)}


WRITERS: Mapping[str, Callable[[Mesh, Path], Mapping[str, bytes]]] = {
    ".glb": _glb,
    ".obj": _obj,
    ".usdz": _usdz,
    ".png": _png,
    ".gif": _gif,
}
"""Suffix -> what it takes to write a mesh so: .png is four views, .gif a turntable."""


def check_name(path: Path) -> None:
    """Raise EdgekitError for a name that says no known kind of file."""
    if path.suffix.lower() not in WRITERS:
        raise EdgekitError(
            f"{path.name}: cannot write {path.suffix or 'a file without a suffix'!r}",
            hint=f"end the name in {', '.join(WRITERS)} (.png: four views, .gif: a turntable)",
        )


def write_mesh(mesh: Mesh, path: Path) -> tuple[Path, ...]:
    """Write `mesh` as `path` and return all files written: an .obj has its texture beside it.

    Each file appears at once or not at all, the named one last. Raises EdgekitError for an unknown
    suffix, OutputError if the place cannot be written to.
    """
    check_name(path)
    files = WRITERS[path.suffix.lower()](mesh, path)
    for name, data in files.items():
        write_bytes(path.with_name(name), data)
    return tuple(path.with_name(name) for name in files)


def read_glb(path: Path) -> Mesh:
    """Read a mesh of a .glb file, colours of vertices as sRGB; BadInput if it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror or error}", hint="check the path"
        ) from error
    return mesh_of_glb(data, label=str(path))
