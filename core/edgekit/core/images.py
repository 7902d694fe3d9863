"""Photos from any file to upright sRGB bytes, and back, with one sentence for each thing wrong."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from edgekit.core.errors import BadInput, OutputError
from edgekit.core.store import write_bytes
from edgekit.core.tensors import Batch, Photo

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
MAX_MEGAPIXELS = 120.0
"""Above this a file is refused before it is decoded: a decompression bomb, or a mistake."""
BAND_ROWS = 256
"""Rows copied out of a decoded photo at a time."""
MIN_SIDE = 16
"""Below this an edit has nothing to work on."""


def photo_files(folder: Path) -> list[Path]:
    """Return the image files below `folder`, sorted by relative path.

    Raises BadInput if the folder is missing, is a file without an image suffix, or holds none.
    """
    if folder.is_file() and folder.suffix.lower() in SUFFIXES:
        return [folder]
    if not folder.exists():
        raise BadInput(f"{folder} does not exist", hint="name a folder with photos in it")
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder of photos", hint="name a folder or an image file")
    files = sorted(file for file in _walked(folder) if file.suffix.lower() in SUFFIXES)
    if not files:
        raise BadInput(
            f"{folder} holds no photo",
            hint=f"put at least one image there ({', '.join(sorted(SUFFIXES))})",
        )
    return files


def _walked(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not any(
            part.startswith(".") for part in path.relative_to(folder).parts
        ):
            yield path


def load_photo(source: Path | bytes, *, name: str = "", min_side: int = MIN_SIDE) -> Photo:
    """Decode a photo to upright sRGB uint8, height x width x 3.

    EXIF rotation is applied, alpha is laid over white, CMYK, palette, gray and 16-bit images are
    converted, an embedded colour profile is converted to sRGB; of an animation the first frame
    counts.

    Raises BadInput for a missing, corrupt, truncated, too large or too small image.
    """
    label = name or (str(source) if isinstance(source, Path) else "image")
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except FileNotFoundError:
        raise BadInput(f"{label} does not exist", hint="check the path") from None
    except OSError as error:
        raise BadInput(
            f"{label} cannot be read: {error.strerror or error}",
            hint="check the path and its rights",
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limits below replace Pillow's bomb warning
            with Image.open(io.BytesIO(data)) as image:
                _check_size(image.width, image.height, label, min_side)
                image.load()
                return _upright_srgb(image)
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:
        raise BadInput(
            f"{label} is not an image that can be decoded",
            hint="open it in a viewer and save it again as PNG or JPEG",
        ) from error


def _check_size(width: int, height: int, label: str, min_side: int) -> None:
    if width * height > MAX_MEGAPIXELS * 1e6:
        raise BadInput(
            f"{label} has {width * height / 1e6:.0f} megapixels, more than {MAX_MEGAPIXELS:.0f}",
            hint="scale it down first",
        )
    if min(width, height) < min_side:
        raise BadInput(
            f"{label} is {width}x{height} pixels, each side needs at least {min_side}",
            hint="use a larger image",
        )


def _upright_srgb(image: Image.Image) -> Photo:
    profile = image.info.get("icc_profile")
    ImageOps.exif_transpose(image, in_place=True)
    turned = image
    if turned.mode.startswith(("I", "F")):  # 16 and 32 bit gray: Pillow's own convert would clip
        deep = np.asarray(turned, np.float64)
        top = 65535.0 if turned.mode.startswith("I") else max(float(deep.max()), 1e-9)
        turned = Image.fromarray(np.clip(deep / top * 255 + 0.5, 0, 255).astype(np.uint8))
    if turned.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in turned.info:
        turned = turned.convert("RGBA")
    if turned.mode == "RGBA":
        white = Image.new("RGBA", turned.size, (255, 255, 255, 255))
        turned = Image.alpha_composite(white, turned).convert("RGB")
    if profile and turned.mode in ("RGB", "CMYK", "L"):
        turned = _to_srgb(turned, profile)
    return _array(turned if turned.mode == "RGB" else turned.convert("RGB"))


def _array(image: Image.Image) -> Photo:
    """Copy the pixels out in bands: Pillow's own way holds a large photo three times."""
    out = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, BAND_ROWS):
        bottom = min(top + BAND_ROWS, image.height)
        out[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return out


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # a broken profile: its numbers are still the best guess
    return converted if converted is not None else image


def save_photo(photo: Photo, path: Path, *, quality: int = 92) -> None:
    """Write `photo` (uint8 sRGB) to `path` at once or not at all; the suffix decides the format.

    Raises OutputError for an unknown suffix, a full disk or a place that is not writable.
    """
    form = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}.get(
        path.suffix.lower()
    )
    if form is None:
        raise OutputError(
            f"{path.name}: cannot write the image format {path.suffix or '(none)'!r}",
            hint="end the name in .png, .jpg or .webp",
        )
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, form, quality=quality)
    write_bytes(path, buffer.getvalue())


def center_square(photo: Photo, size: int) -> Photo:
    """Cut the largest middle square and resample it to `size` x `size` (Lanczos, antialiased)."""
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resized(photo[top : top + side, left : left + side], size, size)


def resized(photo: Photo, height: int, width: int) -> Photo:
    """Resample to `height` x `width` with a Lanczos filter (antialiased when shrinking)."""
    if photo.shape[:2] == (height, width):
        return np.ascontiguousarray(photo)
    image = Image.fromarray(np.ascontiguousarray(photo))
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS), np.uint8).copy()


def to_pixels(photos: Batch, *, low: float = -1.0, high: float = 1.0) -> Batch:
    """Map bytes to float32 in [low, high]; the layout stays.

    >>> to_pixels(np.array([0, 255], np.uint8)).tolist()
    [-1.0, 1.0]
    """
    scaled: Batch = photos.astype(np.float32) * np.float32((high - low) / 255.0) + np.float32(low)
    return scaled


def to_bytes(pixels: Batch, *, low: float = -1.0, high: float = 1.0) -> Batch:
    """Map floats in [low, high] to bytes, rounded to nearest, values outside are clipped.

    >>> to_bytes(np.array([-2.0, 0.0, 1.0], np.float32)).tolist()
    [0, 128, 255]
    """
    scaled = (pixels.astype(np.float32) - low) * (255.0 / (high - low))
    rounded: Batch = np.clip(np.rint(np.nan_to_num(scaled)), 0, 255).astype(np.uint8)
    return rounded
