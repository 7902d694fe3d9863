"""The morphable head: a neutral mesh, shapes of identity and of expression, named landmarks.

The file is ICT-FaceKit's light model (USC ICT, MIT licence) as one ``.npz``; docs/faces.md says how
to make it from the public repository. It is given by the user and never part of this project.

Shape key: V vertices   T triangles   I identity shapes   E expressions
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgekit.core.errors import BadInput
from edgekit.core.store import file_sha256
from edgekit.distill.render.camera import projected
from edgekit.distill.render.rasterize import depth_map, vertex_normals

SKIN, EYE, TEETH, GUMS = range(4)
"""Kinds of surface. Irises are painted on the eyes; lashes, tears and blend shells are left out."""
KINDS = {
    "M_Face": SKIN,
    "M_BackHead": SKIN,
    "M_ScleraLeft": EYE,
    "M_ScleraRight": EYE,
    "M_Teeth": TEETH,
    "M_GumsTongue": GUMS,
}
FIELDS = (
    *("neutral", "uv", "quads", "quads_uv", "material", "material_names"),
    *("delta", "delta_names", "vertex_indices"),
)
TILES = 2
"""Tiles of the skin's texture, side by side: the face, the back of the head."""


@dataclass(frozen=True, slots=True)
class HeadModel:
    """The mesh and its shapes on one device, in centimetres: x right, y up, z to the front."""

    neutral: Tensor
    """V x 3."""
    identity: Tensor
    """I x V x 3, added with weights that are standard normal in the population."""
    expressions: Tensor
    """E x V x 3, added with weights from 0 to 1."""
    names: tuple[str, ...]
    """Name of each expression."""
    triangles: Tensor
    """T x 3, counterclockwise from outside."""
    uv: Tensor
    """U x 2: places in the skin's texture, x from 0 to `TILES`, y from 0 (below) to 1."""
    triangles_uv: Tensor
    """T x 3 into `uv`."""
    kind: Tensor
    """T: SKIN, EYE, TEETH or GUMS."""
    landmarks: Tensor
    """68 vertices."""
    occlusion: Tensor
    """V: share of the sky that the neutral head leaves open, from 0 to 1."""
    eyeballs: Tensor
    """Vertices of both eyes."""
    eyes: Tensor
    """2 x 3: centres of the right and the left eye."""
    eye_radius: float
    sha256: str

    def to(self, device: torch.device | str) -> HeadModel:
        """Return the same model on another device."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name in self.__slots__
            if isinstance(value := getattr(self, name), Tensor)
        }
        return replace(self, **moved)

    def shaped(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Return B x V x 3 positions of people (B x I weights) with expressions (B x E weights)."""
        offsets = identity @ self.identity.flatten(1) + expression @ self.expressions.flatten(1)
        return self.neutral + offsets.view(len(identity), -1, 3)


def load_head_model(path: Path) -> HeadModel:
    """Read a head model from an ``.npz`` file.

    Raises BadInput if it is missing or not one.
    """
    hint = "make the file from ICT-FaceKit as docs/faces.md says"
    if not path.is_file():
        raise BadInput(f"{path} does not exist", hint=hint)
    try:
        with np.load(path, allow_pickle=False) as data:
            lacking = [name for name in FIELDS if name not in data]
            fields = {name: data[name] for name in FIELDS if name in data}
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{path} is no head model: {error}", hint=hint) from error
    if lacking:
        raise BadInput(f"{path} is no head model: it lacks {', '.join(lacking)}", hint=hint)
    return _assembled(fields, file_sha256(path))


def _assembled(fields: dict[str, np.ndarray], sha256: str) -> HeadModel:
    kinds = np.array([KINDS.get(str(name), -1) for name in fields["material_names"]])
    kind = kinds[fields["material"]]
    kept = kind >= 0
    quads, quads_uv = (fields[name][kept].astype(np.int64) for name in ("quads", "quads_uv"))
    kind = np.concatenate([kind[kept]] * 2)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    triangles_uv = np.concatenate([quads_uv[:, [0, 1, 2]], quads_uv[:, [0, 2, 3]]])
    sound = (np.diff(np.sort(triangles, 1), axis=1) > 0).all(1)  # a quad may be a triangle
    triangles, triangles_uv, kind = triangles[sound], triangles_uv[sound], kind[sound]
    used, triangles_flat = np.unique(triangles, return_inverse=True)
    triangles = triangles_flat.reshape(-1, 3)
    names = [str(name) for name in fields["delta_names"]]
    identity = [i for i, name in enumerate(names) if name.startswith("identity")]
    named = json.loads(str(fields["vertex_indices"]))
    expressions = [names.index(name) for name in named["expressions"]]
    neutral = fields["neutral"][used].astype(np.float32)
    places = np.searchsorted(used, named["idx_to_landmark_verts"])
    eyeballs = np.unique(triangles[kind == EYE])
    eye = neutral[eyeballs]
    balls = [eye[eye[:, 0] < 0], eye[eye[:, 0] > 0]]
    centers = np.stack([(ball.min(0) + ball.max(0)) / 2 for ball in balls])
    model = HeadModel(
        neutral=torch.from_numpy(neutral),
        identity=torch.from_numpy(fields["delta"][identity][:, used].astype(np.float32)),
        expressions=torch.from_numpy(fields["delta"][expressions][:, used].astype(np.float32)),
        names=tuple(names[i] for i in expressions),
        triangles=torch.from_numpy(triangles),
        uv=torch.from_numpy(fields["uv"].astype(np.float32)),
        triangles_uv=torch.from_numpy(triangles_uv),
        kind=torch.from_numpy(kind),
        landmarks=torch.from_numpy(places),
        occlusion=torch.ones(len(neutral)),
        eyeballs=torch.from_numpy(eyeballs),
        eyes=torch.from_numpy(centers.astype(np.float32)),
        eye_radius=float(np.mean([np.ptp(ball[:, 0]) / 2 for ball in balls])),
        sha256=sha256,
    )
    return replace(model, occlusion=_occlusion(model))


def visible(
    positions: Tensor, triangles: Tensor, direction: Tensor, *, size_px: int = 192, soft_px: int = 1
) -> Tensor:
    """Return B x V: how far light from `direction` (B x 3, unit) reaches each vertex, 0 to 1.

    A depth map is seen from the light; `soft_px` of its pixels around a vertex decide together.
    """
    up = torch.tensor([0.0, 0.999, 0.045], device=direction.device).expand_as(direction)
    across = F.normalize(torch.linalg.cross(up, direction), dim=1)
    above = torch.linalg.cross(direction, across)
    turned = positions @ torch.stack([across, above, direction], 2)
    low, high = turned.amin(1, keepdim=True), turned.amax(1, keepdim=True)
    unit = (turned - low) / (high - low).amax(2, keepdim=True).clamp(min=1e-6) * 1.96 - 0.98
    flat = torch.stack([unit[..., 0], unit[..., 1], -unit[..., 2]], -1)
    vertices = torch.cat([flat, torch.ones_like(flat[..., :1])], -1)
    depths = depth_map(vertices, triangles, (size_px, size_px)).flatten(1)
    column = ((flat[..., 0] + 1) / 2 * size_px).long()
    row = ((1 - flat[..., 1]) / 2 * size_px).long()
    lit = torch.zeros_like(flat[..., 0])
    around = range(-soft_px, soft_px + 1)
    for down in around:
        for right in around:
            place = (row + down).clamp(0, size_px - 1) * size_px + (column + right).clamp(
                0, size_px - 1
            )
            depth = depths.gather(1, place)
            lit += (flat[..., 2] <= depth + 0.04).to(lit.dtype)
    return lit / len(around) ** 2


def _occlusion(model: HeadModel, directions: int = 32) -> Tensor:
    """Return how open each vertex of the neutral head is, over directions spread evenly."""
    place = torch.arange(directions) + 0.5
    height = 1 - 2 * place / directions
    turn = place * math.pi * (3 - math.sqrt(5))
    flat = (1 - height**2).sqrt()
    towards = torch.stack([flat * turn.cos(), height, flat * turn.sin()], 1)
    normals = vertex_normals(model.neutral[None], model.triangles)[0]
    total, open_ = torch.zeros(len(normals)), torch.zeros(len(normals))
    for direction in towards:
        facing = (normals @ direction).clamp(min=0)
        total += facing
        open_ += (
            facing * visible(model.neutral[None], model.triangles, direction[None], size_px=128)[0]
        )
    return open_ / total.clamp(min=1e-6)


def seen_from(positions: Tensor, distance: Tensor, field_deg: Tensor, place: Tensor) -> Tensor:
    """Return B x V x 4 vertices in an aligned crop: `place` (B x 2 x 3) moves the picture's plane.

    `place` takes x and y of the uncropped picture (-1 to 1, y up) to those of the crop.
    """
    whole = projected(positions, distance, field_deg)
    xy = whole[..., :2] @ place[:, :, :2].transpose(1, 2) + whole[..., 3:] * place[:, None, :, 2]
    return torch.cat([xy, whole[..., 2:]], -1)
