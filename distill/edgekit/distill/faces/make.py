"""Make a set of faces: photos of known people, found, aligned, landmarked and split by person.

The work is cut into shards of fixed contents, so that a killed run leaves whole shards or none of
one, and continuing it gives the bytes of a run that was never killed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.images import load_photo, resized
from edgekit.core.progress import Report, silent
from edgekit.core.store import (
    MANIFEST,
    file_sha256,
    finish_folder,
    locked,
    read_json,
    value_sha256,
    write_bytes,
    write_json,
)
from edgekit.core.tensors import Photo
from edgekit.distill.faces import recognition
from edgekit.distill.faces.align import Aligned, Bars, FaceRefused, aligned
from edgekit.distill.faces.check import suspicions
from edgekit.distill.faces.copies import without_copies
from edgekit.distill.faces.sources import Portrait, portraits_of, split_of
from edgekit.distill.faces.store import (
    INDEX,
    KIND,
    REFUSED,
    FaceEntry,
    FaceSet,
    Refused,
    Split,
    decoded,
    encoded,
    open_faces,
    rounded,
    shard_entries,
    write_shard,
)
from edgekit.distill.shard_folders import claim, finished, line_of

RECIPE = "recipe.json"
FORMAT = 2
"""Raised when the same settings would give other bytes than before."""
SHARD = 64
"""Photos in a shard: the unit that is written at once and that a killed run repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSettings:
    """Every knob of `make_faces`; the same settings and photos give the same bytes."""

    size_px: int = 256
    val: float = 0.08
    """Share of the people, by a hash of their names, unless the table says their split."""
    test: float = 0.1
    licences: tuple[str, ...] = ()
    """Take only photos under one of these; empty takes all."""
    bars: Bars = field(default_factory=Bars)

    def __post_init__(self) -> None:
        """Reject settings that could only fail after minutes."""
        if not (32 <= self.size_px <= 1024 and self.size_px % 8 == 0):
            raise EdgekitError(
                f"faces: size = {self.size_px}", hint="choose a multiple of 8 from 32 to 1024"
            )
        if min(self.val, self.test) < 0 or not self.val + self.test <= 0.9:
            raise EdgekitError(
                f"faces: val = {self.val}, test = {self.test}",
                hint="choose shares from 0, together at most 0.9",
            )


Work = tuple[FaceEntry, bytes] | Refused
"""What became of one photo."""
Settled = tuple[list[FaceEntry], list[Refused], list[str]]
"""Faces that stay, those that do not after all, and warnings."""


def make_faces(
    folders: Sequence[Path], settings: FaceSettings, out: Path, *, report: Report = silent
) -> FaceSet:
    """Make the faces of the people in `folders` in the folder `out`, or continue there.

    A folder that is complete for the same settings and photos is opened as it is. Photos that
    cannot be used are listed in ``refused.jsonl`` with cause and remedy.

    Raises BadInput for folders that cannot be used or if faces of fewer than 2 people are left.
    """
    portraits = portraits_of(folders, settings.licences)
    splits = _splits(portraits, settings)
    recipe = {
        "format": FORMAT,
        **asdict(settings),
        "photos": value_sha256([one.facts() for one in portraits]),
    }

    def face(place: int) -> Work:
        return _face(portraits[place], splits[portraits[place].identity], settings)

    return write_faces(
        face,
        len(portraits),
        recipe,
        out,
        size_px=settings.size_px,
        settle=lambda entries: _settled(out, entries, report),
        report=report,
    )


def _settled(out: Path, entries: Sequence[FaceEntry], report: Report) -> Settled:
    kept, copies = without_copies(FaceSet(Path(out), {}, tuple(entries)), entries)
    return kept, copies, compared(out, kept, report)


def compared(out: Path, entries: Sequence[FaceEntry], report: Report = silent) -> list[str]:
    """Return what a recognizer finds wrong with the names of the faces in a folder's shards."""
    if not recognition.installed():
        return [
            "no recognizer compared the photos of a person with each other: "
            "pip install 'edgekit-toolchain[recognition]' and make them again in a new folder"
        ]
    faces = FaceSet(Path(out), {}, tuple(entries))
    found = []
    for done, (_, jpeg) in enumerate(faces.jpegs(entries)):
        report("compare", done, len(entries))
        found.append(recognition.descriptors([decoded(jpeg)]))
    report("compare", len(entries), len(entries))
    return suspicions(entries, np.concatenate(found)) if found else []


def write_faces(
    face: Callable[[int], Work],
    count: int,
    recipe: Mapping[str, Any],
    out: Path,
    *,
    size_px: int,
    shard: int = SHARD,
    facts: Mapping[str, Any] | None = None,
    settle: Callable[[Sequence[FaceEntry]], Settled] | None = None,
    report: Report = silent,
) -> FaceSet:
    """Write the faces that ``face(0)`` to ``face(count - 1)`` give, shard by shard, or go on there.

    An entry's key and shard are set here. `settle` judges the faces of all shards together.
    `shard` faces lie in one file, and are made again if a run is killed amid them.

    Raises BadInput if faces of fewer than 2 people are left.
    """
    out = Path(out)
    recipe_sha256 = value_sha256(dict(recipe))
    with locked(out):
        if not finished(out, recipe_sha256, kind=KIND, index=INDEX):
            claim(out, dict(recipe), place=RECIPE, what="faces")
            (out / MANIFEST).unlink(missing_ok=True)
            entries, refused = _all_shards(face, count, shard, out, report)
            warnings: list[str] = []
            if settle:
                entries, more, warnings = settle(entries)
                refused += more
            _finish(out, entries, refused, recipe_sha256, size_px, warnings, facts or {})
    return _checked(open_faces(out))


def _face(portrait: Portrait, split: Split, settings: FaceSettings) -> Work:
    try:
        photo = load_photo(portrait.path, name=portrait.name)
        found = aligned(photo, settings.size_px, settings.bars, given=portrait.given)
    except (BadInput, FaceRefused) as error:
        return Refused(
            source=portrait.name, identity=portrait.identity, what=error.what, hint=error.hint
        )
    return entry_of(found, portrait.identity, split, portrait.name, portrait.licence)


def entry_of(
    face: Aligned, identity: str, split: Split, source: str, licence: str
) -> tuple[FaceEntry, bytes]:
    """Return the entry of an aligned face, its key and shard still empty, and its JPEG."""
    jpeg = encoded(face.photo)
    entry = FaceEntry(
        key="",
        shard="",
        identity=identity,
        split=split,
        source=source,
        licence=licence,
        points=rounded(face.points),
        landmarks=rounded(face.landmarks),
        pose=tuple(round(angle, 1) for angle in face.pose),  # type: ignore[arg-type]  # three
        native_px=round(face.native_px),
        gray=_is_gray(face.photo),
        jpeg_sha256=sha256(jpeg).hexdigest(),
    )
    return entry, jpeg


def _is_gray(photo: Photo) -> bool:
    small = resized(photo, 32, 32).astype(np.int16)
    return bool((small.max(2) - small.min(2)).mean() < 4)


def _splits(portraits: Sequence[Portrait], settings: FaceSettings) -> dict[str, Split]:
    given = {one.identity: one.split for one in portraits if one.split is not None}
    free = sorted({one.identity for one in portraits} - given.keys())
    return {**split_of(free, val=settings.val, test=settings.test), **given}


def _all_shards(
    face: Callable[[int], Work], count: int, size: int, out: Path, report: Report
) -> tuple[list[FaceEntry], list[Refused]]:
    entries: list[FaceEntry] = []
    refused: list[Refused] = []
    for first in range(0, count, size):
        last = min(first + size, count)
        shard = out / f"faces-{first // size:06d}.tar"
        notes = out / "work" / f"{shard.stem}.json"
        done = shard_entries(shard) if notes.is_file() else None
        if done is None:
            made, missed = [], []
            for place in range(first, last):
                work = face(place)
                if isinstance(work, Refused):
                    missed.append(work)
                else:
                    entry = replace(work[0], key=f"{place:06d}", shard=shard.name)
                    made.append((entry, work[1]))
                report("faces", place, count)
            write_shard(shard, made)
            write_json(notes, [asdict(one) for one in missed])
            done = [entry for entry, _ in made]
        entries += done
        refused += [Refused(**one) for one in read_json(notes)]
        report("faces", last, count)
    return entries, refused


def _finish(
    out: Path,
    entries: Sequence[FaceEntry],
    refused: Sequence[Refused],
    recipe_sha256: str,
    size_px: int,
    warnings: list[str],
    facts: Mapping[str, Any],
) -> None:
    for name, lines in ((INDEX, entries), (REFUSED, refused)):
        write_bytes(out / name, "".join(line_of(one) + "\n" for one in lines).encode())
    photos = Counter(entry.identity for entry in entries)
    alone = sum(count == 1 for count in photos.values())
    warnings = list(warnings)
    if alone:
        warnings.append(
            f"people with one photo only: {alone}; too few for references of the same person, so "
            "they lend references of a wrong person"
        )
    if refused:
        warnings.append(f"photos that were refused: {len(refused)}, see {REFUSED}")
    splits = {entry.identity: entry.split for entry in entries}
    shards = sorted({entry.shard for entry in entries})
    finish_folder(
        out,
        kind=KIND,
        recipe_sha256=recipe_sha256,
        facts={
            "size_px": size_px,
            "faces": len(entries),
            "people": len(photos),
            "splits": {
                split: {
                    "people": sum(own == split for own in splits.values()),
                    "faces": sum(entry.split == split for entry in entries),
                }
                for split in ("train", "val", "test")
            },
            "alone": alone,
            "warnings": warnings,
            "refused": len(refused),
            "licences": dict(Counter(entry.licence for entry in entries)),
            "shards": [
                {
                    "path": name,
                    "sha256": file_sha256(out / name),
                    "bytes": (out / name).stat().st_size,
                }
                for name in shards
            ],
            "index_sha256": file_sha256(out / INDEX),
            **facts,
        },
    )


def _checked(faces: FaceSet) -> FaceSet:
    people = {entry.identity for entry in faces.entries}
    if len(people) < 2:
        lines = (faces.folder / REFUSED).read_text(encoding="utf-8").splitlines()
        reasons = Counter(json.loads(line)["what"].split(":")[-1].strip() for line in lines)
        common = f" (most often: {reasons.most_common(1)[0][0]})" if reasons else ""
        raise BadInput(
            f"usable faces of {'1 person' if people else '0 people'} are left, at least 2 are "
            f"needed{common}",
            hint=f"read {faces.folder / REFUSED}: it says for each photo what to do",
        )
    return faces
