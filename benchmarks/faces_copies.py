"""Which likeness tells a copy of a photo from another photo of the same person.

    python benchmarks/faces_copies.py --faces FACES --out FILE.json

`edgekit.distill.faces.copies` drops a photo that is too like another of its person. Measured here:
the likeness of all pairs of different photos of one person, and of copies that are made of single
photos as they turn up on the web: half the pixels, a JPEG of quality 60, a pixel aside.
"""

from __future__ import annotations

import argparse
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from edgekit.core.images import resized
from edgekit.core.store import write_bytes
from edgekit.core.tensors import Photo
from edgekit.distill.faces.copies import ALIKE, likeness, look
from edgekit.distill.faces.store import decoded, open_faces


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faces", type=Path, nargs="+", required=True)
    parser.add_argument("--copied", type=int, default=200, help="photos of which copies are made")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    looks: dict[str, list[np.ndarray]] = defaultdict(list)
    copies: list[float] = []
    refused = {}
    for folder in given.faces:
        faces = open_faces(folder)
        refused[folder.name] = faces.manifest["refused"]
        every = max(1, len(given.faces) * len(faces.entries) // given.copied)
        for i, (entry, jpeg) in enumerate(faces.jpegs(faces.entries)):
            photo = decoded(jpeg)
            looks[f"{folder}/{entry.identity}"].append(look(photo))
            if i % every == 0:
                copies.append(
                    likeness(looks[f"{folder}/{entry.identity}"][-1], look(copy(photo)))[0]
                )
    others = [likeness(a, b)[0] for row in looks.values() for a, b in combinations(row, 2)]
    value = {
        "bar": ALIKE,
        "refused_when_the_set_was_made": refused,
        "different_photos_of_one_person": summary(others),
        "copies": summary(copies),
        "different_above_the_bar": int(np.sum(np.asarray(others) > ALIKE)),
        "copies_below_the_bar": int(np.sum(np.asarray(copies) <= ALIKE)),
    }
    text = json.dumps(value, indent=1)
    write_bytes(given.out, (text + "\n").encode())
    print(text)


def copy(photo: Photo) -> Photo:
    """Return the photo with half the pixels, from a JPEG of quality 60, a pixel aside."""
    side = photo.shape[0]
    buffer = io.BytesIO()
    Image.fromarray(resized(photo, side // 2, side // 2)).save(buffer, "JPEG", quality=60)
    return np.roll(resized(decoded(buffer.getvalue()), side, side), 1, axis=1)


def summary(values: Sequence[float]) -> dict[str, float | int]:
    """Return how many there are, and where they lie."""
    at = np.quantile(values, [0.0, 0.01, 0.5, 0.99, 1.0])
    names = ("least", "percent_1", "median", "percent_99", "most")
    return {"pairs": len(values), **{k: round(float(v), 4) for k, v in zip(names, at, strict=True)}}


if __name__ == "__main__":
    main()
