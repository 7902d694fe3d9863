"""Cameras: where vertices land in a picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rotation(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Return B x 3 x 3 turns (radians) of points with x right, y up and z towards the viewer.

    First `roll` about z (positive: clockwise in the picture), then `pitch` about x (positive: the
    front looks up), then `yaw` about y (positive: the front turns to the picture's right).
    """
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def matrix(*values: Tensor) -> Tensor:
        return torch.stack(values, -1).view(-1, 3, 3)

    about_y = matrix(yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos())
    about_x = matrix(
        one, zero, zero, zero, pitch.cos(), pitch.sin(), zero, -pitch.sin(), pitch.cos()
    )
    about_z = matrix(roll.cos(), roll.sin(), zero, -roll.sin(), roll.cos(), zero, zero, zero, one)
    return about_y @ about_x @ about_z


def projected(positions: Tensor, distance: Tensor, field_deg: Tensor) -> Tensor:
    """Return B x V x 4 vertices for `rasterize`, seen from (0, 0, `distance`) towards -z.

    `field_deg` is the angle that a square picture covers from its left to its right border. Near
    and far are a twentieth of the distance and four times it.
    """
    scale = 1 / torch.tan(field_deg * (math.pi / 360))
    ahead = distance[:, None] - positions[..., 2]
    near, far = distance[:, None] / 20, distance[:, None] * 4
    depth = ((far + near) * ahead - 2 * far * near) / (far - near)
    return torch.stack(
        [positions[..., 0] * scale[:, None], positions[..., 1] * scale[:, None], depth, ahead], -1
    )
