"""Faces for tests of the identity code: smooth random pictures that a person's photos share."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from edgekit.distill.faces.make import write_faces
from edgekit.distill.faces.sets import Faces
from edgekit.distill.faces.store import FaceEntry, encoded, rounded

FIVE = ((0.31, 0.4), (0.69, 0.4), (0.5, 0.55), (0.38, 0.75), (0.62, 0.75))


def random_faces(people: int = 12, each: int = 10, *, size_px: int = 32, seed: int = 0) -> Faces:
    """Return `each` pictures of each of `people`."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.rand(people, 1, 3, 4, 4, generator=generator)
    changing = torch.rand(people, each, 3, 4, 4, generator=generator) * 0.3
    mixed = (own + changing).clamp(0, 1).flatten(0, 1)
    images = F.interpolate(mixed, size=size_px, mode="bilinear").mul(255).byte()
    count = people * each
    shaken = torch.rand(count, 5, 2, generator=generator) * 0.06
    return Faces(
        images=images,
        identities=torch.arange(people).repeat_interleave(each),
        landmarks=torch.zeros(count, 68, 2),
        points=(torch.tensor(FIVE) + shaken) * size_px,
        poses=torch.rand(count, 3, generator=generator) * 40 - 20,
        people=tuple(f"person-{i}" for i in range(people)),
        keys=tuple(f"{i:06d}" for i in range(count)),
    )


def faces_folder(place: Path, *, people: int = 12, each: int = 6, size_px: int = 32) -> Path:
    """Write the same as a folder of `edgekit pairs faces`; two in six people are val or test."""
    faces = random_faces(people, each, size_px=size_px)

    def face(row: int) -> tuple[FaceEntry, bytes]:
        person = int(faces.identities[row])
        jpeg = encoded(faces.images[row].permute(1, 2, 0).numpy())
        five = faces.points[row].numpy()
        entry = FaceEntry(
            key="",
            shard="",
            identity=f"person-{person:03d}",
            split=("train", "train", "val", "train", "test", "train")[person % 6],
            source=f"{person}/{row}.jpg",
            licence="CC0-1.0",
            points=rounded(five),
            landmarks=rounded(np.resize(five, (68, 2))),
            pose=tuple(round(float(angle), 1) for angle in faces.poses[row]),
            native_px=size_px,
            gray=False,
            jpeg_sha256=sha256(jpeg).hexdigest(),
        )
        return entry, jpeg

    recipe = {"people": people, "each": each, "size_px": size_px}
    return write_faces(face, people * each, recipe, place, size_px=size_px).folder
