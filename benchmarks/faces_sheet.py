"""Draw docs/images/heads.jpg: people who do not exist, a row each, in several pictures.

    python benchmarks/faces_sheet.py --head-model ict_facekit.npz --out docs/images/heads.jpg

The tests of face detection cut their photos out of this sheet: the project holds no photo of a
person.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from edgekit.core.images import save_photo
from edgekit.distill.faces.heads.draw import studio_of
from edgekit.distill.faces.heads.make import HeadSettings, pictures_of
from edgekit.distill.faces.heads.model import load_head_model


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--head-model", type=Path, required=True)
    parser.add_argument("--people", type=int, nargs="+", default=[13, 4, 8, 6, 21, 25])
    parser.add_argument("--images", type=int, default=7)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    studio = studio_of(load_head_model(given.head_model), given.size)
    settings = HeadSettings(identities=200, images=given.images, size_px=given.size)
    rows = []
    for number in given.people:
        pictures = pictures_of(studio, settings, number).pictures
        rows.append(np.concatenate([one.permute(1, 2, 0).numpy() for one in pictures], 1))
    save_photo(np.concatenate(rows), given.out, quality=85)


if __name__ == "__main__":
    main()
