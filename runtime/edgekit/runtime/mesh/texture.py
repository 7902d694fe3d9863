"""A texture of a mesh: charts by xatlas, texels by asking the field for their colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from scipy.ndimage import distance_transform_edt

from edgekit.core.errors import EdgekitError, QualityFailed
from edgekit.core.images import to_bytes
from edgekit.core.tensors import Vertices
from edgekit.runtime.mesh.raster import covered
from edgekit.runtime.mesh.surface import Mesh, vertex_normals

Colors: TypeAlias = Callable[[Vertices], Vertices]
"""Positions N x 3 to sRGB colours N x 3 from 0 to 1."""

GAP_PX = 2
"""Texels between charts, so that neighbours do not shine through a filter."""
MAX_COST, FLATNESS = 1.0, 4.0
"""Where charts end: smaller and flatter ones than xatlas's 2 and 2 are laid out in a third of the
time for round shapes, and there are fewer of them."""
SMALLEST_PX, LARGEST_PX = 16, 4096


def check_size(size_px: int) -> None:
    """Raise EdgekitError for a texture that cannot be made."""
    if not SMALLEST_PX <= size_px <= LARGEST_PX:
        raise EdgekitError(
            f"a texture of {size_px} pixels",
            hint=f"choose {SMALLEST_PX} to {LARGEST_PX}, or 0 for colours of vertices",
        )


def unwrapped(mesh: Mesh, size_px: int) -> Mesh:
    """Return `mesh` with `uvs` for a square texture of `size_px`; vertices on seams are doubled.

    Normals are kept across seams. Raises QualityFailed if xatlas finds no charts.
    """
    import xatlas

    normals = vertex_normals(mesh)
    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.vertices, mesh.triangles.astype(np.uint32), normals)
    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_cost, charts.normal_deviation_weight = MAX_COST, FLATNESS
    packing.resolution, packing.padding, packing.bilinear = size_px, GAP_PX, True
    atlas.generate(charts, packing)
    origin, triangles, uvs = atlas[0]
    if len(triangles) != len(mesh.triangles) or not np.isfinite(uvs).all():
        raise QualityFailed(
            "the surface cannot be laid out flat",
            hint="ask for fewer triangles, or for --texture 0",
        )
    return Mesh(
        mesh.vertices[origin],
        triangles.astype(np.int64),
        uvs=np.clip(uvs, 0, 1).astype(np.float32),
        normals=normals[origin],
    )


def baked(mesh: Mesh, colors: Colors, size_px: int) -> Mesh:
    """Return an unwrapped mesh with its texture; what lies between charts takes the nearest colour.

    Each texel asks for the colour of the place on the surface that its centre stands for.
    """
    assert mesh.uvs is not None
    corners = (mesh.uvs * size_px)[mesh.triangles]
    triangles, texels, weights = covered(corners, size_px, size_px)
    places = np.einsum("pc,pcx->px", weights, mesh.vertices[mesh.triangles[triangles]])
    image = np.zeros((size_px * size_px, 3), np.uint8)
    image[texels] = to_bytes(colors(places.astype(np.float32)), low=0.0)
    empty = np.ones(size_px * size_px, bool)
    empty[texels] = False
    nearest = distance_transform_edt(
        empty.reshape(size_px, size_px), return_distances=False, return_indices=True
    )
    filled = image.reshape(size_px, size_px, 3)[tuple(nearest)]
    return replace(mesh, texture=np.ascontiguousarray(filled))
