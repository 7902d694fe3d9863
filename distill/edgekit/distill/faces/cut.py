"""Squares cut out of photos at any angle and scale: antialiased, mirrored beyond the border."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgekit.core.images import resized
from edgekit.core.tensors import Photo
from edgekit.distill.faces.points import Points


def cut_out(photo: Photo, matrix: Points, size_px: int) -> Photo:
    """Return the `size_px` square that `matrix` (2 x 3, photo to square, in pixels) maps to.

    What lies outside the photo is its mirror image. The photo is first reduced, so that a small
    crop of a large photo does not alias.
    """
    back = _inverse(matrix)
    ends = np.array([[0, 0], [size_px, 0], [0, size_px], [size_px, size_px]], np.float64)
    there = ends @ back[:, :2].T + back[:, 2]
    left, top = (int(v) for v in np.floor(there.min(0)) - 2)
    right, bottom = (int(v) for v in np.ceil(there.max(0)) + 2)
    region = photo[_reflected(top, bottom, photo.shape[0])][
        :, _reflected(left, right, photo.shape[1])
    ]
    scale = min(1.0, 1 / float(np.hypot(*back[:, 0])))
    height = max(2, round(region.shape[0] * scale))
    width = max(2, round(region.shape[1] * scale))
    small = resized(region, height, width)
    ratio = np.array([width / region.shape[1], height / region.shape[0]])
    shifted = np.concatenate([back[:, :2], (back[:, 2] - (left, top))[:, None]], 1) * ratio[:, None]
    image = Image.fromarray(small).transform(
        (size_px, size_px),
        Image.Transform.AFFINE,
        tuple(shifted.ravel()),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(image, np.uint8)


def padded_share(shape: tuple[int, ...], matrix: Points, size_px: int) -> float:
    """Return the share of the square that lies outside a photo of `shape`."""
    back = _inverse(matrix)
    grid = (np.stack(np.meshgrid(*[np.arange(32)] * 2), -1).reshape(-1, 2) + 0.5) * size_px / 32
    x, y = (grid @ back[:, :2].T + back[:, 2]).T
    return float(1 - ((x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])).mean())


def _inverse(matrix: Points) -> np.ndarray:
    turn = np.linalg.inv(matrix[:, :2].astype(np.float64))
    return np.concatenate([turn, -(turn @ matrix[:, 2])[:, None]], 1)


def _reflected(first: int, last: int, length: int) -> np.ndarray:
    """Return the rows from `first` to `last`, those outside mirrored at the border.

    >>> _reflected(-2, 2, 9).tolist()
    [1, 0, 0, 1]
    """
    turn = np.arange(first, last) % (2 * length)
    return np.where(turn < length, turn, 2 * length - 1 - turn)
