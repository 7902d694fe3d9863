"""The bodies of toys, and what is put on them: closed surfaces of triangles.

Units: a body reaches about 0.55 from the origin, x right, y up, z towards the viewer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgekit.distill.teachers.views.patterns import Array, Dice, _about

Triangles: TypeAlias = NDArray[np.int64]
RADIUS = 0.88
"""Each toy reaches this far from the origin, and nowhere further."""
AROUND, ALONG = 72, 48
"""Steps of a body's surface around its axis and along it; a step is below a pixel of 64."""
SMALL = (24, 16)
"""The same for what is put on a body."""


@dataclass(frozen=True, slots=True)
class ColoredMesh:
    """Triangles with colors, counterclockwise seen from outside."""

    vertices: Array
    """V x 3."""
    triangles: Triangles
    """T x 3."""
    colors: Array
    """T x 3 or V x 3, sRGB from 0 to 1."""
    eyes: slice | None = None
    """Which triangles only the front has."""


@dataclass(frozen=True, slots=True)
class Surface:
    """A mesh that has no color yet."""

    vertices: Array
    triangles: Triangles

    @property
    def centers(self) -> Array:
        """T x 3, the middle of each triangle."""
        return np.asarray(self.vertices[self.triangles].mean(1), np.float32)

    def moved(self, by: Sequence[float] = (0, 0, 0), *, turn: Array | None = None) -> Surface:
        """The surface turned, then moved."""
        turned = self.vertices if turn is None else self.vertices @ turn.T
        return Surface((turned + np.asarray(by, np.float32)).astype(np.float32), self.triangles)


def joined(parts: Sequence[Surface]) -> Surface:
    """One surface that holds all `parts`."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    return Surface(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.triangles + s for part, s in zip(parts, starts, strict=False)]),
    )


def _grid(rows: int, columns: int, *, wrap_rows: bool = False) -> Triangles:
    """Triangles of a sheet whose columns wrap around; row r, column c is vertex r * columns + c."""
    last = rows if wrap_rows else rows - 1
    row, column = np.meshgrid(np.arange(last), np.arange(columns), indexing="ij")
    following = (row + 1) % rows
    beside = (column + 1) % columns
    a, b = row * columns + column, row * columns + beside
    c, d = following * columns + column, following * columns + beside
    return np.stack([np.stack([a, b, d], -1), np.stack([a, d, c], -1)], 2).reshape(-1, 3)


def turned(
    profile: Sequence[tuple[float, float]], *, steps: tuple[int, int] = (AROUND, ALONG)
) -> Surface:
    """A surface of revolution about y; `profile` are (radius, y) from the bottom to the top."""
    around, along = steps
    line = _evenly(np.asarray(profile, np.float64), along)
    angle = np.arange(around) * (2 * np.pi / around)
    radius, height = line[:, :1], line[:, 1:]
    x, z = radius * np.sin(angle), radius * np.cos(angle)
    points = np.stack([x, np.broadcast_to(height, x.shape), z], -1).reshape(-1, 3)
    return Surface(points.astype(np.float32), _grid(len(line), around))


def _evenly(line: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The corners of a broken line and about `count` points between them, evenly."""
    lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    parts = np.maximum(1, np.round(lengths / lengths.sum() * count)).astype(int)
    pieces = [
        np.linspace(start, end, part, endpoint=False)
        for start, end, part in zip(line[:-1], line[1:], parts, strict=True)
    ]
    return np.concatenate([*pieces, line[-1:]])


def _arc(
    rx: float, ry: float, *, low: float = -90, steps: int = ALONG
) -> list[tuple[float, float]]:
    """Points (radius, y) of an ellipse about the origin from a latitude in degrees to its top."""
    angles = np.radians(np.linspace(low, 90, steps + 1))
    return [(max(0.0, float(rx * np.cos(a))), float(ry * np.sin(a))) for a in angles]


def ellipsoid(
    rx: float, ry: float, rz: float, *, steps: tuple[int, int] = (AROUND, ALONG)
) -> Surface:
    """An ellipsoid about the origin."""
    ball = turned(_arc(1, 1, steps=steps[1]), steps=steps)
    return Surface(ball.vertices * np.asarray([rx, ry, rz], np.float32), ball.triangles)


def torus(radius: float, tube: float) -> Surface:
    """A ring about y, with `radius` to the middle of its tube."""
    around, across = 96, 24
    angle = np.arange(around)[None] * (2 * np.pi / around)
    turn = -np.arange(across)[:, None] * (2 * np.pi / across)
    reach = radius + tube * np.cos(turn)
    x, z = reach * np.sin(angle), reach * np.cos(angle)
    points = np.stack([x, np.broadcast_to(-tube * np.sin(turn), x.shape), z], -1).reshape(-1, 3)
    return Surface(points.astype(np.float32), _grid(across, around, wrap_rows=True))


def puffed(outline: NDArray[np.float64], depth: float) -> Surface:
    """A cushion whose `outline` (N x 2, counterclockwise, seen whole from the origin) is given."""
    angles = np.linspace(-90, 90, ALONG)
    share = np.sign(np.cos(np.radians(angles))) * np.abs(np.cos(np.radians(angles))) ** 0.45
    height = depth * np.sign(np.sin(np.radians(angles))) * np.abs(np.sin(np.radians(angles))) ** 0.8
    x = share[:, None] * outline[None, :, 0]
    y = share[:, None] * outline[None, :, 1]
    points = np.stack([x, y, np.broadcast_to(height[:, None], x.shape)], -1)
    return Surface(points.reshape(-1, 3).astype(np.float32), _grid(ALONG, len(outline)))


def rotation(axis: int, degrees: float) -> Array:
    """Turn about an axis (0 x, 1 y, 2 z), counterclockwise seen from its positive end."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[first, first], matrix[first, second] = cos, -sin
    matrix[second, first], matrix[second, second] = sin, cos
    return matrix.astype(np.float32)


def _ball(dice: Dice) -> Surface:
    radius = _about(dice, 0.50, 0.56)
    return ellipsoid(radius, radius * _about(dice, 0.95, 1.05), radius)


def _cube(dice: Dice) -> Surface:
    """A cube with rounded edges: the directions of a grid on each face, pushed out."""
    half, steps = _about(dice, 0.41, 0.45), 28
    ticks = np.linspace(-1, 1, steps + 1)
    u, v = np.meshgrid(ticks, ticks, indexing="ij")
    sheets = []
    row, column = np.meshgrid(np.arange(steps), np.arange(steps), indexing="ij")
    a = row * (steps + 1) + column
    b, c, d = a + steps + 1, a + steps + 2, a + 1
    flat = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    for axis in range(3):
        for side in (-1, 1):
            points = np.empty((*u.shape, 3))
            points[..., axis] = side
            points[..., (axis + 1) % 3], points[..., (axis + 2) % 3] = u, v
            core = np.clip(points, -0.86, 0.86)
            rim = points - core
            length = np.linalg.norm(rim, axis=-1, keepdims=True)
            rounded = core + rim / np.maximum(length, 1e-9) * 0.14
            faces = flat if side > 0 else flat[:, ::-1]
            sheets.append(Surface((rounded * half).reshape(-1, 3).astype(np.float32), faces))
    return joined(sheets)


def _cone(dice: Dice) -> Surface:
    radius, height = _about(dice, 0.45, 0.50), _about(dice, 0.54, 0.60)
    low = -0.5
    return turned([(0, low), (radius, low), (radius, low + 0.03), (0.03, height), (0, height)])


def _star(dice: Dice) -> Surface:
    reach, inner = _about(dice, 0.60, 0.66), _about(dice, 0.46, 0.52)
    angle = np.arange(160) * (2 * np.pi / 160) + np.pi / 2
    tooth = np.abs(((angle - np.pi / 2) / (2 * np.pi / 5) + 0.5) % 1 - 0.5) * 2
    # Straight sides: interpolate corners along the line between them, not along the angle.
    tip, notch = np.array([1.0, 0.0]), inner * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    way = tooth * np.pi / 5
    normal = np.array([notch[1] - tip[1], tip[0] - notch[0]])
    radius = reach * (normal @ tip) / (normal[0] * np.cos(way) + normal[1] * np.sin(way))
    outline = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return puffed(outline, _about(dice, 0.19, 0.23))


def _heart(dice: Dice) -> Surface:
    turn = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    x = 16 * np.sin(turn) ** 3
    y = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    scale = _about(dice, 0.033, 0.036)
    outline = np.stack([x, y + 2.5], 1)[::-1] * scale
    return puffed(outline, _about(dice, 0.21, 0.25))


def _donut(dice: Dice) -> Surface:
    ring = torus(_about(dice, 0.37, 0.40), _about(dice, 0.17, 0.19))
    return ring.moved(turn=rotation(0, 90))


def _mushroom(dice: Dice) -> Surface:
    stem, cap = _about(dice, 0.19, 0.23), _about(dice, 0.52, 0.58)
    profile = [(0, -0.55), (stem * 1.15, -0.55), (stem, -0.2), (stem, 0.0), (cap * 0.9, -0.06)]
    return turned([*profile, *_arc(cap, 0.52, low=0, steps=24)])


def _fish(dice: Dice) -> Surface:
    """Its head in front, a tail behind, a fin on its back."""
    body = ellipsoid(_about(dice, 0.27, 0.31), _about(dice, 0.36, 0.40), 0.52).moved((0, 0, 0.06))
    lobe = ellipsoid(0.05, 0.13, 0.24)
    upper = lobe.moved((0, 0.2, -0.62), turn=rotation(0, 40))
    lower = lobe.moved((0, -0.2, -0.62), turn=rotation(0, -40))
    root = ellipsoid(0.07, 0.11, 0.2).moved((0, 0, -0.46))
    return joined([body, root, upper, lower])


BODIES: dict[str, Callable[[Dice], Surface]] = {
    "ball": _ball,
    "cube": _cube,
    "cone": _cone,
    "star": _star,
    "heart": _heart,
    "donut": _donut,
    "mushroom": _mushroom,
    "fish": _fish,
}
_EYES = {"cone": -0.12, "donut": 0.38, "mushroom": 0.2, "star": 0.05, "fish": 0.1}
"""How high the eyes are, where it is not 0.12."""
_SIDES = {"cone": -0.2, "mushroom": 0.1}
"""How high the wings are, where it is not 0.05."""


def surface_at(body: Surface, axis: int, side: int, at: tuple[float, float]) -> float | None:
    """Where a line along `axis` meets `body` last on that `side`; None where it passes by.

    `at` are its coordinates on the following two axes, cyclically.
    """
    first, second = (axis + 1) % 3, (axis + 2) % 3
    corners = body.vertices[body.triangles].astype(np.float64)
    flat = corners[..., [first, second]] - np.asarray(at)
    crosses = [
        flat[:, i, 0] * flat[:, j, 1] - flat[:, i, 1] * flat[:, j, 0]
        for i, j in ((1, 2), (2, 0), (0, 1))
    ]
    weights = np.stack(crosses, 1)
    area = weights.sum(1)
    inside = ((weights >= 0).all(1) | (weights <= 0).all(1)) & (np.abs(area) > 1e-12)
    if not inside.any():
        return None
    heights = (weights * corners[..., axis])[inside].sum(1) / area[inside]
    return float(heights.max() if side > 0 else heights.min())


def _hat(body: Surface, dice: Dice) -> list[tuple[Surface, tuple[float, float, float]]]:
    wide, tall = _about(dice, 0.19, 0.23), _about(dice, 0.26, 0.32)
    found = [surface_at(body, 1, 1, (0.0, x)) for x in (-0.1, 0.0, 0.1)]
    base = max(y for y in found if y is not None) - 0.04
    brim = wide + 0.13
    black, band = (0.10, 0.09, 0.13), (0.75, 0.12, 0.16)
    return [
        (
            turned([(0, 0), (brim, 0), (brim, 0.045), (0, 0.045)], steps=SMALL).moved((0, base, 0)),
            black,
        ),
        (
            turned([(0, 0), (wide, 0), (wide, tall), (0, tall)], steps=SMALL).moved((0, base, 0)),
            black,
        ),
        (
            turned(
                [(wide, 0.05), (wide + 0.015, 0.05), (wide + 0.015, 0.12), (wide, 0.12)],
                steps=SMALL,
            ).moved((0, base, 0)),
            band,
        ),
    ]


def _wings(
    shape: str, body: Surface, dice: Dice
) -> list[tuple[Surface, tuple[float, float, float]]]:
    height, lift = _SIDES.get(shape, 0.05), _about(dice, 28, 36)
    found = surface_at(body, 0, 1, (height, 0.0))
    edge = (0.2 if found is None else found) - 0.02
    parts = []
    for side in (-1, 1):
        for turn, reach in ((lift, 0.2), (lift - 38, 0.15)):
            feather = ellipsoid(reach, 0.11, 0.04, steps=SMALL).moved((reach * 0.8, 0, 0))
            spread = feather.moved(turn=rotation(2, turn)).vertices * np.asarray(
                [side, 1, 1], np.float32
            )
            faces = feather.triangles if side > 0 else feather.triangles[:, ::-1]
            placed = Surface(spread, faces).moved((side * edge, height, -0.04))
            parts.append((placed, (0.80, 0.90, 1.0)))
    return parts


def _legs(body: Surface, dice: Dice) -> list[tuple[Surface, tuple[float, float, float]]]:
    apart, length = _about(dice, 0.15, 0.19), _about(dice, 0.27, 0.31)
    parts = []
    for side in (-1, 1):
        found = surface_at(body, 1, -1, (0.0, side * apart))
        hip = (-0.4 if found is None else found) + 0.05
        leg = turned([(0, -length), (0.055, -length), (0.055, 0), (0, 0)], steps=SMALL)
        foot = ellipsoid(0.085, 0.06, 0.14, steps=SMALL).moved((0, -length, 0.06))
        parts += [
            (leg.moved((side * apart, hip, 0)), (0.45, 0.27, 0.14)),
            (foot.moved((side * apart, hip, 0)), (0.30, 0.16, 0.08)),
        ]
    return parts


def _ring(dice: Dice) -> list[tuple[Surface, tuple[float, float, float]]]:
    tilt = rotation(2, _about(dice, 10, 16))
    ring = torus(_about(dice, 0.64, 0.67), 0.055)
    return [(ring.moved((0, -0.1, 0), turn=tilt), (0.93, 0.70, 0.15))]


def _eyes(shape: str, body: Surface) -> list[tuple[Surface, tuple[float, float, float]]]:
    height, apart = _EYES.get(shape, 0.12), 0.14
    parts = []
    for side in (-1, 1):
        front = surface_at(body, 2, 1, (side * apart, height))
        if front is None:
            raise AssertionError(f"{shape} has no surface where its eyes belong")
        at = (side * apart, height, front)
        parts += [
            (ellipsoid(0.11, 0.11, 0.07, steps=SMALL).moved(at), (0.98, 0.98, 0.98)),
            (
                ellipsoid(0.055, 0.055, 0.04, steps=SMALL).moved((*at[:2], front + 0.05)),
                (0.05, 0.05, 0.06),
            ),
        ]
    return parts


@dataclass(frozen=True, slots=True)
class Toy:
    """A body with eyes and an accessory; only the body has no color yet."""

    body: Surface
    whole: Surface
    paints: Array
    """Colors of the triangles of `whole` after those of `body`."""
    eyes: slice

    def painted(self, colors: Array) -> ColoredMesh:
        """Return the toy whose body has `colors`, one a triangle, placed around the origin."""
        low, high = self.whole.vertices.min(0), self.whole.vertices.max(0)
        middle = (low + high) / 2 * np.asarray([0, 1, 1], np.float32)
        centered = self.whole.vertices - middle
        scale = np.float32(RADIUS / np.linalg.norm(centered, axis=1).max())
        painted = np.concatenate([colors, self.paints])
        return ColoredMesh(centered * scale, self.whole.triangles, painted, self.eyes)


def toy(shape: str, accessory: str | None, body_dice: Dice, dice: Dice) -> Toy:
    """Make a body and put eyes and an accessory on it; `body_dice` decide on the body alone."""
    body = BODIES[shape](body_dice)
    parts = _eyes(shape, body)
    ends = len(body.triangles) + sum(len(part.triangles) for part, _ in parts)
    if accessory == "hat":
        parts += _hat(body, dice)
    elif accessory == "wings":
        parts += _wings(shape, body, dice)
    elif accessory == "legs":
        parts += _legs(body, dice)
    elif accessory == "ring":
        parts += _ring(dice)
    whole = joined([body, *(part for part, _ in parts)])
    paints = [
        np.broadcast_to(np.asarray(color, np.float32), part.triangles.shape)
        for part, color in parts
    ]
    return Toy(body, whole, np.concatenate(paints), slice(len(body.triangles), ends))
