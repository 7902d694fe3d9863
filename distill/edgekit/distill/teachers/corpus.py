"""Photos for the bundled teacher: a clean folder made from archives, and random crops of it.

A corpus is a plain folder of photos. Sub-folders are sets that are reported apart. Where there are
`train` and `test` folders they are used as they are; elsewhere a tenth of each set is kept for
testing, chosen by a hash of the file name, so that the choice never moves.
"""

import csv
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
CLEAN_LANDSCAPES = ("cc0/pd", "cc-by")
CLEAN_FACES = ("pd", "pd-presumed")
HELD_OUT_LANDSCAPES = 14
LARGEST_SIDE = 1024
"""Photos are reduced to this longer side when read: crops of a 50-megapixel photo gain nothing."""

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Paths of the photos of each set, training and held-out apart."""

    train: Mapping[str, tuple[Path, ...]]
    test: Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True, slots=True)
class Bank:
    """Square crops of every set, uint8 (n, 3, size, size), on the training device."""

    sets: Mapping[str, Tensor]

    @property
    def size(self) -> int:
        """Side of the crops in pixels."""
        return next(iter(self.sets.values())).shape[-1]


def _stable(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def prepared_corpus(landscapes: Path, faces: Path, out: Path) -> Path:
    """Write the openly licensed photos of two archives to `out`, and `corpus.json` beside them.

    `landscapes` and `faces` are tar files with an `index.csv`. Of the landscapes the rows of the
    families CC0, public domain and CC-BY are taken; of the faces the color photos that are (or are
    presumed to be) in the public domain, with the person-disjoint split of their index.
    """
    rows = [
        {
            "set": "landscapes",
            "file": row["file"],
            "licence": row["licence"],
            "title": row["title"],
            "family": row["licence_family"],
            "source": row["source"],
        }
        for row in _index(landscapes)
        if row["licence_family"] in CLEAN_LANDSCAPES
    ]
    held_out = sorted((row["file"] for row in rows), key=_stable)[:HELD_OUT_LANDSCAPES]
    for row in rows:
        row["split"] = "test" if row["file"] in held_out else "train"
    faces_taken = [
        {
            "set": "faces",
            "file": row["file"],
            "licence": row["licence"],
            "title": "",
            "family": row["licence_family"],
            "source": row["source"],
            "split": row["split"],
        }
        for row in _index(faces)
        if row["licence_family"] in CLEAN_FACES and row["gray"] == "0"
    ]
    for archive, chosen in ((landscapes, rows), (faces, faces_taken)):
        places = {row["file"]: f"{row['split']}/{row['set']}" for row in chosen}
        _unpack(archive, places, out)
    (out / "corpus.json").write_text(json.dumps(_summary(rows + faces_taken), indent=1) + "\n")
    return out


def _index(archive: Path) -> list[dict[str, str]]:
    with tarfile.open(archive) as tar:
        member = next(m for m in tar if Path(m.name).name == "index.csv")
        stream = tar.extractfile(member)
        assert stream is not None
        return list(csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8")))


def _unpack(archive: Path, places: Mapping[str, str], out: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            place = next((p for f, p in places.items() if member.name.endswith("/" + f)), None)
            place = place or places.get(member.name.removeprefix("./"))
            stream = tar.extractfile(member) if place and member.isfile() else None
            if place and stream is not None:
                target = out / place / Path(member.name).name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(stream.read())


def _summary(rows: Sequence[Row]) -> dict[str, object]:
    sets: dict[str, dict[str, int]] = {}
    for row in rows:
        counts = sets.setdefault(row["set"], {})
        for key in (row["split"], f"licence {row['family']}"):
            counts[key] = counts.get(key, 0) + 1
    credits = sorted(
        {
            f"{row['title']}: {row['licence']} ({row['source']})"
            for row in rows
            if row["family"] == "cc-by"
        }
    )
    return {"sets": sets, "attribution": credits}


def read_corpus(folder: Path) -> Corpus:
    """List the photos of `folder`. Raises ValueError if there are none."""
    if (folder / "train").is_dir():
        train = dict(_sets(folder / "train"))
        test = dict(_sets(folder / "test")) if (folder / "test").is_dir() else {}
    else:
        both = dict(_sets(folder))
        train = {
            name: tuple(f for f in files if not _kept(f)) or files for name, files in both.items()
        }
        test = {name: tuple(f for f in files if _kept(f)) for name, files in both.items()}
    if not train:
        raise ValueError(f"no photos ({', '.join(SUFFIXES)}) below {folder}")
    return Corpus(train, {name: files for name, files in test.items() if files})


def _kept(file: Path) -> bool:
    return int(_stable(file.name)[:8], 16) % 10 == 0


def _sets(folder: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in SUFFIXES:
            parts = file.relative_to(folder).parts
            found.setdefault(parts[0] if len(parts) > 1 else "photos", []).append(file)
    for name, files in found.items():
        yield name, tuple(files)


def read_photo(file: Path) -> Tensor:
    """Read a photo upright, uint8 (3, h, w), its longer side at most `LARGEST_SIDE` pixels."""
    with Image.open(file) as opened:
        photo = ImageOps.exif_transpose(opened).convert("RGB")
        photo.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.asarray(photo).copy()).permute(2, 0, 1)


def _resized(crop: Tensor, size: int) -> Tensor:
    if crop.shape[-1] == size:
        return crop
    soft = F.interpolate(crop[None].float(), size=(size, size), mode="bilinear", antialias=True)
    return soft[0].round().clamp(0, 255).to(torch.uint8)


def _random_crop(photo: Tensor, size: int, generator: torch.Generator) -> Tensor:
    height, width = photo.shape[-2:]
    draw = torch.rand(3, generator=generator).tolist()
    smallest = min(1.0, max(0.5, size / min(height, width)))
    side = int(min(height, width) * (smallest + (1 - smallest) * draw[0] ** 0.7))
    side = min(max(side, 16), min(height, width))
    top, left = int(draw[1] * (height - side + 1)), int(draw[2] * (width - side + 1))
    return _resized(photo[:, top : top + side, left : left + side], size)


def center_crops(photo: Tensor, size: int, places: int) -> list[Tensor]:
    """Return `places` squares along the longer side, or the middle one, at `size` pixels."""
    height, width = photo.shape[-2:]
    side = min(height, width)
    spread = [0.5] if places == 1 else [i / (places - 1) for i in range(places)]
    if height == width:
        spread = [0.5]
    starts = [(int(s * (height - side)), int(s * (width - side))) for s in spread]
    return [_resized(photo[:, y : y + side, x : x + side], size) for y, x in starts]


def train_bank(corpus: Corpus, *, size: int, per_set: int, seed: int, device: torch.device) -> Bank:
    """About `per_set` random crops of each training set, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)

    def crops(photo: Tensor, count: int) -> list[Tensor]:
        return [_random_crop(photo, size, generator) for _ in range(count)]

    return _bank(corpus.train, lambda files: max(1, round(per_set / len(files))), crops, device)


def test_bank(
    corpus: Corpus,
    *,
    size: int,
    device: torch.device,
    places: int = 2,  # noqa: PT028 (this is no test)
) -> Bank:
    """The fixed crops of the held-out photos: `places` along the longer side of each."""
    return _bank(corpus.test, lambda _: places, lambda p, n: center_crops(p, size, n), device)


def _bank(
    sets: Mapping[str, tuple[Path, ...]],
    count: Callable[[tuple[Path, ...]], int],
    crops: Callable[[Tensor, int], list[Tensor]],
    device: torch.device,
) -> Bank:
    banks: dict[str, Tensor] = {}
    for name, files in sets.items():
        with ThreadPoolExecutor() as pool:
            photos = list(pool.map(read_photo, files))
        squares = [c for photo in photos for c in crops(photo.to(device), count(files))]
        banks[name] = torch.stack(squares)
    return Bank(banks)


def sampled(bank: Bank, count: int, generator: torch.Generator) -> Tensor:
    """`count` crops, evenly over the sets, mirrored and with shifted colors; float in [0, 1]."""
    sets = list(bank.sets.values())
    device = sets[0].device
    parts = []
    for place, squares in enumerate(sets):
        share = count // len(sets) + (place < count % len(sets))
        rows = torch.randint(len(squares), (share,), generator=generator, device=device)
        parts.append(squares[rows])
    images = torch.cat(parts).float() / 255
    flip = torch.rand(count, 1, 1, 1, generator=generator, device=device) < 0.5
    images = torch.where(flip, images.flip(-1), images)
    return _recolored(images, generator)


def _recolored(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random exposure, contrast, white balance and saturation for three of four images."""
    count, device = len(images), images.device

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        unit = torch.rand(count, channels, 1, 1, generator=generator, device=device)
        return low + (high - low) * unit

    gray = images.mean(1, keepdim=True)
    shifted = gray + (images - gray) * draw(0.6, 1.5)
    shifted = ((shifted - 0.5) * draw(0.8, 1.15) + 0.5) * draw(0.90, 1.10, 3)
    shifted = shifted.clamp(0, 1) ** draw(0.75, 1.35)
    return torch.where(draw(0, 1) < 0.75, shifted, images)
