"""Pictures of colored meshes as a teacher sees them, and the bank of them that it learns from.

Shape key, used as name suffixes in this file:
    B pictures   T triangles   S side of a picture
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from edgekit.distill.render.rasterize import rasterize
from edgekit.distill.render.views import Cameras, shaded
from edgekit.distill.teachers.views.solids import ColoredMesh

FINER = 2
"""Pixels a side that are averaged into one."""


@torch.no_grad()
def cutouts(mesh: ColoredMesh, cameras: Cameras, size_px: int) -> Tensor:
    """Return B x 4 x S x S in [0, 1]: shaded color times its share of the pixel, and that share.

    The pictures are on the device of `cameras`; `views.over` lays them over a background.
    """
    device = cameras.yaw.device
    vertices = torch.from_numpy(mesh.vertices).to(device)
    triangles = torch.from_numpy(mesh.triangles).to(device)
    colors = torch.from_numpy(mesh.colors).to(device)
    if len(colors) == len(vertices) != len(triangles):
        colors = colors[triangles].mean(1)
    corners = vertices[triangles]
    normals = F.normalize(
        torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=-1
    )
    side = size_px * FINER
    raster = rasterize(cameras.projected(vertices), triangles, (side, side))
    seen = raster.triangle.clamp(min=0)
    # A sheet without thickness is lit on the side that is looked at.
    toward = (cameras.places[:, None, None] - corners.mean(1)[seen]) * normals[seen]
    facing = torch.where(toward.sum(-1, keepdim=True) < 0, -normals[seen], normals[seen])
    share = raster.covered[..., None].float()
    picture = torch.cat([shaded(colors[seen], facing, cameras) * share, share], -1)
    return F.avg_pool2d(picture.permute(0, 3, 1, 2), FINER)
