"""What three planes say about points of the world: the sum of three bilinear samples.

Planes are xy, xz and yz, each C x R x R: the first axis along the first-named coordinate, -1 at
index 0 and +1 at index R - 1.

Source: the triplane of Chan et al. 2022 (EG3D, arXiv:2112.07945).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_matrix

from edgekit.core.tensors import Axis, Batch, Vertices
from edgekit.core.tetrahedra import coordinates

AXES = ((0, 1), (0, 2), (1, 2))
"""The coordinates along the axes of each plane."""


def on_lattice(planes: Batch, cells: int, size: int) -> Iterator[tuple[int, int, Batch]]:
    """Yield (first point, end, size x C features) for all points of a lattice, `size` at a time.

    `planes` is 3 x C x R x R. The last chunk is filled up with zeros. Each plane is resized to the
    lattice once; then a point costs two additions.
    """
    axis = coordinates(cells)
    n, n2 = len(axis), len(axis) ** 2
    resize = _weights(axis, planes.shape[-1])
    xy, xz, yz = np.ascontiguousarray((resize @ planes @ resize.T).transpose(0, 2, 3, 1))
    for start in range(0, n * n2, size):
        end = min(start + size, n * n2)
        features = np.zeros((size, planes.shape[1]), np.float32)
        for x in range(start // n2, -(-end // n2)):
            slab = (xy[x][:, None] + xz[x] + yz).reshape(n2, -1)
            low, high = max(start, x * n2), min(end, (x + 1) * n2)
            features[low - start : high - start] = slab[low - x * n2 : high - x * n2]
        yield start, end, features


def at_points(planes: Batch, points: Vertices) -> Batch:
    """Return N x C features of `points` (N x 3); outside of [-1, 1] the border's count."""
    _, channels, size, _ = planes.shape
    places = np.clip((points + 1) * ((size - 1) / 2), 0, size - 1)
    first = np.minimum(places.astype(np.int64), size - 2)
    share = places - first
    columns, weights = [], []
    for plane, (a, b) in enumerate(AXES):
        for step_a, step_b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            columns.append((plane * size + first[:, a] + step_a) * size + first[:, b] + step_b)
            parts = (share[:, a], share[:, b])
            weights.append(
                (parts[0] if step_a else 1 - parts[0]) * (parts[1] if step_b else 1 - parts[1])
            )
    rows = np.arange(len(points) + 1) * len(columns)
    sampling = csr_matrix(
        (
            np.stack(weights, 1).astype(np.float32).ravel(),
            np.stack(columns, 1).ravel(),
            rows,
        ),
        shape=(len(points), 3 * size * size),
    )
    features: Batch = sampling @ planes.transpose(0, 2, 3, 1).reshape(-1, channels)
    return features


def _weights(axis: Axis, size: int) -> Batch:
    """Return the matrix of linear interpolation from `size` places over [-1, 1] to `axis`."""
    places = (axis + 1) * ((size - 1) / 2)
    away = np.abs(places[:, None] - np.arange(size))
    matrix: Batch = np.maximum(1 - away, 0).astype(np.float32)
    return matrix
