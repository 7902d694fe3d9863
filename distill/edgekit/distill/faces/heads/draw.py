"""One picture of a head: geometry, visibility, light, skin, eyes, hair, background.

Pictures are drawn straight into the aligned crop, at twice its side, and averaged down; landmarks
are the projected vertices.

Shape key: B pictures of one person   H W rows and columns   C channels
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgekit.distill.faces.heads.hair import ALONG, AROUND, Hair, Skull, hair_of, laid, skull_of
from edgekit.distill.faces.heads.model import (
    EYE,
    GUMS,
    TEETH,
    TILES,
    HeadModel,
    seen_from,
    visible,
)
from edgekit.distill.faces.heads.noise import fractal, noise, smooth
from edgekit.distill.faces.heads.people import Person
from edgekit.distill.faces.heads.scene import Scene
from edgekit.distill.faces.heads.skin import SkinMap, linear, skin_map, skin_texture
from edgekit.distill.faces.points import crop_transform, five_of
from edgekit.distill.render.camera import projected, rotation
from edgekit.distill.render.rasterize import Raster, interpolate, rasterize, vertex_normals

FINE = 2
"""Pixels drawn for each side of a pixel that is kept."""
SCATTER = (0.34, 0.16, 0.1)
"""How far red, green and blue light wraps around skin."""
SUNK = 0.07
"""Centimetres that eyeballs are moved back, so that none shows through a closed lid."""
IRIS = 0.40
"""Angle from the pupil's middle to the iris' border, in radians."""


@dataclass(frozen=True, slots=True)
class Studio:
    """What all pictures share."""

    model: HeadModel
    skin: SkinMap
    skull: Skull


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pictures of one person with everything that is known about them."""

    pictures: Tensor
    """B x 3 x S x S, uint8."""
    landmarks: np.ndarray
    """B x 68 x 2, in pixels."""
    poses: np.ndarray
    """B x 3, yaw, pitch and roll in the crop, in degrees."""


def studio_of(model: HeadModel, size_px: int = 256) -> Studio:
    """Prepare what all pictures of a head model share, for pictures of about `size_px`."""
    return Studio(model, skin_map(model, min(1024, max(128, 2 * size_px))), skull_of(model))


def drawn(studio: Studio, person: Person, scenes: Sequence[Scene], size_px: int) -> Drawn:
    """Draw one person in every scene, aligned as `points.crop_square` would align a photo."""
    model, device = studio.model, studio.model.neutral.device
    count, side = len(scenes), size_px * FINE

    def each(name: str) -> Tensor:
        return torch.tensor([getattr(scene, name) for scene in scenes], device=device)

    shape = torch.from_numpy(person.shape).to(device).expand(count, -1)
    expression = torch.from_numpy(np.stack([scene.expression for scene in scenes])).to(device)
    local = model.shaped(shape, expression)
    local[:, model.eyeballs, 2] -= SUNK
    angles = [each(name) * (math.pi / 180) for name in ("yaw", "pitch", "roll")]
    turn = rotation(*angles).transpose(1, 2)
    pivot = torch.tensor([0.0, 2.0, 2.0], device=device)
    positions = (local - pivot) @ turn
    distance = each("distance")
    field = 2 * torch.atan(15.0 / distance) * (180 / math.pi)
    place, landmarks = _placed(positions[:, model.landmarks], distance, field, scenes, size_px)
    hair = hair_of(person, studio.skull)
    shell = None if hair is None else (laid(hair, studio.skull, model, local) - pivot) @ turn
    key = each("key")
    lit, lit_shell = _lit(model, positions, studio.skull, shell, key)
    raster = rasterize(
        seen_from(positions, distance, field, place), model.triangles, (side, side), cull_back=True
    )
    attributes = torch.cat(
        [
            vertex_normals(positions, model.triangles),
            lit[..., None],
            model.occlusion.expand(count, -1)[..., None],
            model.neutral.expand(count, -1, -1),
        ],
        -1,
    )
    surface = interpolate(attributes, raster, model.triangles)
    texture = skin_texture(person, studio.skin)
    color, gloss, wet = _painted(studio, person, texture, raster, surface)
    light = _Light(key, each("key_color"), each("sky"), each("ground"), each("shadow"))
    picture = _shaded(color, gloss, wet, surface, light)
    backdrop = _backdrop(scenes, side, device)
    picture = torch.where(raster.covered[..., None], picture, backdrop)
    if hair is not None and shell is not None and lit_shell is not None:
        vertices = seen_from(shell, distance, field, place)
        picture = _with_hair(
            picture, raster, hair, person, studio.skull, shell, vertices, lit_shell, light
        )
    return Drawn(
        _developed(picture, each("exposure"), each("contrast")),
        landmarks,
        np.array([[scene.yaw, scene.pitch, 0.0] for scene in scenes]),
    )


def _placed(
    marks: Tensor, distance: Tensor, field: Tensor, scenes: Sequence[Scene], size_px: int
) -> tuple[Tensor, np.ndarray]:
    """Return what moves the picture's plane into the aligned crop, and landmarks in its pixels."""
    clip = projected(marks, distance, field)
    ndc = (clip[..., :2] / clip[..., 3:]).double().cpu().numpy()
    moves, landmarks = [], []
    for points, scene in zip(ndc, scenes, strict=True):
        upright = (points * [1, -1]).astype(np.float32)
        # The transform to a crop of 2 pixels, from -1 to 1, with a little of a detector's error.
        matrix = crop_transform(five_of(upright), 2).astype(np.float64)
        right, down, larger = scene.jitter
        matrix = matrix * (1 + larger)
        matrix[:, 2] += np.array([right, down]) * 2 - 1 - larger
        landmarks.append((upright @ matrix[:, :2].T + matrix[:, 2] + 1) / 2 * size_px)
        flip = np.diag([1.0, -1.0])  # rows run down, the picture's plane runs up
        move = np.concatenate([flip @ matrix[:, :2] @ flip, (flip @ matrix[:, 2])[:, None]], 1)
        moves.append(move)
    device = marks.device
    return torch.tensor(np.stack(moves), dtype=torch.float32, device=device), np.stack(landmarks)


def _lit(
    model: HeadModel, positions: Tensor, skull: Skull, shell: Tensor | None, key: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return how far the main light reaches vertices of head and hair."""
    if shell is None:
        return visible(positions, model.triangles, key, soft_px=2), None
    joined = torch.cat([positions, shell], 1)
    triangles = torch.cat([model.triangles, skull.triangles + positions.shape[1]])
    lit = visible(joined, triangles, key, soft_px=2)
    return lit[:, : positions.shape[1]], lit[:, positions.shape[1] :]


def _painted(
    studio: Studio, person: Person, texture: Tensor, raster: Raster, surface: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return colour (linear), gloss and wetness of what each pixel sees."""
    model = studio.model
    kind = model.kind[raster.triangle.clamp(min=0)]
    uv = interpolate(model.uv, raster, model.triangles_uv)
    grid = torch.stack([uv[..., 0] * (2 / TILES) - 1, 1 - uv[..., 1] * 2], -1)
    sampled = F.grid_sample(
        texture.expand(len(grid), -1, -1, -1), grid, align_corners=False, padding_mode="border"
    ).permute(0, 2, 3, 1)
    color, gloss = sampled[..., :3], sampled[..., 3]
    wet = torch.zeros_like(gloss)
    where = surface[..., 5:8]
    for number, paint, shine, water in (
        (TEETH, (0.86, 0.80, 0.70), 0.4, 0.35),
        (GUMS, (0.42, 0.13, 0.13), 0.5, 0.6),
    ):
        mine = kind == number
        color = torch.where(mine[..., None], torch.tensor(paint, device=color.device), color)
        gloss, wet = torch.where(mine, shine, gloss), torch.where(mine, water, wet)
    eye = (kind == EYE) & raster.covered
    if bool(eye.any()):
        color = color.masked_scatter(eye[..., None], _eye(model, person, where[eye]))
        gloss, wet = torch.where(eye, 1.0, gloss), torch.where(eye, 1.0, wet)
    return color, gloss, wet


def _eye(model: HeadModel, person: Person, where: Tensor) -> Tensor:
    """Paint white, iris and pupil by the angle from the middle of the pupil."""
    left = (where[:, 0] > 0).long()
    ray = F.normalize(where - model.eyes[left], dim=1)
    angle = torch.acos(ray[:, 2].clamp(-1, 1))
    around = torch.atan2(ray[:, 1], ray[:, 0])
    iris = 0.75 * linear(torch.tensor(person.eyes, device=where.device) / 255)
    fibers = torch.stack([around * 6, angle * 4], -1)
    streak = 1 + 0.35 * noise(fibers, 0.4, person.seed + 30)
    inner = 1 + 0.5 * smooth(0.32, 0.12, angle)
    colored = iris * (streak * inner)[:, None] * (1 - 0.75 * smooth(0.33, IRIS, angle))[:, None]
    colored = colored * smooth(0.13, 0.16, angle)[:, None] + 0.004
    white = torch.tensor([0.68, 0.63, 0.60], device=where.device)
    veins = 0.12 * smooth(0.2, 0.7, noise(ray, 0.16, person.seed + 31).abs())
    white = white * (1 - veins[:, None] * torch.tensor([0.2, 1.0, 1.0], device=where.device))
    white = white * (1 - 0.25 * smooth(0.6, 1.1, angle))[:, None]
    share = smooth(IRIS - 0.015, IRIS + 0.03, angle)[:, None]
    return colored + (white - colored) * share


@dataclass(frozen=True, slots=True)
class _Light:
    key: Tensor
    color: Tensor
    sky: Tensor
    ground: Tensor
    shadow: Tensor


def _pixels(values: Tensor) -> Tensor:
    """B x C to B x 1 x 1 x C."""
    return values[:, None, None]


def _shaded(color: Tensor, gloss: Tensor, wet: Tensor, surface: Tensor, light: _Light) -> Tensor:
    """Return linear light: a key with soft wrap, sky and ground, two lobes of highlights."""
    normal = F.normalize(surface[..., :3], dim=-1, eps=1e-6)
    lit, opened = surface[..., 3:4], surface[..., 4:5].clamp(0, 1)
    lit = 1 - _pixels(light.shadow[:, None]) * (1 - lit)
    facing = (normal * _pixels(light.key)).sum(-1, keepdim=True)
    wrap = torch.tensor(SCATTER, device=color.device)
    diffuse = ((facing + wrap) / (1 + wrap)).clamp(min=0)
    diffuse = diffuse * (0.15 + 0.85 * lit) * (0.4 + 0.6 * opened.sqrt())
    up = normal[..., 1:2] * 0.5 + 0.5
    ambient = _pixels(light.sky) * up + _pixels(light.ground) * (1 - up)
    # Light that skin scatters reddens what little reaches the folds.
    fold = torch.cat([opened**0.75, opened, opened**1.1], -1)
    shaded = color * (diffuse * _pixels(light.color) + ambient * fold)
    half = F.normalize(light.key + torch.tensor([0.0, 0, 1], device=color.device), dim=1)
    shine = (normal * _pixels(half)).sum(-1, keepdim=True).clamp(min=0)
    edge = 0.04 + 0.5 * (1 - normal[..., 2:3].clamp(0, 1)) ** 5
    lobes = 0.55 * shine**10 + 0.9 * shine**36
    water = 9.0 * shine**400 + 1.6 * shine**90
    bright = edge * gloss[..., None] * lobes * 1.1 + wet[..., None] * 0.22 * water
    soft = edge * 0.35 * gloss[..., None] * ambient * opened
    return shaded + (bright * lit * (facing > 0)) * _pixels(light.color) + soft


def _with_hair(
    picture: Tensor,
    head: Raster,
    hair: Hair,
    person: Person,
    skull: Skull,
    shell: Tensor,
    vertices: Tensor,
    lit: Tensor,
    light: _Light,
) -> Tensor:
    """Lay the strands over the picture where they are nearer than the head."""
    count, side = len(picture), picture.shape[1]
    grid = shell.view(count, AROUND, ALONG, 3)
    strand = F.normalize(torch.gradient(grid, dim=2)[0], dim=-1, eps=1e-6).flatten(1, 2)
    flat = torch.stack([hair.azimuth, hair.along, hair.thin, hair.fall], -1).flatten(0, 1)
    attributes = torch.cat(
        [
            vertex_normals(shell, skull.triangles),
            strand,
            lit[..., None],
            flat.expand(count, -1, -1),
        ],
        -1,
    )
    # What cannot be seen must not hide the hair behind it.
    triangles = skull.triangles[flat[:, 2][skull.triangles].amax(1) > 0.02]
    raster = rasterize(vertices, triangles, (side, side))
    front = (raster.covered & (raster.depth <= head.depth)).nonzero().unbind(1)
    seen = interpolate(attributes, raster, triangles)[front]
    shown, alpha = _strands(person, seen, front[0], light)
    # Over the head strands fade into skin; over the background more hair would show behind them.
    alpha = torch.where(head.covered[front][:, None], alpha, torch.ones_like(alpha))
    under = picture[front]
    return picture.index_put(front, under + (shown - under) * alpha)


def _strands(person: Person, seen: Tensor, picture: Tensor, light: _Light) -> tuple[Tensor, Tensor]:
    """Return colour and opacity of N pixels of hair, each of the picture `picture`."""
    normal, tangent = (F.normalize(seen[:, i : i + 3], dim=1, eps=1e-6) for i in (0, 3))
    key, bright = light.key[picture], light.color[picture]
    reach = 1 - light.shadow[picture, None] * (1 - seen[:, 6:7])
    azimuth, along, thin, fall = seen[:, 7:].unbind(1)
    wave = person.curl * 0.5 * noise(torch.stack([azimuth * 2, along * 9], 1), 0.6, person.seed)
    lines = torch.stack([(azimuth + 0.12 * wave) * 9, along * 1.2 + fall * 0.04], 1)
    fine = noise(lines * torch.tensor([7.0, 1.0], device=lines.device), 0.5, person.seed + 40)
    broad = noise(lines, 0.6, person.seed + 41)
    curls = fractal(torch.stack([azimuth * 3, along * 8], 1), 0.7, person.seed + 42)
    shade = 1 + 0.28 * fine + 0.3 * broad * (1 - 0.5 * person.curl) + 0.5 * person.curl * curls
    base = linear(torch.tensor(person.hair, device=seen.device) / 255)
    color = base * shade.clamp(min=0.25)[:, None]
    alpha = smooth(0.12, 0.8, thin + 0.5 * fine * (1 - thin))[:, None]
    facing = (normal * key).sum(1, keepdim=True)
    diffuse = ((facing + 0.3) / 1.3).clamp(min=0) * (0.25 + 0.75 * reach)
    up = normal[:, 1:2] * 0.5 + 0.5
    ambient = (light.sky[picture] * up + light.ground[picture] * (1 - up)) * 0.75
    half = F.normalize(key + torch.tensor([0.0, 0, 1], device=seen.device), dim=1)
    aslant = (tangent * half).sum(1, keepdim=True) + 0.1 * fine[:, None]
    sheen = (1 - aslant.square()).clamp(min=0)
    glow = (0.035 + 0.12 * color) * sheen**24 + 0.09 * color * sheen**6
    lighted = color * (diffuse * bright + ambient) + glow * reach * bright * (facing > -0.2)
    return lighted, alpha


def _backdrop(scenes: Sequence[Scene], side: int, device: torch.device) -> Tensor:
    """Return B x H x W x 3: three colours, mixed along a direction and by soft shapes."""
    small = max(32, side // 8)
    axis = (torch.arange(small, device=device) + 0.5) / small
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    made = []
    for scene in scenes:
        first, second, third = (torch.tensor(c, device=device) for c in scene.background)
        rng = np.random.default_rng(scene.seed)
        angle = rng.uniform(0, 2 * math.pi)
        slope = smooth(-0.6, 0.6, (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle))
        scale = float(rng.choice([0.7, 0.4, 0.25]))
        squeeze = torch.tensor(rng.choice([0.25, 1.0, 1.0, 3.0], 2), device=device).float()
        shapes = fractal(torch.stack([x, y], -1) * squeeze, scale, scene.seed)
        sharp = float(rng.choice([0.3, 0.6, 1.0]))
        mask = smooth(-sharp, sharp, shapes)
        mixed = first + (second - first) * slope[..., None]
        made.append(mixed + (third - mixed) * mask[..., None])
    stacked = torch.stack(made).permute(0, 3, 1, 2)
    wide = F.interpolate(stacked, (side, side), mode="bicubic", align_corners=False)
    return wide.permute(0, 2, 3, 1).clamp(min=0.002)


def _developed(picture: Tensor, exposure: Tensor, contrast: Tensor) -> Tensor:
    """Average the fine pixels and return sRGB bytes, B x 3 x S x S, with a soft shoulder."""
    light = F.avg_pool2d(picture.permute(0, 3, 1, 2), FINE)
    light = light * exposure.view(-1, 1, 1, 1)
    light = torch.where(light > 0.7, 0.7 + 0.3 * torch.tanh((light - 0.7) / 0.3), light)
    encoded = torch.where(
        light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=1e-6) ** (1 / 2.4) - 0.055
    )
    encoded = (encoded - 0.45) * contrast.view(-1, 1, 1, 1) + 0.45
    return (encoded.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
