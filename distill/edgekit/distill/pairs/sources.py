"""Where source pictures come from: photos of the user, or those that two packages carry.

Held-out pairs must show what no training pair has shown. With at least `BY_PHOTO_FROM` photos some
photos are held out whole; with fewer, each photo is cut in two, and crops of the one part are
trained on, crops of the other are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np

from edgekit.core.errors import BadInput, DependencyMissing
from edgekit.core.images import load_photo, photo_files, resized
from edgekit.core.progress import Report, silent
from edgekit.core.store import file_sha256
from edgekit.core.tensors import Photo
from edgekit.distill.pairs.quality import detail, difference_hash, hamming_bits
from edgekit.distill.pairs.settings import is_heldout
from edgekit.distill.pairs.store import Split

BY_PHOTO_FROM = 10
"""From so many photos on the split is by photo; below, one or two held-out photos would say little
about photos in general, while a part of each says at least something about all of them."""
STRIP = 0.3
"""Share of a photo's longer side that is held out when the split is by region."""
OVERSIZE = 4
"""Photos are reduced to a short side of this many times the pair's size, which bounds memory."""
CACHE_BYTES = 256e6
MIN_DETAIL = 0.006
"""Mean gradient below which a crop shows clear sky or a wall; up to `TRIES` others are tried."""
TRIES = 8
SAME_PHOTO_BITS = 2
"""Two photos whose difference hashes are this close are one (a copy, another JPEG quality)."""

PACKAGED: tuple[tuple[str, str, str], ...] = (
    ("skimage.data", "astronaut.png", "public domain, NASA"),
    ("skimage.data", "chelsea.png", "CC0, Stefan van der Walt"),
    ("skimage.data", "coffee.png", "CC0, Rachel Michetti"),
    ("skimage.data", "rocket.jpg", "public domain, SpaceX"),
    ("sklearn.datasets.images", "china.jpg", "CC BY 2.0, danielbuechele on Flickr"),
    ("sklearn.datasets.images", "flower.jpg", "CC BY 2.0, vultilion on Flickr"),
)
"""Natural color photos inside the wheels whose licence the package states: (module, file, licence).
The motorcycle of scikit-image is left out, because nothing in the wheel states its licence."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of one photo from which crops of one split are taken, in pixels of the photo."""

    photo: int
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sources:
    """Usable photos, how they are split, and a way to load each one in its working size."""

    names: tuple[str, ...]
    hashes: tuple[str, ...]
    """sha256 of each file."""
    skipped: tuple[Skipped, ...]
    split_by: Literal["photo", "region"]
    train: tuple[Region, ...]
    heldout: tuple[Region, ...]
    licence: str
    load: Callable[[int], Photo]

    def regions(self, split: Split) -> tuple[Region, ...]:
        """Return the regions of one split."""
        return self.train if split == "train" else self.heldout


@dataclass(frozen=True, slots=True)
class Crop:
    """A square cut from a photo, mirrored or not."""

    photo: int
    top: int
    left: int
    side: int
    flipped: bool


def open_sources(
    photos: Path | None,
    *,
    size_px: int,
    limit: int,
    seed: int,
    heldout: float,
    report: Report = silent,
) -> Sources:
    """Look at every photo once, skip the unusable ones with a reason, and split the rest.

    At most `limit` photos are taken, drawn with `seed` if the folder holds more.
    Raises BadInput if the folder is missing or empty, or no photo in it can be used.
    """
    listed = _packaged_files() if photos is None else _named_files(photos)
    order = np.random.default_rng(seed).permutation(len(listed)) if len(listed) > limit else None
    chosen = listed if order is None else [listed[i] for i in order]
    largest = OVERSIZE * size_px
    good: list[tuple[str, Path, str]] = []
    shapes: list[tuple[int, int]] = []
    looks: list[str] = []
    skipped: list[Skipped] = []
    for number, (name, path) in enumerate(chosen):
        if len(good) == limit:
            break
        report("photos", number, min(len(chosen), limit))
        try:
            photo = _reduced(load_photo(path, min_side=size_px // 2, name=name), largest)
        except BadInput as error:
            skipped.append(Skipped(name, error.what.removeprefix(f"{name} ")))
            continue
        look = difference_hash(photo)
        twin = next(
            (i for i, o in enumerate(looks) if hamming_bits(o, look) <= SAME_PHOTO_BITS), None
        )
        if twin is not None:
            skipped.append(Skipped(name, f"is the same photo as {good[twin][0]}"))
            continue
        good.append((name, path, file_sha256(path)))
        shapes.append(photo.shape[:2])
        looks.append(look)
    if not good:
        first = skipped[0]
        raise BadInput(
            f"no photo in {photos} can be used ({len(skipped)} looked at): "
            f"{first.name} {first.reason}",
            hint=f"use photos with sides of at least {size_px // 2} pixels",
        )
    report("photos", len(good), len(good))

    @lru_cache(maxsize=max(4, int(CACHE_BYTES / (largest * largest * 1.5 * 3))))
    def load(index: int) -> Photo:
        name, path, _ = good[index]
        return _reduced(load_photo(path, name=name), largest)

    by_photo = len(good) >= BY_PHOTO_FROM
    train, held = _split_by_photo(shapes, heldout) if by_photo else _split_by_region(shapes)
    return Sources(
        names=tuple(name for name, _, _ in good),
        hashes=tuple(sha for _, _, sha in good),
        skipped=tuple(skipped),
        split_by="photo" if by_photo else "region",
        train=train,
        heldout=held,
        licence=_licence() if photos is None else "that of the photos given with --photos",
        load=load,
    )


def draw_crop(
    regions: Sequence[Region],
    turn: int,
    load: Callable[[int], Photo],
    *,
    size_px: int,
    seed: int,
) -> tuple[Crop, Photo]:
    """Cut a random square for turn `turn` and resample it to `size_px`; photos take turns.

    A crop with hardly any detail is drawn again, up to `TRIES` times; the richest one is taken.
    The result depends on the arguments alone.
    """
    region = regions[turn % len(regions)]
    photo = load(region.photo)
    rng = np.random.default_rng(seed)
    best: tuple[float, Crop, Photo] | None = None
    for _ in range(TRIES):
        crop = _random_crop(region, rng, size_px)
        picture = _cut(photo, crop, size_px)
        seen = detail(picture)
        if best is None or seen > best[0]:
            best = (seen, crop, picture)
        if seen >= MIN_DETAIL:
            break
    assert best is not None
    return best[1], best[2]


def _random_crop(region: Region, rng: np.random.Generator, size_px: int) -> Crop:
    most = min(region.height, region.width)
    least = min(most, max(most // 2, size_px * 3 // 4))  # below, pixels would be stretched
    side = int(rng.integers(least, most + 1))
    top = region.top + int(rng.integers(0, region.height - side + 1))
    left = region.left + int(rng.integers(0, region.width - side + 1))
    return Crop(region.photo, top, left, side, bool(rng.integers(0, 2)))


def _cut(photo: Photo, crop: Crop, size_px: int) -> Photo:
    square = photo[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
    picture = resized(square[:, ::-1] if crop.flipped else square, size_px, size_px)
    return np.ascontiguousarray(picture)


def _reduced(photo: Photo, largest: int) -> Photo:
    height, width = photo.shape[:2]
    scale = largest / min(height, width)
    if scale >= 1:
        return photo
    return resized(photo, max(largest, round(height * scale)), max(largest, round(width * scale)))


def _split_by_photo(
    shapes: Sequence[tuple[int, int]], share: float
) -> tuple[tuple[Region, ...], tuple[Region, ...]]:
    held = [is_heldout(i, max(share, 1 / len(shapes))) for i in range(len(shapes))]
    whole = [Region(i, 0, 0, height, width) for i, (height, width) in enumerate(shapes)]
    return (
        tuple(region for region, out in zip(whole, held, strict=True) if not out),
        tuple(region for region, out in zip(whole, held, strict=True) if out),
    )


def _split_by_region(
    shapes: Sequence[tuple[int, int]],
) -> tuple[tuple[Region, ...], tuple[Region, ...]]:
    train: list[Region] = []
    held: list[Region] = []
    for i, (height, width) in enumerate(shapes):
        wide = width >= height
        cut = round((width if wide else height) * STRIP)
        rest = (width if wide else height) - cut
        first, second = (rest, cut) if i % 2 == 0 else (cut, rest)
        parts = (
            (Region(i, 0, 0, height, first), Region(i, 0, first, height, second))
            if wide
            else (Region(i, 0, 0, first, width), Region(i, first, 0, second, width))
        )
        train.append(parts[0] if i % 2 == 0 else parts[1])
        held.append(parts[1] if i % 2 == 0 else parts[0])
    return tuple(train), tuple(held)


def _named_files(photos: Path) -> list[tuple[str, Path]]:
    found = photo_files(photos)
    root = photos if photos.is_dir() else photos.parent
    return [(path.relative_to(root).as_posix(), path) for path in found]


def _packaged_files() -> list[tuple[str, Path]]:
    found = []
    for module, name, _ in PACKAGED:
        try:
            path = Path(str(files(module).joinpath(name)))
        except ModuleNotFoundError as error:
            package = "scikit-image" if module.startswith("skimage") else "scikit-learn"
            raise DependencyMissing(package, extra="distill") from error
        if path.is_file():  # a later wheel may leave one out; nothing is ever downloaded
            found.append((name, path))
    if not found:
        raise BadInput(
            "the installed scikit-image and scikit-learn carry no photo",
            hint="name your own folder: --photos DIR",
        )
    return found


def _licence() -> str:
    return "; ".join(f"{name}: {licence}" for _, name, licence in PACKAGED)
