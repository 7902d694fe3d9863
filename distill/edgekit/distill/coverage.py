"""Few photos that stand for many: which ones a quantizer should see."""

from __future__ import annotations

import numpy as np

from edgekit.core.images import resized
from edgekit.core.tensors import Photos


def spread(photos: Photos, count: int) -> list[int]:
    """Return the rows of up to `count` photos that differ most from each other, in order of choice.

    The first is the one nearest to the mean, each next one is the farthest from all chosen so far,
    by the distance of 4x4 thumbnails. Source: Gonzalez 1985, "Clustering to minimize the maximum
    intercluster distance" (greedy k-center).
    """
    looks = np.stack([resized(photo, 4, 4).reshape(-1).astype(np.float64) for photo in photos])
    chosen = [int(np.argmin(((looks - looks.mean(0)) ** 2).sum(1)))]
    nearest = ((looks - looks[chosen[0]]) ** 2).sum(1)
    while len(chosen) < min(count, len(photos)):
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, ((looks - looks[chosen[-1]]) ** 2).sum(1))
    return chosen
