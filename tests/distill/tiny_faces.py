"""A folder of made-up faces: coloured ovals with eyes and a mouth, two to four photos a person."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np

from edgekit.distill.faces.make import write_faces
from edgekit.distill.faces.store import FaceEntry, encoded, rounded


def tiny_faces(place: Path, *, people: int = 6, photos: int = 3, size: int = 64) -> Path:
    """Write a set of `people` (the last two are the test split) with `photos` each."""
    work = [_face(who, photo, people, size) for who in range(people) for photo in range(photos)]
    facts = {"people": people, "photos": photos, "size": size}
    return write_faces(lambda i: work[i], len(work), facts, place, size_px=size).folder


def _face(person: int, photo: int, people: int, size: int) -> tuple[FaceEntry, bytes]:
    looks, shot = np.random.default_rng([person]), np.random.default_rng([person, photo])
    skin, back, eyes = (looks.integers(60, 220, 3) for _ in range(3))
    wide, apart = looks.uniform(0.26, 0.36), looks.uniform(0.12, 0.18)
    x0, y0 = 0.5 + shot.uniform(-0.03, 0.03), 0.5 + shot.uniform(-0.03, 0.03)
    y, x = np.mgrid[0:size, 0:size] / size
    picture = np.tile(back, (size, size, 1)).astype(np.float64)
    picture[((x - x0) / wide) ** 2 + ((y - y0) / 0.42) ** 2 < 1] = skin
    points = []
    for side in (-1, 1):
        points.append((x0 + side * apart, y0 - 0.1))
        picture[(x - points[-1][0]) ** 2 + (y - points[-1][1]) ** 2 < 0.003] = eyes
    points += [(x0, y0 + 0.05), (x0 - apart, y0 + 0.2), (x0 + apart, y0 + 0.2)]
    picture[(np.abs(x - x0) < apart) & (np.abs(y - y0 - 0.2) < 0.02)] = eyes // 2
    picture += shot.normal(0, 2, picture.shape) + shot.uniform(-8, 8)
    jpeg = encoded(np.clip(picture, 0, 255).astype(np.uint8))
    five = np.array(points, np.float32) * size
    ring = np.linspace(0, 2 * np.pi, 63, endpoint=False)
    outline = np.stack([x0 + wide * np.cos(ring), y0 + 0.42 * np.sin(ring)], 1) * size
    entry = FaceEntry(
        key="",
        shard="",
        identity=f"person {person}",
        split="test" if person >= people - 2 else "train",
        source=f"{person}/{photo}.jpg",
        licence="CC0",
        points=rounded(five),
        landmarks=rounded(np.concatenate([five, outline]).astype(np.float32)),
        pose=(0.0, 0.0, 0.0),
        native_px=size,
        gray=False,
        jpeg_sha256=sha256(jpeg).hexdigest(),
    )
    return entry, jpeg
