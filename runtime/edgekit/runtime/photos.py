"""Photo files edited by an open bundle: one photo, or every photo of a folder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.core.errors import BadInput, OutputError
from edgekit.core.images import load_photo, photo_files, save_photo
from edgekit.core.progress import Report, silent
from edgekit.core.store import prepared_folder
from edgekit.runtime.bundle import OpenBundle

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""What an edited photo can be written as."""


@dataclass(frozen=True, slots=True)
class Edited:
    """One photo that was edited, or the sentence that says why it was not."""

    source: Path
    out: Path
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    problem: str = ""


def edit_files(
    bundle: OpenBundle,
    source: Path,
    out: Path,
    *,
    max_side: int | None = None,
    report: Report = silent,
) -> list[Edited]:
    """Edit the photo `source` into the file `out`, or all photos of a folder into the folder `out`.

    In a folder a photo that cannot be used does not stop the others: its row carries the problem.
    Each result appears at once or not at all.

    Raises BadInput for a source that holds no usable photo, OutputError, before any work, for a
    place that cannot be written or that is the source itself.
    """
    jobs = planned_files(source, out)
    for folder in dict.fromkeys(result.parent for _, result in jobs):
        prepared_folder(folder)
    single, done = not source.is_dir(), []
    for index, (photo, result) in enumerate(jobs):
        try:
            tiles = report if single else silent
            done.append(_edit_file(bundle, photo, result, max_side, tiles))
        except OutputError:
            raise
        except BadInput as error:
            if single:
                raise
            done.append(Edited(photo, result, problem=str(error)))
        if not single:
            report("photos", index + 1, len(jobs), photo.name)
    return done


def edit_each(
    variants: Mapping[str, OpenBundle],
    source: Path,
    out: Path | None,
    *,
    max_side: int | None = None,
    report: Report = silent,
) -> list[Edited]:
    """Edit `source` with each of `variants` (label -> bundle, all of one session), as `edit_files`.

    Where results go stands in `places`; the same errors, all before any work.
    """
    planned_each(source, out, list(variants))
    done = []
    for place, variant in zip(places(source, out, list(variants)), variants.values(), strict=True):
        done += edit_files(variant, source, place, max_side=max_side, report=report)
    return done


def planned_each(source: Path, out: Path | None, labels: Sequence[str]) -> list[tuple[Path, Path]]:
    """Return (photo, result) of all variants; errors as `edit_files`."""
    return [job for place in places(source, out, labels) for job in planned_files(source, place)]


def places(source: Path, out: Path | None, labels: Sequence[str]) -> list[Path]:
    """Return where the variants called `labels` are written.

    One variant goes to `out`, by default a file (for a folder of photos, a folder) in the current
    folder called like `source` and the label. Several go below the folder `out`, by default the
    current one: for one photo a file each, for a folder a folder each. Raises OutputError if `out`
    is a file name but several are to be written.
    """
    names = [f"{source.stem}-{label or 'edited'}" for label in labels] or [f"{source.stem}-edited"]
    suffix = "" if source.is_dir() else ".png"
    if len(names) == 1:
        return [out or Path(f"{names[0]}{suffix}")]
    if out is not None and out.suffix.lower() in SUFFIXES:
        raise OutputError(
            f"{len(names)} pictures cannot be one file {out.name}",
            hint="name a folder with --out, or give one --concept",
        )
    return [(out or Path()) / f"{name}{suffix}" for name in names]


def planned_files(source: Path, out: Path) -> list[tuple[Path, Path]]:
    """Return (photo, result) for each photo below `source`; errors as `edit_files`.

    A folder's tree is kept; results are PNG, and photos that differ only in their suffix keep it
    in the result's name.
    """
    photos = photo_files(source) if source.is_dir() else [source]
    if not source.is_dir():
        if out.suffix.lower() not in SUFFIXES:
            raise OutputError(
                f"{out.name}: cannot write the image format {out.suffix or '(none)'!r}",
                hint=f"end the name in {', '.join(SUFFIXES)}",
            )
        jobs = [(source, out)]
    else:
        if out.is_file():
            raise OutputError(f"{out} is a file", hint="name a folder for the edited photos")
        stems = Counter(photo.relative_to(source).with_suffix("") for photo in photos)
        jobs = []
        for photo in photos:
            name = photo.relative_to(source)
            unique = stems[name.with_suffix("")] == 1
            jobs.append((photo, out / (name.with_suffix(".png") if unique else f"{name}.png")))
    for photo, result in jobs:
        if result.exists() and photo.exists() and result.samefile(photo):
            raise OutputError(f"{result} is the photo itself", hint="choose another --out")
    return jobs


def _edit_file(
    bundle: OpenBundle, photo: Path, out: Path, max_side: int | None, report: Report
) -> Edited:
    start = time.monotonic()
    edited = bundle.edit(load_photo(photo), max_side=max_side, report=report)
    save_photo(edited, out)
    height, width = edited.shape[:2]
    return Edited(photo, out, width, height, round(time.monotonic() - start, 3))
