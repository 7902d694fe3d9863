"""Try a teacher on photos: one picture a photo, before and after side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.core.images import load_photo, photo_files, resized, save_photo
from edgekit.core.progress import Report, silent
from edgekit.core.store import prepared_folder
from edgekit.core.tensors import Photo
from edgekit.distill.teachers.loader import DiffusionTeacher

WHITE_PX = 6


@dataclass(frozen=True, slots=True)
class Strip:
    """One photo, and the picture that was written for it or what was wrong with it."""

    photo: Path
    out: Path | None
    problem: str = ""


def write_strips(
    teacher: DiffusionTeacher,
    photos: Sequence[Path],
    prompt: str,
    out: Path,
    *,
    seed: int = 0,
    report: Report = silent,
) -> list[Strip]:
    """Edit `photos` (files or folders) and write a before/after picture of each to `out`.

    A photo larger than the teacher works at is reduced to that. A file that is no usable photo is
    named in the result; the others are still edited.
    Raises BadInput for a prompt that the teacher does not know, a missing or empty folder, or if
    no photo can be used; OutputError if `out` cannot be written.
    """
    teacher.check_prompt(prompt)
    files = [file for place in photos for file in photo_files(place)]
    prepared_folder(out)
    slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40] or "edit"
    strips: list[Strip] = []
    taken: set[Path] = set()
    for number, file in enumerate(files):
        report("photos", number, len(files))
        try:
            photo = _reduced(load_photo(file), teacher.largest_px)
        except BadInput as error:
            strips.append(Strip(file, None, error.what))
            continue
        edit = teacher.edit(photo[None], prompt, seed=seed + number)[0]
        place = out / f"{file.stem}-{slug}.png"
        if place in taken:  # equal names from two folders
            place = out / f"{file.stem}-{number}-{slug}.png"
        taken.add(place)
        save_photo(side_by_side(photo, edit), place)
        strips.append(Strip(file, place))
    report("photos", len(files), len(files))
    if all(strip.out is None for strip in strips):
        raise BadInput(strips[0].problem, hint="name at least one photo that can be opened")
    return strips


def side_by_side(before: Photo, after: Photo) -> Photo:
    """Return both photos, of one size, with a white line between them."""
    line = np.full((before.shape[0], WHITE_PX, 3), 255, np.uint8)
    return np.hstack([before, line, after])


def _reduced(photo: Photo, largest: int) -> Photo:
    height, width = photo.shape[:2]
    scale = largest / min(height, width)
    if scale >= 1:
        return photo
    return resized(photo, round(height * scale), round(width * scale))
