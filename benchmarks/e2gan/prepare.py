"""Lay out the photos and icons of the experiment in one folder.

    python benchmarks/e2gan/prepare.py --data DATA --out photos

DATA holds the archives landscapes.tar, faces_congress_256.tar and emoji_pairs.tar, each with an
index.csv. Written are train/, val/ and test/ with one folder a set: every photo is in one of them,
faces are divided by person, and nothing in val/ or test/ was seen by the bundled teacher or the
shipped base. Landscapes of disputed licences are looked at in val/ and test/ alone.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps

from edgekit.distill.teachers.corpus import CLEAN_FACES, CLEAN_LANDSCAPES, HELD_OUT_LANDSCAPES

SHORT_SIDE = 288
JUDGED = 50
"""Photos of each set in val/ and in test/."""
TRAINED_FACES = 291


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    landscapes = given.data / "landscapes.tar"
    faces = given.data / "faces_congress_256.tar"
    places = {}
    clean = [r for r in index(landscapes) if r["licence_family"] in CLEAN_LANDSCAPES]
    held = sorted((r["file"] for r in clean), key=stable)[:HELD_OUT_LANDSCAPES]
    others = [r["file"] for r in index(landscapes) if r["licence_family"] not in CLEAN_LANDSCAPES]
    judged = held + sorted(others, key=stable)
    for file in (row["file"] for row in clean if row["file"] not in held):
        places[file] = "train/landscapes"
    for number, file in enumerate(judged[: 2 * JUDGED]):
        places[file] = f"{'val' if number % 2 else 'test'}/landscapes"
    colored = [
        row for row in index(faces) if row["licence_family"] in CLEAN_FACES and row["gray"] == "0"
    ]
    people = sorted((r["file"] for r in colored if r["split"] == "test"), key=stable)
    for number, file in enumerate(people[: 2 * JUDGED]):
        places[file] = f"{'val' if number % 2 else 'test'}/faces"
    learned = sorted((r["file"] for r in colored if r["split"] == "train"), key=stable)
    for file in learned[:TRAINED_FACES]:
        places[file] = "train/faces"
    for archive in (landscapes, faces):
        for name, data in members(archive):
            place = next((places[file] for file in places if name.endswith(file)), None)
            if place:
                target = given.out / place / f"{Path(name).stem}.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(reduced(data))
    for name, data in members(given.data / "emoji_pairs.tar"):
        target = given.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def stable(name: str) -> str:
    """Return a key that orders names at random, and for ever in the same way."""
    return hashlib.sha256(name.encode()).hexdigest()


def index(archive: Path) -> list[dict[str, str]]:
    """Return the rows of an archive's index.csv."""
    for name, data in members(archive):
        if Path(name).name == "index.csv":
            return list(csv.DictReader(io.StringIO(data.decode())))
    raise SystemExit(f"{archive} holds no index.csv")


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of every file."""
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield member.name.removeprefix("./"), stream.read()


def reduced(data: bytes) -> bytes:
    """Return a photo as JPEG whose shorter side has at most `SHORT_SIDE` pixels."""
    photo = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    scale = SHORT_SIDE / min(photo.size)
    if scale < 1:
        size = (round(photo.width * scale), round(photo.height * scale))
        photo = photo.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
