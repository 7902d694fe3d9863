"""OBJ: a mesh as text, beside it its material and its texture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgekit.core.tensors import Batch
from edgekit.runtime.mesh.gltf import png_bytes
from edgekit.runtime.mesh.surface import Mesh, vertex_normals


def obj_files(mesh: Mesh, stem: str) -> dict[str, bytes]:
    """Return the files of `mesh` by name, the .obj last.

    Colours of vertices follow their positions, which most programs read.
    """
    textured = mesh.uvs is not None and mesh.texture is not None
    files = {}
    if mesh.texture is not None and textured:
        files[f"{stem}_texture.png"] = png_bytes(mesh.texture)
        paint = f"newmtl paint\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {stem}_texture.png\n"
        files[f"{stem}.mtl"] = paint.encode()
    files[f"{stem}.obj"] = "".join(_lines(mesh, stem if textured else "")).encode()
    return files


def _lines(mesh: Mesh, material: str) -> Iterator[str]:
    yield f"mtllib {material}.mtl\nusemtl paint\n" if material else ""
    normals = mesh.normals if mesh.normals is not None else vertex_normals(mesh)
    if mesh.colors is not None and not material:
        yield _rows("v", np.concatenate([mesh.vertices, mesh.colors], axis=1))
    else:
        yield _rows("v", mesh.vertices)
    if mesh.uvs is not None and material:
        yield _rows("vt", mesh.uvs * (1, -1) + (0, 1))  # the first row of an OBJ's texture is last
    yield _rows("vn", normals)
    corner = "%d/%d/%d" if material else "%d//%d"
    numbers = np.repeat(mesh.triangles.ravel() + 1, corner.count("%d"))
    line = f"f {corner} {corner} {corner}\n"
    yield (line * len(mesh.triangles)) % tuple(numbers.tolist())


def _rows(key: str, values: Batch) -> str:
    row = key + " %.6g" * values.shape[1] + "\n"
    numbers = tuple(np.asarray(values, np.float64).ravel().tolist())
    text: str = (row * len(values)) % numbers
    return text
