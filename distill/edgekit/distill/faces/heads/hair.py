"""Hair as a shell of strands over the skull: cut, parted, falling, curled.

The shell is a grid: one side runs around the head (azimuth, 0 in front), the other along a strand
from the crown (0) to its end (1). It lies on the skull of each person and picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from edgekit.distill.faces.heads.model import SKIN, HeadModel
from edgekit.distill.faces.heads.noise import fractal, noise, smooth
from edgekit.distill.faces.heads.people import Person

AROUND, ALONG, POLAR = 120, 44, 60
CENTER = (0.0, 4.5, 0.5)
"""What the crown's directions start from, in centimetres on the neutral head."""
LONG = {"bob": -6.0, "long": -15.0}
"""How low falling hair ends."""
HAIRLINE = (
    *((0.0, 11.3), (0.4, 11.1), (0.62, 10.2), (0.8, 8.6), (0.98, 6.4), (1.1, 3.0), (1.2, 3.0)),
    *((1.32, 5.4), (1.6, 6.0), (1.85, 5.2), (2.05, 2.0), (2.3, -1.8), (2.6, -3.6), (3.15, -4.2)),
)
"""Azimuth and height of the hairline: forehead, temple, sideburn, over the ear, nape."""


@dataclass(frozen=True, slots=True)
class Skull:
    """The skull as seen from its middle: which vertices lie in which direction."""

    near: Tensor
    """AROUND x POLAR x K vertices."""
    share: Tensor
    """AROUND x POLAR x K weights, their sum 1."""
    direction: Tensor
    """AROUND x POLAR x 3."""
    height: Tensor
    """AROUND x POLAR: height of the neutral skull there, falling along the second axis."""
    triangles: Tensor
    """Of the grid, counterclockwise from outside."""


def skull_of(model: HeadModel, neighbors: int = 24) -> Skull:
    """Find the vertices of the scalp, without ears and face, by direction."""
    device = model.neutral.device
    skin = torch.zeros(len(model.neutral), dtype=torch.bool, device=device)
    skin[model.triangles[model.kind == SKIN].flatten()] = True
    x, y, z = model.neutral.unbind(1)
    ear = (x.abs() > 7.55) & (y < 6.2) & (z < 3.5)
    inner = (z > 3) & (y < 3) & (x.abs() < 5)  # mouth and throat
    rows = (skin & ~ear & ~inner & (y > -7)).nonzero()[:, 0]
    center = torch.tensor(CENTER, device=device)
    ways = torch.nn.functional.normalize(model.neutral[rows] - center, dim=1)
    azimuth = torch.linspace(-math.pi, math.pi, AROUND, device=device)[:, None]
    polar = torch.linspace(0, 0.78 * math.pi, POLAR, device=device)[None]
    direction = torch.stack(
        [
            polar.sin() * azimuth.sin(),
            polar.cos().expand(AROUND, -1),
            polar.sin() * azimuth.cos(),
        ],
        -1,
    )
    nearness = direction @ ways.T
    best = nearness.topk(neighbors, dim=-1)
    share = torch.softmax((best.values - best.values[..., :1]) * 160, -1)
    near = rows[best.indices]
    radius = ((model.neutral - center).norm(dim=1)[near] * share).sum(-1)
    height = (center + direction * radius[..., None])[..., 1]
    corner = torch.arange(AROUND - 1, device=device)[:, None] * ALONG
    corner = (corner + torch.arange(ALONG - 1, device=device)).flatten()
    a, b, c, d = corner, corner + 1, corner + ALONG + 1, corner + ALONG
    triangles = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    return Skull(near, share, direction, height, triangles)


def hairline(person: Person, azimuth: Tensor) -> Tensor:
    """Return the height of the person's hairline at `azimuth`, in centimetres on the neutral."""
    a = azimuth.abs()
    knots = torch.tensor(HAIRLINE, device=a.device)
    place = torch.searchsorted(knots[:, 0].contiguous(), a.contiguous()).clamp(1, len(knots) - 1)
    low, high = knots[place - 1], knots[place]
    share = ((a - low[..., 0]) / (high[..., 0] - low[..., 0])).clamp(0, 1)
    line = low[..., 1] + (high[..., 1] - low[..., 1]) * share
    front = smooth(1.0, 0.5, a)
    temple = torch.exp(-(((a - 0.62) / 0.22) ** 2))
    line = line - person.fringe * front
    if person.fringe < 0:  # temples recede first
        line = line - 0.7 * person.fringe * temple
    return line


@dataclass(frozen=True, slots=True)
class Hair:
    """One person's shell, before it lies on a skull."""

    polar: Tensor
    """AROUND x ALONG: place on the skull's grid, in steps of its second axis."""
    lift: Tensor
    """AROUND x ALONG: distance from the skull, in centimetres."""
    fall: Tensor
    """AROUND x ALONG: centimetres that the strand has fallen below the skull."""
    flare: Tensor
    """AROUND x ALONG: how much falling strands stand away, in centimetres."""
    azimuth: Tensor
    along: Tensor
    thin: Tensor
    """AROUND x ALONG: 1 where hair is dense, falling to 0 at its edges."""


def hair_of(person: Person, skull: Skull) -> Hair | None:
    """Cut the hair of one person; None for a bald head."""
    if person.style == "bald":
        return None
    device = skull.height.device
    azimuth = torch.linspace(-math.pi, math.pi, AROUND, device=device)[:, None].expand(-1, ALONG)
    along = torch.linspace(0, 1, ALONG, device=device)[None].expand(AROUND, -1)
    line = hairline(person, azimuth[:, 0])
    falls = torch.zeros_like(line)
    if person.style in LONG:
        side = smooth(0.78, 1.02, azimuth[:, 0].abs())
        falls = side
        line = line + (5.2 - line).clamp(min=0) * side + (5.2 - line).clamp(max=0) * side
    # The grid's place at which the skull is as low as the line.
    under = (skull.height > line[:, None]).float().sum(1).clamp(1, POLAR - 1)
    first = (under - 1).long()
    top = skull.height.gather(1, first[:, None])[:, 0]
    low = skull.height.gather(1, (first + 1).clamp(max=POLAR - 1)[:, None])[:, 0]
    end = first + ((top - line) / (top - low).clamp(min=1e-3)).clamp(0, 1)
    on_skull = 1 - 0.55 * falls
    share = (along / on_skull[:, None]).clamp(max=1)
    polar = share * end[:, None]
    drop = ((along - on_skull[:, None]) / (1 - on_skull[:, None]).clamp(min=1e-3)).clamp(min=0)
    length = 5.2 - LONG.get(person.style, 5.2)
    fall = drop * length * falls[:, None]
    lift, thin = _volume(person, azimuth, along, share, drop, falls[:, None])
    bend = -0.9 if person.style == "bob" else 0.5
    flare = falls[:, None] * (1.1 * (drop * (1 - drop) * 4).sqrt() * 0.6 + bend * drop**2)
    wave = (
        person.curl * 0.8 * torch.sin(fall * 1.3 + 5 * noise(azimuth[..., None], 0.5, person.seed))
    )
    return Hair(polar, lift, fall, flare + wave * drop, azimuth, along, thin)


def _volume(
    person: Person, azimuth: Tensor, along: Tensor, share: Tensor, drop: Tensor, falls: Tensor
) -> tuple[Tensor, Tensor]:
    a = azimuth.abs()
    volume = {"cropped": 0.35, "tied": 0.4}.get(person.style, 1.0) * person.volume
    edge = smooth(0.0, 0.45, 1 - share) * (1 - falls) + falls
    high = 0.45 + 0.55 * torch.cos(share * 1.4) ** 2
    lift = volume * (0.06 + 0.94 * edge) * high
    if person.style == "swept":
        lift = lift + volume * 0.9 * smooth(0.9, 0.3, a) * smooth(0.35, 0.8, share) * edge**0.5
    if person.style in LONG:
        lift = lift + 0.9 * torch.exp(-(((a - 1.6) / 0.5) ** 2)) * smooth(0.4, 1.0, share)
    turn = torch.stack([torch.sin(azimuth) * share, torch.cos(azimuth) * share], -1)
    groove = torch.exp(-(((turn[..., 0] - 0.3 * person.parting) / 0.06) ** 2))
    parted = person.style in ("swept", "bob", "long", "short")
    lift = lift - 0.45 * volume * groove * smooth(0.0, 0.2, turn[..., 1]) * edge * float(parted)
    lumps = fractal(torch.cat([turn * 2.2, drop[..., None]], -1), 0.5, person.seed + 20)
    lift = lift * (1 + (0.18 + 0.4 * person.curl) * lumps)
    lift = lift + 0.08 + 0.12 * noise(azimuth[..., None], 0.05, person.seed + 21) * volume * edge
    rest = torch.where(falls > 0.02, 1 - along, 1 - share)
    ragged = noise(torch.stack([azimuth * 12, along * 0], -1), 0.35, person.seed + 22)
    wide = 0.13 - 0.05 * falls
    thin = smooth(0.0, 1.0, (rest - 0.03 * (1 + ragged)) / wide)
    return lift.clamp(min=0.02), thin


def laid(hair: Hair, skull: Skull, model: HeadModel, positions: Tensor) -> Tensor:
    """Return B x (AROUND * ALONG) x 3: the shell on the heads `positions` (B x V x 3)."""
    middle = torch.tensor(CENTER, device=positions.device)
    far = (positions - middle).norm(dim=2)
    radius = (far[:, skull.near] * skull.share).sum(-1)
    low = hair.polar.long().clamp(0, POLAR - 2)
    part = hair.polar - low
    rows = torch.arange(AROUND, device=positions.device)[:, None]
    way = skull.direction[rows, low] * (1 - part[..., None])
    way = way + skull.direction[rows, low + 1] * part[..., None]
    way = torch.nn.functional.normalize(way, dim=-1)
    size = radius[:, rows, low] * (1 - part) + radius[:, rows, low + 1] * part
    shell: Tensor = middle + way * (size + hair.lift)[..., None]
    outward = torch.stack(
        [hair.azimuth.sin(), torch.zeros_like(hair.azimuth), hair.azimuth.cos()], -1
    )
    shell = shell + outward * hair.flare[..., None]
    shell[..., 1] -= hair.fall
    return shell.flatten(1, 2)
