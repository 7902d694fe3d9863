"""Pictures of colored meshes as a teacher sees them.

Shape key:
    B pictures   T triangles   H W rows and columns before pixels are averaged   S side of a picture
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from edgekit.distill.render.rasterize import rasterize
from edgekit.distill.render.views import Cameras, shaded
from edgekit.distill.teachers.views.solids import ColoredMesh

FINER = 2
"""Pixels a side that are averaged into one."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What the pixels of B pictures see of a mesh, before it has colors."""

    triangle: Tensor
    """B x H x W, int64; 0 where nothing is seen."""
    light: Tensor
    """B x H x W x 1, what a color is multiplied with; 0 where nothing is seen."""
    share: Tensor
    """B x H x W x 1, 1 where something is seen."""

    def painted(self, colors: Tensor) -> Tensor:
        """Return B x 4 x S x S in [0, 1] of triangles with `colors` (T x 3).

        The first three are color times its share of the pixel, the fourth is that share, so that
        `views.over` lays them over a background.
        """
        pixels = torch.cat([colors[self.triangle] * self.light, self.share], -1)
        return F.avg_pool2d(pixels.permute(0, 3, 1, 2), FINER)

    def shares(self, which: slice) -> Tensor:
        """Return B numbers: the part of each picture that some triangles cover."""
        some = (self.triangle >= which.start) & (self.triangle < which.stop)
        covered: Tensor = (some * self.share[..., 0]).mean((1, 2))
        return covered


@torch.no_grad()
def seen(mesh: ColoredMesh, cameras: Cameras, size_px: int) -> Sight:
    """Return what `cameras` see of `mesh` in pictures of `size_px`, on their device."""
    device = cameras.yaw.device
    vertices = torch.from_numpy(mesh.vertices).to(device)
    triangles = torch.from_numpy(mesh.triangles).to(device)
    corners = vertices[triangles]
    normals = F.normalize(
        torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=-1
    )
    side = size_px * FINER
    raster = rasterize(cameras.projected(vertices), triangles, (side, side))
    triangle = raster.triangle.clamp(min=0)
    # A sheet without thickness is lit on the side that is looked at.
    toward = (cameras.places[:, None, None] - corners.mean(1)[triangle]) * normals[triangle]
    front = toward.sum(-1, keepdim=True) >= 0
    facing = torch.where(front, normals[triangle], -normals[triangle])
    share = raster.covered[..., None].float()
    light = shaded(torch.ones_like(facing[..., :1]), facing, cameras) * share
    return Sight(triangle, light, share)


def triangle_colors(mesh: ColoredMesh, device: torch.device) -> Tensor:
    """Return the colors of a mesh, T x 3; those of corners are averaged."""
    colors = torch.from_numpy(mesh.colors).to(device)
    if len(mesh.colors) == len(mesh.triangles):
        return colors
    return colors[torch.from_numpy(mesh.triangles).to(device)].mean(1)


def cutouts(mesh: ColoredMesh, cameras: Cameras, size_px: int) -> Tensor:
    """Return B x 4 x S x S in [0, 1]: colors times their share of a pixel, and that share."""
    return seen(mesh, cameras, size_px).painted(triangle_colors(mesh, cameras.yaw.device))
