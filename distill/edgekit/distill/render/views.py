"""Views of an object at the origin: cameras around it, their rays, and its light.

The object lies within `RADIUS` of the origin of a world with x right, y up and z towards the viewer
at yaw 0. What trains a teacher of views and what a generator of meshes renders for it go through
the functions of this file, so that both mean the same picture by the same camera.

Shape key:
    B pictures   V vertices   H W rows and columns of pixels   S their side
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from edgekit.distill.render.camera import projected, rotation

RADIUS = 0.9
"""Distance from the origin within which objects lie; every view shows all of it."""
DISTANCE = 2.8
FIELD_DEG = 40.0
PITCH_DEG = (-15.0, 45.0)
"""Lowest and highest camera; 0 is level with the object."""
AMBIENT, DIFFUSE = 0.55, 0.45
LIGHT = (-0.45, 0.65, 0.61)
"""Direction to the light in the camera's axes: from above and from the left, in front."""


@dataclass(frozen=True, slots=True)
class Cameras:
    """Where B pictures are taken from; every camera looks at the origin and stands upright.

    `yaw` and `pitch` are in radians: at yaw pi / 2 the camera stands at +x, at pitch pi / 2 above
    the object. `distance` is that to the origin, `field_deg` the angle between the left and the
    right border of a picture. All are tensors of B numbers.
    """

    yaw: Tensor
    pitch: Tensor
    distance: Tensor
    field_deg: Tensor

    def __post_init__(self) -> None:
        """Refuse numbers for different numbers of pictures."""
        shapes = {tuple(each.shape) for each in self._values()}
        if len(shapes) > 1 or self.yaw.ndim != 1:
            raise ValueError(f"cameras need one number a picture each, got shapes {shapes}")

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.yaw)

    def __getitem__(self, which: slice | Tensor) -> Cameras:
        """Return some of the cameras."""
        return Cameras(*(each[which] for each in self._values()))

    def to(self, device: torch.device | str) -> Cameras:
        """Return these cameras on `device`."""
        return Cameras(*(each.to(device) for each in self._values()))

    @property
    def axes(self) -> Tensor:
        """B x 3 x 3: in columns, the camera's right, up and backwards in the world."""
        with _exact(self.yaw):
            return rotation(self.yaw, self.pitch, torch.zeros_like(self.yaw))

    @property
    def places(self) -> Tensor:
        """B x 3: where the cameras stand."""
        return self.axes[:, :, 2] * self.distance[:, None]

    def projected(self, positions: Tensor) -> Tensor:
        """Return vertices for `rasterize`, B x V x 4, of `positions` V x 3 or B x V x 3."""
        with _exact(positions):
            return projected(positions @ self.axes, self.distance, self.field_deg)

    def projected_joined(self, positions: Tensor, pictures: Tensor) -> Tensor:
        """Return V x 4 vertices of `positions` V x 3, each seen by the camera of its picture."""
        with _exact(positions):
            turned = torch.einsum("vi,vij->vj", positions, self.axes[pictures])
            distance, field_deg = self.distance[pictures], self.field_deg[pictures]
            return projected(turned[:, None], distance, field_deg)[:, 0]

    def rays(self, size_px: int) -> tuple[Tensor, Tensor]:
        """Return origins and unit directions, B x S x S x 3, through the centres of the pixels."""
        reach = torch.tan(self.field_deg * (math.pi / 360))
        steps = (torch.arange(size_px, device=self.yaw.device, dtype=self.yaw.dtype) + 0.5) * 2
        steps = steps / size_px - 1
        up, right = torch.meshgrid(-steps, steps, indexing="ij")
        plane = torch.stack([right, up], -1) * reach[:, None, None, None]
        ahead = torch.full_like(plane[..., :1], -1)
        local = F.normalize(torch.cat([plane, ahead], -1), dim=-1)
        with _exact(local):
            directions = torch.einsum("bij,bhwj->bhwi", self.axes, local)
        return self.places[:, None, None].expand_as(directions), directions

    def _values(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.yaw, self.pitch, self.distance, self.field_deg


def cameras_at(yaw: Tensor, pitch: Tensor) -> Cameras:
    """Return cameras of the usual distance and field for angles in radians."""
    return Cameras(yaw, pitch, torch.full_like(yaw, DISTANCE), torch.full_like(yaw, FIELD_DEG))


def random_cameras(
    count: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Cameras:
    """Return cameras all around (yaw uniform in a turn, pitch uniform within `PITCH_DEG`)."""
    draws = torch.rand(2, count, generator=generator, device=generator.device).to(device)
    low, high = (math.radians(degrees) for degrees in PITCH_DEG)
    return cameras_at(draws[0] * (2 * math.pi), low + draws[1] * (high - low))


def ring(count: int, device: torch.device | str = "cpu", *, pitch_deg: float = 15.0) -> Cameras:
    """Return `count` cameras at equal steps around the object, the first in front of it."""
    yaw = torch.arange(count, device=device) * (2 * math.pi / count)
    return cameras_at(yaw, torch.full_like(yaw, math.radians(pitch_deg)))


def shaded(albedo: Tensor, normals: Tensor, cameras: Cameras) -> Tensor:
    """Return `albedo` under ambient light and a lamp that moves with the camera.

    Both are B x ... x 3: colours from 0 to 1 and unit normals in the world, of pixels or vertices.
    """
    # No tensor is made of Python's numbers here: a CUDA graph could not hold the copy.
    toward = sum(
        axis * (part / math.hypot(*LIGHT))
        for axis, part in zip(cameras.axes.unbind(2), LIGHT, strict=True)
    )
    assert isinstance(toward, Tensor)
    toward = toward.view(len(cameras), *[1] * (normals.ndim - 2), 3)
    facing = (normals * toward).sum(-1, keepdim=True).clamp(min=0)
    return albedo * (AMBIENT + DIFFUSE * facing)


def random_backgrounds(
    count: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Tensor:
    """Return one colour a picture, B x 3, uniform in the cube of colours."""
    return torch.rand(count, 3, generator=generator, device=generator.device).to(device)


def over(picture: Tensor, share: Tensor, backgrounds: Tensor) -> Tensor:
    """Lay `picture` (B x H x W x 3, already times its `share`) over one colour a picture.

    `share` is B x H x W x 1, the part of a pixel that the object covers; `backgrounds` B x 3.
    """
    return picture + (1 - share) * backgrounds[:, None, None]


def _exact(values: Tensor) -> torch.autocast:
    """Keep products of places at the precision of `values`.

    Where a network is trained under autocast they would have 8 bits, and pictures would tremble by
    a quarter of a pixel.
    """
    return torch.autocast(values.device.type, enabled=False)
