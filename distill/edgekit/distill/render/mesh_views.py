"""Pictures of a batch of meshes, of different sizes, with gradients for shape and colour.

Shape key:
    B pictures   M meshes   V vertices of all meshes   T triangles of all meshes
    K vertices of the largest mesh   S side of a picture
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgekit.distill.render.backends import Rasterizer, TorchRasterizer
from edgekit.distill.render.marching import ROUND, Meshes, repeated
from edgekit.distill.render.rasterize import interpolate, vertex_normals
from edgekit.distill.render.views import Cameras, shaded
from edgekit.distill.render.volume import unit

Paint = Callable[[Tensor], Tensor]
"""Points M x K x 3 to albedo M x K x 3."""


@dataclass(frozen=True, slots=True)
class MeshViews:
    """Pictures of meshes."""

    picture: Tensor
    """B x S x S x 3, lit, over the background, outlines smoothed."""
    opacity: Tensor
    """B x S x S x 1, the share of the pixel that the mesh hides."""


def mesh_views(
    meshes: Meshes,
    cameras: Cameras,
    size_px: int,
    backgrounds: Tensor,
    *,
    paint: Paint,
    which: Tensor | None = None,
    rasterizer: Rasterizer | None = None,
) -> MeshViews:
    """Render meshes for each camera at `size_px`, over one colour a picture (B x 3).

    Picture i shows mesh i or, if `which` (B, int64) is given, mesh `which[i]`. `paint` is called
    once with the vertices of every mesh, filled up with zeros to the same number, so it may ask a
    network that keeps its batch; gradients reach the positions through it, too. A mesh without
    triangles shows its background.

    Raises ValueError if the numbers of pictures do not agree.
    """
    count = len(meshes.num_vertices) if which is None else len(which)
    if not count == len(cameras) == len(backgrounds):
        raise ValueError(f"{count} pictures, {len(cameras)} cameras, {len(backgrounds)} grounds")
    rasterizer = rasterizer or TorchRasterizer()
    normals = vertex_normals(meshes.vertices[None], meshes.triangles)[0]
    surface = torch.cat([_painted(meshes, paint), normals], 1)
    shown = meshes
    if which is not None:
        shown, vertex = pictured(meshes, which)
        surface = surface.index_select(0, vertex)
    clip = cameras.projected_joined(shown.vertices, shown.rows)
    pictures = repeated(shown.num_triangles, len(shown.triangles))
    raster = rasterizer.seen(clip, shown.triangles, pictures, count, size_px)
    found = interpolate(surface, raster, shown.triangles)
    covered = raster.covered[..., None]
    # Where nothing is seen the normal is 0; its gradient must not come from there.
    facing = unit(torch.where(covered, found[..., 3:], 1))
    lit = shaded(found[..., :3], facing, cameras)
    picture = torch.where(covered, lit, backgrounds[:, None, None].to(lit.dtype))
    both = torch.cat([picture, covered.to(picture.dtype)], -1)
    both = rasterizer.smoothed(both, raster, clip, shown.triangles)
    return MeshViews(both[..., :3], both[..., 3:])


def pictured(meshes: Meshes, which: Tensor) -> tuple[Meshes, Tensor]:
    """Return mesh `which[i]` at place i, and of which vertex each of its vertices is a copy."""
    vertex_starts = meshes.num_vertices.cumsum(0) - meshes.num_vertices
    triangle_starts = meshes.num_triangles.cumsum(0) - meshes.num_triangles
    num_vertices, num_triangles = meshes.num_vertices[which], meshes.num_triangles[which]
    vertex, shift = _runs(vertex_starts[which], num_vertices)
    triangle, _ = _runs(triangle_starts[which], num_triangles)
    # Vertices keep their order within a mesh, so a triangle moves with the start of its mesh.
    moved = meshes.triangles[triangle] - torch.repeat_interleave(shift, num_triangles)[:, None]
    return Meshes(
        meshes.vertices.index_select(0, vertex), moved, num_vertices, num_triangles
    ), vertex


def _runs(starts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return `counts` numbers from each of `starts`, joined, and how far each run was moved."""
    shift = starts - (counts.cumsum(0) - counts)
    joined = torch.repeat_interleave(shift, counts)
    return joined + torch.arange(len(joined), device=joined.device), shift


def _painted(meshes: Meshes, paint: Paint) -> Tensor:
    """Return V x 3 colours of vertices."""
    rows = meshes.rows
    count = len(meshes.num_vertices)
    room = max(1, -(-int(meshes.num_vertices.max()) // ROUND)) * ROUND
    starts = meshes.num_vertices.cumsum(0) - meshes.num_vertices
    flat = torch.arange(len(rows), device=rows.device) + (rows * room - starts[rows])
    filled = meshes.vertices.new_zeros(count * room, 3).index_put((flat,), meshes.vertices)
    return paint(filled.view(count, room, 3)).flatten(0, 1).index_select(0, flat)
