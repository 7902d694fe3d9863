"""Pairs on disk: WebDataset shards, an index that can be read by eye, a manifest that comes last.

    pairs-000000.tar   <key>.edit.png  <key>.json  <key>.source.png, in that order, for each pair
    index.jsonl        one line a pair: the JSON of its shard, and whether it is kept, or why not
    manifest.json      teacher, prompt, counts, split, licences, hash of every shard

A shard's bytes follow from its pairs alone (times, owners and order are fixed), so that a run that
was killed and continued can be compared with one that was not.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from edgekit.core.errors import BadInput
from edgekit.core.store import read_manifest
from edgekit.core.tensors import Photo, Photos
from edgekit.distill.pairs.quality import Scores
from edgekit.distill.shard_folders import line_of, read_samples, write_samples

KIND = "pairs"
INDEX = "index.jsonl"
Split = Literal["train", "heldout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairEntry:
    """One pair: where it lies, how it was made, how good it is."""

    key: str
    shard: str
    split: Split
    seed: int
    prompt: str
    teacher: str
    photo: str
    """Name of the photo that the source was cut from, relative to the folder of photos."""
    box: tuple[int, int, int]
    """Top, left and side of the crop in the photo's pixels."""
    flipped: bool
    variation: str | None
    """Prompt with which the teacher varied the crop before it became the source."""
    source_sha256: str
    edit_sha256: str
    scores: Scores
    kept: bool = True
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PairSet:
    """A finished set of pairs. `entries` are the kept ones; the pictures stay on disk."""

    folder: Path
    manifest: dict[str, Any]
    entries: tuple[PairEntry, ...]
    rejected: tuple[PairEntry, ...] = ()

    def split(self, name: Split) -> tuple[PairEntry, ...]:
        """Return the kept entries of one split: "train" or "heldout"."""
        if name not in get_args(Split):
            raise ValueError(f"split must be one of {get_args(Split)}, got {name!r}")
        return tuple(entry for entry in self.entries if entry.split == name)

    def load(self, entries: Sequence[PairEntry]) -> tuple[Photos, Photos]:
        """Return sources and edits of `entries`, in their order.

        Raises BadInput if a shard lacks one of them, ValueError if `entries` is empty.
        """
        if not entries:
            raise ValueError("no entries to load")
        wanted = {entry.key for entry in entries}
        found: dict[str, tuple[Photo, Photo]] = {}
        for shard in dict.fromkeys(entry.shard for entry in entries):
            for sample in read_samples(self.folder / shard, what=KIND):
                if sample["__key__"] in wanted:
                    found[sample["__key__"]] = (
                        decoded(sample["source.png"]),
                        decoded(sample["edit.png"]),
                    )
        lost = wanted - found.keys()
        if lost:
            raise BadInput(
                f"{self.folder} lacks the pair {min(lost)}",
                hint="make the pairs again in a new folder",
            )
        sources, edits = zip(*(found[entry.key] for entry in entries), strict=True)
        return np.stack(sources), np.stack(edits)


def open_pairs(folder: Path) -> PairSet:
    """Open a finished folder of pairs.

    Raises BadInput if the folder is missing, unfinished, not of pairs, or its index is damaged.
    """
    folder = Path(folder)
    manifest = read_manifest(folder, kind=KIND)
    try:
        lines = (folder / INDEX).read_text(encoding="utf-8").splitlines()
        entries = [entry_from(json.loads(line)) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{folder / INDEX} cannot be read: {error}",
            hint="make the pairs again in a new folder",
        ) from error
    return PairSet(
        folder,
        manifest,
        tuple(entry for entry in entries if entry.kept),
        tuple(entry for entry in entries if not entry.kept),
    )


def entry_from(values: dict[str, Any]) -> PairEntry:
    """Return the entry that a line of the index (or the JSON in a shard) describes."""
    known = {field.name for field in fields(PairEntry)}
    row = {name: value for name, value in values.items() if name in known}
    row["scores"] = Scores(**row["scores"])
    row["box"] = tuple(row["box"])
    return PairEntry(**row)


def write_shard(path: Path, pairs: Sequence[tuple[PairEntry, bytes, bytes]]) -> None:
    """Write one shard at once or not at all; each pair is an entry and the PNGs of both photos."""
    rows = ((entry.key, source, edit, line_of(entry).encode()) for entry, source, edit in pairs)
    names = ("__key__", "source.png", "edit.png", "json")
    write_samples(path, (dict(zip(names, row, strict=True)) for row in rows))


def shard_entries(shard: Path) -> list[PairEntry] | None:
    """Return the entries of a shard, None if it is missing, damaged or incomplete."""
    if not shard.is_file():
        return None
    try:
        found = list(read_samples(shard, what=KIND))
        entries = [entry_from(json.loads(sample["json"])) for sample in found]
        pictures = [(sample["source.png"], sample["edit.png"]) for sample in found]
    except (BadInput, ValueError, KeyError, TypeError):
        return None
    intact = all(
        (sha256(source).hexdigest(), sha256(edit).hexdigest())
        == (entry.source_sha256, entry.edit_sha256)
        for entry, (source, edit) in zip(entries, pictures, strict=True)
    )
    return entries if intact else None


def encoded(photo: Photo) -> bytes:
    """Return `photo` as PNG without any metadata; equal photos give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def decoded(data: bytes) -> Photo:
    """Return the photo in a PNG that `encoded` wrote."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), np.uint8)
