"""The skin of a person as a texture: tone, lips, brows, freckles, beard, wrinkles, clothes.

Everything is a function of the place on the neutral head, so features sit where the mesh has them,
whatever shape the person has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from edgekit.distill.faces.heads.hair import CENTER, hairline
from edgekit.distill.faces.heads.model import SKIN, TILES, HeadModel
from edgekit.distill.faces.heads.noise import fractal, noise, smooth
from edgekit.distill.faces.heads.people import Person
from edgekit.distill.faces.points import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE
from edgekit.distill.render.rasterize import interpolate, rasterize


@dataclass(frozen=True, slots=True)
class SkinMap:
    """What the texture's pixels are, the same for every person: H x W each."""

    place: Tensor
    """H x W x 3 place on the neutral head, in centimetres."""
    lips: Tensor
    """Signed distance to the border of the lips, positive inside."""
    lids: Tensor
    """Distance to the rim of the nearer eye."""
    brow_along: Tensor
    """From 0 at the inner to 1 at the outer end of the nearer brow."""
    brow_above: Tensor
    """Centimetres above the line of the nearer brow."""
    front: Tensor
    """1 on the face, 0 on the sides and the back of the head."""


def skin_map(model: HeadModel, height: int = 512) -> SkinMap:
    """Find the place of each texture pixel; pixels between the islands take that of a neighbour."""
    skin = model.kind == SKIN
    flat = model.uv * torch.tensor([2 / TILES, 2.0], device=model.uv.device) - 1
    vertices = torch.cat([flat, torch.zeros_like(flat[:, :1]), torch.ones_like(flat[:, :1])], 1)
    corners, corners_uv = model.triangles[skin], model.triangles_uv[skin]
    raster = rasterize(vertices[None], corners_uv, (height, height * TILES))
    place = interpolate(model.neutral, raster, corners)[0]
    place = place[_nearest_known(raster.covered[0])]
    marks = model.neutral[model.landmarks]
    front = smooth(1.0, 4.0, place[..., 2]) * smooth(-12.0, -10.0, place[..., 1])
    face = (front > 0).nonzero(as_tuple=True)
    xy = place[face][:, :2]
    lips = _signed(xy, _rounded(marks[48:60, :2]))
    rims = [_rounded(marks[eye, :2]) for eye in (RIGHT_EYE, LEFT_EYE)]
    lids = torch.stack([_nearest(xy, rim)[0] for rim in rims]).amin(0)
    along, above = _brows(xy, marks)

    def spread(values: Tensor, elsewhere: float) -> Tensor:
        return torch.full_like(front, elsewhere).index_put(face, values)

    return SkinMap(
        place, spread(lips, -9.0), spread(lids, 9.0), spread(along, 9.0), spread(above, 9.0), front
    )


def _nearest_known(covered: Tensor) -> tuple[Tensor, Tensor]:
    """Return row and column of the nearest covered pixel to each pixel."""
    rows, columns = distance_transform_edt(
        ~covered.cpu().numpy(), return_distances=False, return_indices=True
    )
    return torch.from_numpy(rows).to(covered.device), torch.from_numpy(columns).to(covered.device)


def skin_texture(person: Person, skin: SkinMap) -> Tensor:
    """Paint one person: 4 x H x W, linear red, green, blue and gloss."""
    place, seed = skin.place, person.seed
    x, y, _ = place.unbind(-1)
    ax = x.abs()
    base = linear(torch.tensor(person.skin, device=place.device) / 255)
    dark = float(1 - base.mean())
    color = base.expand_as(place).clone()

    def tinted(amount: Tensor, *factors: float) -> None:
        nonlocal color
        target = color * torch.tensor(factors, device=place.device)
        color = color + (target - color) * amount[..., None].clamp(0, 1)

    # Slow blotches, fine pores; then blood and shade where faces have them.
    color = color * (1 + 0.07 * fractal(place, 3.0, seed))[..., None]
    tinted(0.5 + 0.5 * fractal(place, 1.6, seed + 1), 1.02, 0.96, 0.95)
    color = color * (1 + 0.05 * noise(place, 0.16, seed + 2) * skin.front)[..., None]
    blood = 0.35 + 0.65 * person.blush

    def spot(cx: float, cy: float, wide: float, high: float) -> Tensor:
        return torch.exp(-(((ax - cx) / wide) ** 2) - ((y - cy) / high) ** 2) * skin.front

    tinted(spot(4.6, 0.0, 2.3, 2.0) * 0.5 * blood, 1.04, 0.76, 0.74)
    tinted(spot(0.0, 0.2, 1.5, 1.6) * 0.5 * blood, 1.02, 0.78, 0.76)
    tinted(spot(0.0, -6.6, 1.9, 1.1) * 0.3 * blood, 1.02, 0.82, 0.82)
    tinted(spot(3.1, 2.1, 1.7, 0.6) * (0.25 + 0.4 * person.age), 0.8, 0.72, 0.74)
    tinted(spot(3.2, 4.5, 2.2, 0.6) * 0.35, 0.86, 0.76, 0.74)
    tinted(
        smooth(6.9, 8.4, ax) * smooth(-4.0, -1.0, y) * smooth(7.0, 5.0, y) * 0.3, 1.05, 0.8, 0.78
    )
    _wrinkles(person, place, skin, tinted)
    if person.freckles > 0.05:
        speckle = smooth(0.42, 0.62, noise(place, 0.26, seed + 3)) * (
            spot(0.0, 1.6, 6.0, 2.6) + 0.25 * skin.front
        )
        tinted(speckle * min(1.0, person.freckles), 0.72, 0.56, 0.46)
    for mx, my, radius in person.moles:
        far = ((x - mx) ** 2 + (y - my) ** 2).sqrt()
        tinted(smooth(radius, radius * 0.6, far) * skin.front, 0.34, 0.26, 0.24)
    color, gloss = _lips(person, place, skin, color)
    color = _mixed(color, person.beard_color, _beard(person, place, skin))
    color = _mixed(color, person.hair, _brow_hair(person, skin), darker=0.6)
    if person.style != "bald":
        color = _mixed(color, person.hair, _roots(person, place))
    rim = smooth(0.2, 0.05, skin.lids) * skin.front
    tinted(rim, 0.25 + 0.2 * dark, 0.2, 0.2)
    color, gloss = _cloth(person, place, color, gloss)
    return torch.cat([color.clamp(0.003, 1), gloss[..., None]], -1).permute(2, 0, 1).contiguous()


def _wrinkles(person: Person, place: Tensor, skin: SkinMap, tinted: object) -> None:
    """Lines of the forehead, from nose to mouth, beside the eyes: they come with age."""
    assert callable(tinted)
    x, y, _ = place.unbind(-1)
    ax = x.abs()
    old = max(0.0, person.age - 0.25) * 1.1
    warp = fractal(place, 2.5, person.seed + 5)
    lines = smooth(0.72, 1.0, torch.sin((y + 0.5 * warp) * 6.0))
    forehead = smooth(6.8, 7.6, y) * smooth(10.2, 8.6, y) * smooth(5.0, 3.0, ax)
    tinted(lines * forehead * old * 0.5, 0.68, 0.6, 0.58)
    fold = ((ax - (1.9 + (-0.4 - y) * 0.42)) / 0.22).square()
    reach = smooth(-4.6, -3.4, y) * smooth(0.2, -0.6, y)
    tinted(torch.exp(-fold) * reach * (0.12 + 0.5 * old) * skin.front, 0.66, 0.55, 0.53)
    crow = smooth(0.6, 1.0, torch.sin((y - 3.3) * 7 + (ax - 5) * 2)) * torch.exp(
        -(((ax - 5.6) / 0.7) ** 2) - ((y - 3.2) / 0.9) ** 2
    )
    tinted(crow * old * 0.5 * skin.front, 0.68, 0.6, 0.58)


def _lips(person: Person, place: Tensor, skin: SkinMap, color: Tensor) -> tuple[Tensor, Tensor]:
    inside = smooth(-0.1, 0.14, skin.lips) * skin.front
    red = torch.tensor([0.92, 0.66, 0.66], device=place.device)
    deep = torch.tensor([0.74, 0.3, 0.34], device=place.device)
    tint = red + (deep - red) * person.lips
    creases = 1 + 0.12 * noise(place * torch.tensor([4.0, 0.8, 1.0], device=place.device), 0.5, 77)
    painted = color * tint * (0.92 * creases)[..., None]
    seam = smooth(0.22, 0.0, (place[..., 1] + 3.42).abs()) * smooth(2.4, 2.0, place[..., 0].abs())
    painted = painted * (1 - 0.5 * seam)[..., None]
    gloss = 0.32 + 0.12 * noise(place, 0.3, person.seed + 6) + 0.35 * inside
    return color + (painted - color) * inside[..., None], gloss


def _beard(person: Person, place: Tensor, skin: SkinMap) -> Tensor:
    """Return how densely hair of the beard covers each place."""
    x, y, z = place.unbind(-1)
    ax = x.abs()
    if person.beard == "none":
        return torch.zeros_like(x)
    wobble = 0.35 * fractal(place, 1.2, person.seed + 8)
    cheek = torch.where(ax < 3.2, -2.6 + 0 * ax, -2.6 + (ax - 3.2) * 1.15) + wobble
    low = smooth(0.9, -0.2, y - cheek) * smooth(-10.5, -8.5, y + 0.25 * z + wobble)
    low = low * smooth(-1.0, 2.5, z)
    mustache = smooth(-1.2, -1.7, y + wobble * 0.4) * smooth(-3.7, -3.0, y) * smooth(3.3, 2.4, ax)
    chin = smooth(3.0, 2.2, ax + wobble) * smooth(-3.4, -4.6, y) * smooth(-10.0, -8.5, y)
    area = {
        "stubble": torch.maximum(low, mustache),
        "mustache": mustache,
        "goatee": torch.maximum(chin, mustache),
        "full": torch.maximum(low, mustache),
    }[person.beard]
    off_lips = smooth(0.02, -0.16, skin.lips)
    hairs = noise(
        place * torch.tensor([1.0, 0.45, 1.0], device=place.device), 0.11, person.seed + 9
    )
    strength = 0.34 if person.beard == "stubble" else 0.82
    return area * off_lips * strength * (0.75 + 0.35 * hairs).clamp(0, 1)


def _brow_hair(person: Person, skin: SkinMap) -> Tensor:
    """Return how densely the brows cover each place: thick inside, thin and lower outside."""
    along, above = skin.brow_along, skin.brow_above - person.brow_lift
    half = person.brow_thickness * (1.05 - 0.65 * along.clamp(0, 1))
    inside = smooth(1.05, 0.65, above.abs() / half)
    inside = inside * smooth(-0.12, 0.1, along) * smooth(1.16, 0.95, along)
    strand = torch.stack([along * 34 - above * 5, above * 1.6], -1)
    hairs = fractal(strand, 0.9, person.seed + 10)
    return inside * skin.front * person.brow_strength * (0.82 + 0.3 * hairs).clamp(0, 1)


def _roots(person: Person, place: Tensor) -> Tensor:
    """Return how densely hair grows from each place of the scalp, thin at the hairline."""
    x, y, z = place.unbind(-1)
    azimuth = torch.atan2(x, z - CENTER[2])
    above = y - hairline(person, azimuth) + 0.3 * fractal(place, 0.7, person.seed + 13)
    ear = smooth(7.5, 7.9, x.abs()) * smooth(6.2, 5.6, y)
    return smooth(-0.25, 0.9, above) * (1 - ear) * 0.92


def _cloth(person: Person, place: Tensor, color: Tensor, gloss: Tensor) -> tuple[Tensor, Tensor]:
    x, y, z = place.unbind(-1)
    edge = person.collar + 0.22 * (x.abs() - 4).clamp(min=0) - 0.28 * z.clamp(min=-6)
    worn = smooth(0.15, -0.15, y - edge)
    weave = 1 + 0.08 * noise(place, 0.35, person.seed + 12) + 0.1 * fractal(place, 4.0, 5)
    cloth = linear(torch.tensor(person.cloth, device=place.device) / 255) * weave[..., None]
    return color + (cloth - color) * worn[..., None], gloss * (1 - 0.9 * worn)


def _mixed(
    color: Tensor, paint: tuple[float, float, float], amount: Tensor, darker: float = 1.0
) -> Tensor:
    over = linear(torch.tensor(paint, device=color.device) / 255) * darker
    return color + (over - color) * amount[..., None].clamp(0, 1)


def linear(color: Tensor) -> Tensor:
    """Return linear light of sRGB values from 0 to 1."""
    return torch.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def _rounded(corners: Tensor, steps: int = 6) -> Tensor:
    """Return a closed curve through `corners` (N x 2) as N * steps points (Catmull-Rom)."""
    share = torch.arange(steps, device=corners.device)[:, None] / steps
    a, b, c, d = (corners.roll(shift, 0)[:, None] for shift in (1, 0, -1, -2))
    curve = (
        2 * b
        + (c - a) * share
        + (2 * a - 5 * b + 4 * c - d) * share**2
        + (3 * b - a - 3 * c + d) * share**3
    ) / 2
    return curve.reshape(-1, 2)


def _nearest(points: Tensor, curve: Tensor, *, closed: bool = True) -> tuple[Tensor, Tensor]:
    """Return distance to a curve and the place on it, in corners from its start."""
    starts = curve if closed else curve[:-1]
    ends = curve.roll(-1, 0) if closed else curve[1:]
    best = torch.full((len(points),), torch.inf, device=points.device)
    where = torch.zeros_like(best)
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        way = end - start
        share = ((points - start) @ way / way.square().sum().clamp(min=1e-9)).clamp(0, 1)
        far = (points - start - share[:, None] * way).square().sum(1)
        where = torch.where(far < best, number + share, where)
        best = torch.minimum(best, far)
    return best.sqrt(), where


def _signed(points: Tensor, curve: Tensor) -> Tensor:
    """Return the distance to a closed curve, positive inside."""
    far, _ = _nearest(points, curve)
    inside = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for start, end in zip(curve, curve.roll(-1, 0), strict=True):
        between = (start[1] > points[:, 1]) != (end[1] > points[:, 1])
        rise = end[1] - start[1]
        cut = start[0] + (points[:, 1] - start[1]) / torch.where(rise == 0, 1e-9, rise) * (
            end[0] - start[0]
        )
        inside ^= between & (points[:, 0] < cut)
    return torch.where(inside, far, -far)


def _brows(xy: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the place along and above the nearer brow, for both at once by symmetry."""
    inner_to_outer = [marks[LEFT_BROW, :2], marks[RIGHT_BROW, :2].flip(0)]
    results = []
    for brow in inner_to_outer:
        far, where = _nearest(xy, brow, closed=False)
        first = where.long().clamp(max=len(brow) - 2)
        way = brow[first + 1] - brow[first]
        start = brow[0], brow[1] - brow[0]
        beyond = ((xy - start[0]) @ start[1] / start[1].square().sum()).clamp(max=0)
        side = (way[:, 0] * (xy - brow[first])[:, 1] - way[:, 1] * (xy - brow[first])[:, 0]).sign()
        side = side * way[:, 0].sign()
        last = brow[-1], brow[-1] - brow[-2]
        after = ((xy - last[0]) @ last[1] / last[1].square().sum()).clamp(min=0)
        results.append((far, (where + beyond + after) / (len(brow) - 1), far * side))
    nearer = results[0][0] < results[1][0]
    along = torch.where(nearer, results[0][1], results[1][1])
    return along, torch.where(nearer, results[0][2], results[1][2])
