"""Scores of a pair, and why a pair is not kept: numpy and scipy only, no learned metric.

The scores are made for edits of very different strength. What every usable edit has in common is
that it stays where the photo is: edges of the source are edges of the edit, whatever became of the
colors. That is what `structure` measures, at the scale where it shows best, because a halftone
print or a mosaic has edges of its own at the finest scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edgekit.core.images import resized
from edgekit.core.tensors import Photo

Map = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bars:
    """What a pair must clear.

    The defaults were set on 36 crops times 55 edits made by classical operators, from sepia to
    neon lines: 1 of the 1,980 true pairs is rejected, and 95 in 100 of the pairs
    with the edit of another crop are.
    """

    min_change: float = 0.015
    """Mean absolute difference of source and edit, of 1. Below it (4 gray levels) an autoencoder's
    own error is as large as the edit, so that a student would learn the autoencoder."""
    min_structure: float = 0.2
    """Correlation of the two gradient maps. True edits reached 0.43 and more (a plaster relief:
    0.19 to 0.5); edits of other crops 0.05 in the median, 0.18 in the 90th percentile."""
    max_shift: float = 0.04
    """Displacement of the edit as a share of the side: more than 5 pixels of 128 doubles contours
    in a student trained with an L1 loss."""
    min_contrast: float = 0.005
    """Standard deviation of the luma, of 1: below it, about one gray level, a picture is blank. A
    night edit of a clear sky has 0.006."""
    max_duplicate_bits: int = 3
    """Of the 64 bits of the perceptual hash; two crops that differ in fewer count as one photo."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How good one pair is; every number is independent of the prompt."""

    change: float
    """Mean absolute difference of source and edit, 0 to 1."""
    structure: float
    """Correlation of the gradient maps, -1 to 1, at the best of three scales."""
    shift_px: float
    """Length of the displacement that aligns the edit better than none, in pixels; mostly 0."""
    source_contrast: float
    """Standard deviation of the source's luma, 0 to 0.5."""
    edit_contrast: float
    """Standard deviation of the edit's luma, 0 to 0.5."""
    source_hash: str
    """64-bit difference hash of the source, as 16 hex digits."""


def scores(source: Photo, edit: Photo) -> Scores:
    """Score one pair; both photos have the same size.

    Raises ValueError if the sizes differ.
    """
    if source.shape != edit.shape:
        raise ValueError(f"sizes differ: {source.shape} and {edit.shape}")
    one, two = source.astype(np.float64) / 255, edit.astype(np.float64) / 255
    unit = source.shape[0] / 128
    scales = [(_gradients(one, scale * unit), _gradients(two, scale * unit)) for scale in (1, 2, 4)]
    return Scores(
        change=_rounded(np.abs(one - two).mean()),
        structure=_rounded(max(_correlation(a, b) for a, b in scales)),
        # A grid of dots repeats itself at the finer scale only; a displacement shows at both.
        shift_px=_rounded(min(_shift(*scales[1]), _shift(*scales[2]))),
        source_contrast=_rounded(_luma(one).std()),
        edit_contrast=_rounded(_luma(two).std()),
        source_hash=difference_hash(source),
    )


def rejection(found: Scores, bars: Bars, *, size_px: int) -> str | None:
    """Return why a pair with these scores is not kept, None if it is."""
    if found.edit_contrast < bars.min_contrast:
        return f"the edit is blank (contrast {found.edit_contrast:.3f} < {bars.min_contrast})"
    if found.source_contrast < bars.min_contrast:
        return f"the source is blank (contrast {found.source_contrast:.3f} < {bars.min_contrast})"
    if found.change < bars.min_change:
        return f"the edit changed almost nothing ({found.change:.3f} < {bars.min_change})"
    if found.structure < bars.min_structure:
        return f"the edit lost the photo (structure {found.structure:.2f} < {bars.min_structure})"
    if found.shift_px > bars.max_shift * size_px:
        return f"the edit is displaced by {found.shift_px:.0f} pixels"
    return None


def duplicates(hashes: Sequence[str], heldout: Sequence[bool], bars: Bars) -> dict[int, int]:
    """Map each near duplicate among the sources to the earlier one that it repeats.

    Held-out sources are compared first, so that of two alike ones, the training pair goes and the
    held-out set stays unseen.
    """
    order = sorted(range(len(hashes)), key=lambda i: (not heldout[i], i))
    kept: list[int] = []
    found: dict[int, int] = {}
    for i in order:
        twin = next(
            (j for j in kept if hamming_bits(hashes[i], hashes[j]) <= bars.max_duplicate_bits), None
        )
        if twin is None:
            kept.append(i)
        else:
            found[i] = twin
    return found


def difference_hash(photo: Photo) -> str:
    """Return the 64-bit difference hash of a photo as hex: alike photos differ in few bits.

    Source: dHash, N. Krawetz, "Kind of Like That", 2013 (hackerfactor.com): the signs of
    horizontal differences of a 9 x 8 reduction.
    """
    small = _luma(resized(photo, 8, 9).astype(np.float64))
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"


def detail(photo: Photo) -> float:
    """Return how much there is to see: the mean gradient of a photo, of 1 a pixel."""
    return float(_gradients(photo.astype(np.float64) / 255, photo.shape[0] / 128).mean())


def hamming_bits(one: str, two: str) -> int:
    """Return in how many of 64 bits two difference hashes differ."""
    return (int(one, 16) ^ int(two, 16)).bit_count()


def _luma(photo: Map) -> Map:
    weighted: Map = photo @ np.array([0.299, 0.587, 0.114])
    return weighted


def _gradients(photo: Map, sigma: float) -> Map:
    total = np.zeros(photo.shape[:2])
    for channel in range(3):
        total += ndimage.gaussian_gradient_magnitude(photo[..., channel], sigma)
    return total


def _correlation(one: Map, two: Map) -> float:
    a, b = one - one.mean(), two - two.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 1e-9 else 0.0


def _shift(one: Map, two: Map) -> float:
    """Return the displacement at the peak of the cross-correlation, 0 if it is no clear peak."""
    a, b = one - one.mean(), two - two.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    if norm <= 1e-9:
        return 0.0
    # Zero padding keeps the far edge from wrapping round into the near one.
    shape = (2 * a.shape[0], 2 * a.shape[1])
    surface = np.fft.irfft2(np.fft.rfft2(a, shape) * np.conj(np.fft.rfft2(b, shape)), shape) / norm
    reach = max(1, a.shape[0] // 6)
    steps = np.arange(-reach, reach + 1)
    near = surface[np.ix_(steps, steps)]
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    if near[row, column] < near[reach, reach] + 0.05:
        return 0.0
    return float(np.hypot(steps[row], steps[column]))


def _rounded(value: float) -> float:
    return round(float(value), 4)
