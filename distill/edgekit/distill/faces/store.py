"""A set of faces on disk: tar shards, an index that can be read by eye, a manifest that comes last.

    faces-000000.tar   <key>.jpg  <key>.json, in that order, for each face
    index.jsonl        one line a face: the JSON of its shard
    refused.jsonl      one line a photo that was not taken: name, cause, what to do
    manifest.json      counts by split, licences, size, recipe, hash of every shard

A shard's bytes follow from its faces alone, so that a run that was killed and continued can be
compared with one that was not.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from edgekit.core.errors import BadInput
from edgekit.core.store import read_manifest
from edgekit.core.tensors import Photo
from edgekit.distill.faces.points import NUM_DENSE, Points
from edgekit.distill.shard_folders import line_of, read_samples, write_samples

KIND = "faces"
INDEX = "index.jsonl"
REFUSED = "refused.jsonl"
Split = Literal["train", "val", "test"]
QUALITY = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceEntry:
    """One aligned face: where it lies, whose it is, where its landmarks are."""

    key: str
    shard: str
    identity: str
    split: Split
    source: str
    """Name of the photo relative to its folder, or how the head was rendered."""
    licence: str
    points: tuple[tuple[float, float], ...]
    """Five points (`points.FIVE`) in pixels of the crop."""
    landmarks: tuple[tuple[float, float], ...]
    """68 landmarks in pixels of the crop."""
    pose: tuple[float, float, float]
    """Yaw (positive: turned to the picture's right), pitch (positive: up) and roll, in degrees."""
    native_px: int
    """Side of the crop in the photo, before it was resampled; below the crop's side it is soft."""
    gray: bool
    jpeg_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One photo that was not taken."""

    source: str
    identity: str
    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class FaceSet:
    """A finished set of faces; the pictures stay on disk."""

    folder: Path
    manifest: dict[str, Any]
    entries: tuple[FaceEntry, ...]

    def split(self, name: Split) -> tuple[FaceEntry, ...]:
        """Return the entries of one split: "train", "val" or "test"."""
        if name not in get_args(Split):
            raise ValueError(f"split must be one of {get_args(Split)}, got {name!r}")
        return tuple(entry for entry in self.entries if entry.split == name)

    def jpegs(self, entries: Sequence[FaceEntry]) -> Iterator[tuple[FaceEntry, bytes]]:
        """Yield the JPEG of each of `entries`, shard by shard.

        Raises BadInput if a shard lacks one of them.
        """
        for shard in dict.fromkeys(entry.shard for entry in entries):
            wanted = {entry.key: entry for entry in entries if entry.shard == shard}
            for sample in read_samples(self.folder / shard, what=KIND):
                if entry := wanted.pop(sample["__key__"], None):
                    yield entry, sample["jpg"]
            if wanted:
                raise BadInput(
                    f"{self.folder} lacks the face {min(wanted)}",
                    hint="make the faces again in a new folder",
                )


def open_faces(folder: Path) -> FaceSet:
    """Open a finished folder of faces.

    Raises BadInput if the folder is missing, unfinished, not of faces, or its index is damaged.
    """
    folder = Path(folder)
    manifest = read_manifest(folder, kind=KIND)
    try:
        lines = (folder / INDEX).read_text(encoding="utf-8").splitlines()
        entries = tuple(entry_from(json.loads(line)) for line in lines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{folder / INDEX} cannot be read: {error}",
            hint="make the faces again in a new folder",
        ) from error
    return FaceSet(folder, manifest, entries)


def entry_from(values: dict[str, Any]) -> FaceEntry:
    """Return the entry that a line of the index (or the JSON in a shard) describes."""
    known = {field.name for field in fields(FaceEntry)}
    row = {name: value for name, value in values.items() if name in known}
    for name in ("points", "landmarks"):
        row[name] = tuple((float(x), float(y)) for x, y in row[name])
    if len(row["landmarks"]) != NUM_DENSE:
        raise ValueError(f"{row['key']} has {len(row['landmarks'])} landmarks, not {NUM_DENSE}")
    row["pose"] = tuple(row["pose"])
    return FaceEntry(**row)


def rounded(points: Points) -> tuple[tuple[float, float], ...]:
    """Return points as the index holds them: to a hundredth of a pixel."""
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in points)


def write_shard(path: Path, faces: Sequence[tuple[FaceEntry, bytes]]) -> None:
    """Write one shard at once or not at all; each face is an entry and its JPEG."""
    rows = ((entry.key, jpeg, line_of(entry).encode()) for entry, jpeg in faces)
    names = ("__key__", "jpg", "json")
    write_samples(path, (dict(zip(names, row, strict=True)) for row in rows))


def shard_entries(shard: Path) -> list[FaceEntry] | None:
    """Return the entries of a shard, None if it is missing, damaged or incomplete."""
    if not shard.is_file():
        return None
    try:
        found = list(read_samples(shard, what=KIND))
        entries = [entry_from(json.loads(sample["json"])) for sample in found]
        hashes = [sha256(sample["jpg"]).hexdigest() for sample in found]
    except (BadInput, ValueError, KeyError, TypeError):
        return None
    return entries if hashes == [entry.jpeg_sha256 for entry in entries] else None


def encoded(photo: Photo) -> bytes:
    """Return `photo` as JPEG at quality 95 with full colour resolution and no metadata."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def decoded(data: bytes) -> Photo:
    """Return the photo in a JPEG that `encoded` wrote."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), np.uint8)
