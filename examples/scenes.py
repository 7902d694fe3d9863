"""Rendered landscapes: pictures that belong to nobody else, for the documentation and for tests.

A height field from filtered noise is ray-marched with sun, shadow, haze, water and clouds. Not a
photo, but with a photo's edges, textures and tones, and the same on every machine.

    python examples/scenes.py out/ --size 512
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Scene:
    """What tells one landscape from another; lengths in map cells, angles in degrees."""

    name: str
    seed: int
    relief: float
    """Height of the highest summit above the lowest valley."""
    water: float
    """Level of the lakes as a share of the relief; 0 for none."""
    snow: float
    """Share of the relief above which snow lies; 1 for none."""
    sun_height: float = 35.0
    sun_side: float = 60.0
    """Angle of the sun from the line of sight, to the right."""
    eye: float = 0.25
    """Height of the camera above the ground, as a share of the relief."""
    tilt: float = -6.0
    clouds: float = 0.5
    trees: float = 0.5
    """How much of the gentle slopes is wood rather than meadow."""
    ground: tuple[float, float, float] = (0.36, 0.45, 0.17)
    rock: tuple[float, float, float] = (0.43, 0.38, 0.34)


SCENES = (
    Scene("lake", 7, 150, 0.30, 0.80, sun_side=75, eye=0.14, clouds=0.55, trees=0.6),
    Scene("alps", 21, 230, 0.0, 0.52, sun_height=30, sun_side=-70, eye=0.35, trees=0.7),
    Scene("coast", 35, 110, 0.42, 1.0, sun_height=28, sun_side=50, eye=0.16, clouds=0.7, trees=0.3),
    Scene("desert", 48, 120, 0.0, 1.0, sun_side=80, eye=0.2, clouds=0.15, trees=0.0,
          ground=(0.76, 0.56, 0.33), rock=(0.70, 0.38, 0.22)),
    Scene("hills", 64, 70, 0.16, 1.0, sun_height=45, sun_side=-50, eye=0.35, trees=0.45),
    Scene("fjord", 77, 260, 0.34, 0.72, sun_height=25, sun_side=65, eye=0.1, clouds=0.4),
)  # fmt: skip

CELLS = 1024


def noise(seed: int, power: float, size: int = CELLS) -> Array:
    """Return periodic noise with a 1/f**power spectrum, scaled to [0, 1]."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(random.standard_normal((size, size))) * frequency**-power
    values = np.fft.ifft2(spectrum).real
    low, high = np.percentile(values, (0.05, 99.95))
    return np.clip((values - low) / (high - low), 0, 1)


def looked_up(grid: Array, x: Array, y: Array) -> Array:
    """Return `grid` at the real positions x, y (bilinear, periodic)."""
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = x - left, y - top
    size = grid.shape[0]
    a, b = top % size, (top + 1) % size
    c, d = left % size, (left + 1) % size
    return (
        grid[a, c] * (1 - u) * (1 - v)
        + grid[a, d] * u * (1 - v)
        + grid[b, c] * (1 - u) * v
        + grid[b, d] * u * v
    )


def height_field(scene: Scene) -> Array:
    """Return the ground's height: smooth valleys, sharp ridges, fine roughness."""
    broad = noise(scene.seed, 2.1)
    ridges = 1 - np.abs(2 * noise(scene.seed + 1, 1.9) - 1)
    fine = noise(scene.seed + 2, 1.35)
    mixed = 0.62 * broad**1.4 + 0.33 * ridges**2 * broad + 0.05 * fine * broad
    return mixed / mixed.max() * scene.relief


def rendered(scene: Scene, size: int) -> Array:
    """Return the scene as uint8 sRGB, size x size x 3."""
    ground = height_field(scene)
    level = scene.water * scene.relief
    canopy = noise(scene.seed + 3, 1.15)
    slope_y, slope_x = np.gradient(ground)
    steep = np.hypot(slope_x, slope_y)
    wood = (canopy > 1.02 - 0.55 * scene.trees) & (steep < 0.75) & (ground > level + 2)
    wood &= ground < scene.relief * min(scene.snow, 0.7)
    bumps = noise(scene.seed + 4, 0.35)
    surface = ground + wood * (1.2 + 2.6 * bumps)
    sun = direction(scene.sun_side, scene.sun_height)
    shade = shadows(surface, sun)
    eye, rays = camera(scene, surface, size, level)
    distance, hit = march(surface, level, eye, rays, scene.relief)
    color = sky(scene, rays, sun)
    points = eye + rays * distance[..., None]
    lit = ground_color(scene, points, surface, shade, wood, bumps, sun, level)
    water = hit & (looked_up(surface, points[..., 0], points[..., 1]) < level)
    if water.any():
        lit[water] = water_color(
            scene, points[water], rays[water], surface, shade, wood, bumps, sun, level
        )
    haze = (1 - np.exp(-((distance / 900) ** 1.6)))[..., None]
    horizon = sky(scene, np.stack([rays[..., 0], rays[..., 1], 0 * rays[..., 2] + 0.06], -1), sun)
    color = np.where(hit[..., None], lit * (1 - haze) + horizon * haze, color)
    return tone_mapped(color)


def direction(side: float, height: float) -> Array:
    """Return the unit vector that looks `side` degrees to the right and `height` degrees up."""
    a, b = np.radians(side), np.radians(height)
    return np.array([np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b)])


def shadows(surface: Array, sun: Array) -> Array:
    """Return 1 where the sun shines and 0 in cast shadow, with soft edges."""
    y, x = np.mgrid[0:CELLS, 0:CELLS].astype(float)
    clear = np.full(surface.shape, 10.0)
    for step in np.geomspace(1.5, 220, 36):
        over = looked_up(surface, x + sun[0] * step, y + sun[1] * step)
        clear = np.minimum(clear, (surface + sun[2] * step - over) / step * 14)
    return np.clip(clear + 0.35, 0, 1)


def camera(scene: Scene, surface: Array, size: int, level: float) -> tuple[Array, Array]:
    """Return the eye's position and one unit ray a pixel (x right, y ahead, z up)."""
    x, y = spot(surface, level)
    foot = max(float(looked_up(surface, np.array(x), np.array(y))), level)
    eye = np.array([x, y, foot + scene.eye * scene.relief + 4])
    v, u = (np.mgrid[0:size, 0:size] + 0.5) / size - 0.5
    tilt = np.radians(scene.tilt)
    ahead, up = (
        np.array([0, np.cos(tilt), np.sin(tilt)]),
        np.array([0, -np.sin(tilt), np.cos(tilt)]),
    )
    rays = ahead + 1.05 * u[..., None] * np.array([1.0, 0, 0]) - 1.05 * v[..., None] * up
    return eye, rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def spot(surface: Array, level: float) -> tuple[float, float]:
    """Return where to stand: water (or a valley) close ahead, summits behind it."""
    best, where = -np.inf, (512.0, 200.0)
    for y in range(0, CELLS, 32):
        for x in range(0, CELLS, 32):
            ahead = surface[
                np.ix_((y + np.arange(10, 330, 8)) % CELLS, (x + np.arange(-60, 61, 12)) % CELLS)
            ]
            near, far = ahead[:14], ahead[18:]
            foot = max(surface[y, x], level)
            score = (
                1.6 * min((near <= level).mean(), 0.3)
                - 1.2 * max(0, (near <= level).mean() - 0.45)
                + (far.max(0).mean() - foot) / 120
                - max(0, near.max() - foot) / 40
            )
            if surface[y, x] > level and score > best:
                best, where = score, (float(x), float(y))
    return where


def march(surface: Array, level: float, eye: Array, rays: Array, top: float) -> tuple[Array, Array]:
    """Return how far each ray goes before it meets ground or water, and whether it does."""
    distance = np.full(rays.shape[:2], 2.0)
    hit = np.zeros(rays.shape[:2], bool)
    alive = np.ones(rays.shape[:2], bool)
    while alive.any():
        t = distance[alive]
        point = eye + rays[alive] * t[:, None]
        above = point[:, 2] - np.maximum(looked_up(surface, point[:, 0], point[:, 1]), level)
        met = above <= 0.002 * t
        index = np.argwhere(alive)
        hit[tuple(index[met].T)] = True
        distance[tuple(index[~met].T)] += np.maximum(0.32 * above[~met], 0.003 * t[~met])
        gone = (distance > 900) | (
            (rays[..., 2] > 0) & (eye[2] + rays[..., 2] * distance > top + 8)
        )
        alive &= ~(hit | gone)
    return distance, hit


def ground_color(
    scene: Scene,
    p: Array,
    surface: Array,
    shade: Array,
    wood: Array,
    bumps: Array,
    sun: Array,
    level: float,
) -> Array:
    """Return the linear light that the ground at the points p sends back."""
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    e = 0.7
    dx = looked_up(surface, x + e, y) - looked_up(surface, x - e, y)
    dy = looked_up(surface, x, y + e) - looked_up(surface, x, y - e)
    normal = np.stack([-dx, -dy, np.full_like(dx, 2 * e)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    grain = looked_up(bumps, x * 3.1, y * 3.1) * 0.6 + looked_up(bumps, x * 0.7, y * 0.7) * 0.4
    steep = np.clip((0.86 - normal[..., 2]) * 7, 0, 1)[..., None]
    base = np.array(scene.ground) * (0.6 + 0.8 * grain[..., None])
    base = base * (1 - steep) + np.array(scene.rock) * (0.55 + 0.9 * grain[..., None]) * steep
    sand = np.clip(1 - (z - level) / 1.2, 0, 1)[..., None] * (1.0 if level else 0.0)
    base = base * (1 - sand) + np.array([0.72, 0.63, 0.45]) * sand
    trees = looked_up(wood.astype(float), x, y)[..., None]
    leaves = np.array([0.09, 0.17, 0.06]) * (0.5 + 1.3 * grain[..., None])
    base = base * (1 - trees) + leaves * trees
    line = scene.snow * scene.relief
    white = np.clip((z + 14 * (grain - 0.5) - line) / 9, 0, 1) * np.clip(
        normal[..., 2] * 3 - 1.2, 0, 1
    )
    base = base * (1 - white[..., None]) + np.array([0.92, 0.94, 0.98]) * white[..., None]
    direct = np.clip(normal @ sun, 0, 1) * looked_up(shade, x, y)
    ambient = 0.32 + 0.22 * normal[..., 2]
    light = direct[..., None] * np.array([1.55, 1.35, 1.08]) + ambient[..., None] * np.array(
        [0.62, 0.75, 0.98]
    )
    return base * light


def water_color(
    scene: Scene,
    p: Array,
    rays: Array,
    surface: Array,
    shade: Array,
    wood: Array,
    bumps: Array,
    sun: Array,
    level: float,
) -> Array:
    """Return what a rippled water surface mirrors, mixed with its own depth."""
    ripple = looked_up(bumps, p[:, 0] * 1.7, p[:, 1] * 0.6) - 0.5
    mirrored = rays * np.array([1, 1, -1]) + ripple[:, None] * np.array([0.03, 0.03, 0.05])
    mirrored /= np.linalg.norm(mirrored, axis=-1, keepdims=True)
    mirrored[:, 2] = np.maximum(mirrored[:, 2], 0.01)
    t = np.full(len(p), 1.0)
    met = np.zeros(len(p), bool)
    for _ in range(160):
        q = p + mirrored * t[:, None]
        above = q[:, 2] - looked_up(surface, q[:, 0], q[:, 1])
        met |= above < 0
        t = np.where(met, t, t + np.maximum(0.4 * above, 0.8))
    q = p + mirrored * t[:, None]
    back = ground_color(scene, q, surface, shade, wood, bumps, sun, level)
    seen = np.where(met[:, None], back, sky(scene, mirrored, sun))
    fresnel = (0.08 + 0.92 * (1 - np.abs(rays[:, 2])) ** 4)[:, None]
    return np.array([0.03, 0.11, 0.14]) * (1 - fresnel) + seen * 0.9 * fresnel


def sky(scene: Scene, rays: Array, sun: Array) -> Array:
    """Return the light of the sky in the directions `rays`."""
    up = np.clip(rays[..., 2], 0.015, 1)
    blue = np.array([0.19, 0.38, 0.80]) * (0.75 + 0.35 * up[..., None])
    pale = np.array([0.80, 0.87, 0.95])
    color = pale + (blue - pale) * (1 - np.exp(-4.2 * up))[..., None]
    glow = np.clip(rays @ sun, 0, 1)[..., None]
    color = color + np.array([1.0, 0.85, 0.6]) * (0.28 * glow**24 + 4 * glow**1800)
    x, y = rays[..., 0] / (up + 0.08) * 130, rays[..., 1] / (up + 0.08) * 130
    layer = looked_up(CLOUDS, x + 90 * scene.seed, y)
    cover = np.clip((layer - 0.78 + 0.42 * scene.clouds) * 4.2, 0, 1) * np.clip(up * 9, 0, 1)
    gray = 0.98 - 0.30 * np.clip((layer - 0.62) * 3, 0, 1)
    return (
        color * (1 - 0.9 * cover[..., None])
        + gray[..., None] * np.array([1, 0.99, 0.97]) * 0.9 * cover[..., None]
    )


CLOUDS = noise(5, 1.55)


def tone_mapped(linear: Array) -> Array:
    """Return linear light as uint8 sRGB with soft highlights."""
    exposed = np.clip(linear * 0.95, 0, None)
    soft = exposed * (1 + exposed / 3.2) / (1 + exposed)
    gray = soft.mean(-1, keepdims=True)
    rich = np.clip(gray + 1.35 * (soft - gray), 0, 1) ** (1 / 2.2)
    curve = rich + 0.16 * np.sin(2 * np.pi * (rich - 0.5)) / 1.3 * 0.8
    return (np.clip(curve * 1.06 - 0.03, 0, 1) * 255 + 0.5).astype(np.uint8)


def scene_photo(name: str, size: int = 256) -> Array:
    """Return the scene called `name` as uint8 sRGB, rendered at twice the size and averaged."""
    scene = next(scene for scene in SCENES if scene.name == name)
    large = Image.fromarray(rendered(scene, 2 * size))
    return np.asarray(large.resize((size, size), Image.Resampling.BOX))


def main() -> None:
    """Write every scene to a folder as PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for scene in SCENES:
        photo = scene_photo(scene.name, arguments.size)
        Image.fromarray(photo).save(arguments.out / f"{scene.name}.png")


if __name__ == "__main__":
    main()
