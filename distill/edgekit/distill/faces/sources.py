"""Photos with the name of the person on each: folders of people, or a table.

A folder is either ``FOLDER/<person>/<photo>.jpg`` or holds an ``index.csv`` with the columns path
(or file) and identity (or person), and optionally split, licence (or licence_family) and lmk5: five
points "x,y x,y …" in the photo's pixels, in the order of `points.FIVE`.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

import numpy as np

from edgekit.core.errors import BadInput, unknown_name
from edgekit.core.images import photo_files
from edgekit.core.store import file_sha256
from edgekit.distill.faces.points import Points
from edgekit.distill.faces.store import Split

TABLE = "index.csv"
UNKNOWN_LICENCE = "that of the photos given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """One photo that may become a face."""

    name: str
    path: Path
    identity: str
    split: Split | None
    licence: str
    given: Points | None
    """Five points that the user gave, in the photo's pixels."""

    def facts(self) -> list[object]:
        """Return what of it decides the result, for the recipe's hash."""
        given = None if self.given is None else [round(float(v), 2) for v in self.given.ravel()]
        return [self.name, self.identity, self.split, self.licence, given, file_sha256(self.path)]


def portraits_of(folders: Sequence[Path], licences: Sequence[str] = ()) -> list[Portrait]:
    """Return the photos of all `folders`; with `licences` only those under one of them.

    Raises BadInput if a folder or table cannot be used or if it names fewer than 2 people,
    EdgekitError if no photo has one of the `licences`.
    """
    found: list[Portrait] = []
    for folder in folders:
        if not folder.is_dir():
            raise BadInput(f"{folder} is not a folder", hint="name folders that hold FOLDER/PERSON")
        some = _listed(folder) if (folder / TABLE).is_file() else _by_folder(folder)
        prefix = f"{folder.name}/" if len(folders) > 1 else ""
        found += [
            replace(one, name=f"{prefix}{one.name}", identity=f"{prefix}{one.identity}")
            for one in some
        ]
    known = sorted({one.licence for one in found})
    for licence in licences:
        if licence not in known:
            raise unknown_name("licence", licence, known)
    kept = [one for one in found if not licences or one.licence in licences]
    people = {one.identity for one in kept}
    if len(people) < 2:
        raise BadInput(
            f"{', '.join(str(folder) for folder in folders)}: {len(people)} person"
            f"{'' if len(people) == 1 else 's'}, at least 2 are needed",
            hint="put each person's photos into a folder of their own: FOLDER/PERSON/PHOTO.jpg",
        )
    return kept


def split_of(people: Sequence[str], *, val: float, test: float) -> dict[str, Split]:
    """Assign each person to a split by a hash of the name, so that nobody ever changes sides.

    If chance leaves val or test empty and there are enough people, the nearest ones go there.

    >>> sorted(split_of(["a", "b", "c"], val=0.1, test=0.1).values())
    ['test', 'train', 'val']
    """
    lot = {name: _lot(name) for name in people}
    order = sorted(people, key=lambda name: (lot[name], name))
    chosen: dict[str, Split] = {
        name: "test" if lot[name] < test else "val" if lot[name] < test + val else "train"
        for name in order
    }
    wanted: list[tuple[Split, float]] = [("test", test), ("val", val)]
    for split, share in wanted:
        spare = [name for name in order if chosen[name] == "train"]
        if share and split not in chosen.values() and len(spare) > 1:
            chosen[spare[0]] = split
    if "train" not in chosen.values() and order:
        chosen[order[-1]] = "train"
    return chosen


def _lot(name: str) -> float:
    return int.from_bytes(hashlib.sha256(f"split/{name}".encode()).digest()[:6], "big") / 2**48


def _by_folder(folder: Path) -> list[Portrait]:
    return [
        Portrait(
            name=path.relative_to(folder).as_posix(),
            path=path,
            identity=path.relative_to(folder).parts[0],
            split=None,
            licence=UNKNOWN_LICENCE,
            given=None,
        )
        for path in photo_files(folder)
        if len(path.relative_to(folder).parts) > 1
    ]


def _listed(folder: Path) -> list[Portrait]:
    place = folder / TABLE
    try:
        with place.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{place} cannot be read: {error}", hint="save it as UTF-8 CSV") from error
    found = []
    for line, row in enumerate(rows, 2):
        name, identity = (
            row.get("path") or row.get("file"),
            row.get("identity") or row.get("person"),
        )
        if not name or not identity:
            raise BadInput(
                f"{place}, line {line}: no path or no identity",
                hint="give the table the columns path and identity",
            )
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise BadInput(
                f"{place}, line {line}: {name} lies outside {folder}",
                hint="give paths relative to the table",
            )
        split = row.get("split") or None
        if split is not None and split not in get_args(Split):
            raise BadInput(
                f"{place}, line {line}: split {split!r}", hint="use train, val or test, or nothing"
            )
        found.append(
            Portrait(
                name=name,
                path=path,
                identity=identity,
                split=cast(Split | None, split),
                licence=row.get("licence_family") or row.get("licence") or UNKNOWN_LICENCE,
                given=_five(row.get("lmk5"), f"{place}, line {line}"),
            )
        )
    _check_splits(found, place)
    return found


def _five(text: str | None, where: str) -> Points | None:
    if not text:
        return None
    try:
        points = np.array(
            [[float(v) for v in pair.split(",")] for pair in text.split()], np.float32
        )
    except ValueError:
        points = np.zeros(0, np.float32)
    if points.shape != (5, 2):
        raise BadInput(
            f"{where}: lmk5 is {text!r}",
            hint='write five points "x,y x,y x,y x,y x,y": eyes, nose, corners of the mouth',
        )
    return points


def _check_splits(found: Sequence[Portrait], place: Path) -> None:
    seen: dict[str, Split | None] = {}
    for one in found:
        if seen.setdefault(one.identity, one.split) != one.split:
            raise BadInput(
                f"{place}: {one.identity} is in the splits {seen[one.identity]} and {one.split}",
                hint="keep all photos of a person in one split",
            )
