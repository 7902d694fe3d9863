"""Which few rows of features stand for all of them: by clusters, by coverage, or by lot.

Shape key, used as name suffixes in this file:
    N rows   F features   K chosen
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.core.errors import unknown_name

Features = NDArray[np.floating[Any]]
"""One row a picture, any width."""
Rows = NDArray[np.intp]
"""Indices of rows, in the order in which they were chosen."""
WHOLE = 8192
"""Rows up to which facility location keeps all products of two rows: 512 MB."""
RESTARTS = 4
"""k-means runs from different starts; the tightest one counts."""


def selected(features: Features, count: int, method: str = "kmeans", seed: int = 0) -> Rows:
    """Return the indices of `count` different rows of `features` that stand for all of them.

    ``kmeans`` takes the row nearest to the center of each of `count` clusters, largest cluster
    first; ``facility`` the rows to which all others are near, best first; ``random`` is the
    control. Directions of features count, not their lengths. The same arguments give the same
    choice; facility location has no use for the seed.

    Raises ValueError for `count` outside 1 to the number of rows or features that are not finite
    rows, EdgekitError for an unknown method.

    >>> rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [0.0, 0.9]])
    >>> sorted(int(row) for row in selected(rows, 2, "facility"))
    [0, 2]
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if features.ndim != 2 or not np.isfinite(features).all():
        raise ValueError(f"features must be finite rows, got shape {features.shape}")
    if not 1 <= count <= len(features):
        raise ValueError(f"count must be from 1 to {len(features)}, got {count}")
    return METHODS[method](_directions(features), count, seed)


def _directions(features_NF: Features) -> NDArray[np.float64]:
    rows_NF = features_NF.astype(np.float64)
    lengths = np.linalg.norm(rows_NF, axis=1, keepdims=True)
    unit_NF: NDArray[np.float64] = rows_NF / np.maximum(lengths, 1e-12)
    return unit_NF


def _by_lot(rows_NF: NDArray[np.float64], count: int, seed: int) -> Rows:
    """Draw rows; a smaller draw with the same seed is the beginning of a larger one."""
    return np.random.default_rng(seed).permutation(len(rows_NF))[:count].astype(np.intp)


def _nearest_to_centers(rows_NF: NDArray[np.float64], count: int, seed: int) -> Rows:
    """Cluster the rows and take the one nearest to each center.

    Source: Gong et al. 2024, "E2GAN" (arXiv:2401.06127), section 3.3.
    """
    from sklearn.cluster import KMeans  # half a second of imports, for this method only
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no types

    # One thread: sums in another order would move a row that lies between two centers.
    with threadpool_limits(limits=1):
        found = KMeans(count, n_init=RESTARTS, random_state=seed % 2**32).fit(rows_NF)
    labels, centers_KF = found.labels_, found.cluster_centers_
    sizes = np.bincount(labels, minlength=count)
    chosen: list[int] = []
    for cluster in np.argsort(-sizes, kind="stable"):
        members = np.flatnonzero(labels == cluster)
        if len(members):
            gaps = ((rows_NF[members] - centers_KF[cluster]) ** 2).sum(1)
            chosen.append(int(members[np.argmin(gaps)]))
    return np.array(_filled(rows_NF, chosen, count), np.intp)


def _filled(rows_NF: NDArray[np.float64], chosen: list[int], count: int) -> list[int]:
    """Add the rows farthest from the chosen ones if repeated pictures left clusters empty."""
    while len(chosen) < count:
        nearness_N = (rows_NF @ rows_NF[chosen].T).max(1)
        nearness_N[chosen] = np.inf
        chosen.append(int(np.argmin(nearness_N)))
    return chosen


def _covering(rows_NF: NDArray[np.float64], count: int, seed: int) -> Rows:
    """Choose greedily so that every row has a chosen one as similar as possible.

    Maximizes the sum over all rows of the largest cosine similarity to a chosen row, which is
    submodular, so that the greedy choice reaches 63 % of the best one at least. Gains only shrink:
    a row is looked at again only when its old gain is the largest left.

    Source: Minoux 1978, "Accelerated greedy algorithms for maximizing submodular set functions".
    """
    # Products are asked for again and again; all of them at once fit into memory for few rows.
    products_NN = rows_NF @ rows_NF.T if len(rows_NF) <= WHOLE else None
    covered_N = np.zeros(len(rows_NF))
    gains_N = (len(rows_NF) + rows_NF @ rows_NF.sum(0)) / 2
    heap = [(-float(gain), row, 0) for row, gain in enumerate(gains_N)]
    heapq.heapify(heap)
    chosen: list[int] = []
    while len(chosen) < count:
        _, row, round_ = heapq.heappop(heap)
        products_N = rows_NF @ rows_NF[row] if products_NN is None else products_NN[row]
        similar_N = (1 + products_N) / 2
        if round_ == len(chosen):
            chosen.append(row)
            covered_N = np.maximum(covered_N, similar_N)
        else:
            gain = float(np.maximum(similar_N - covered_N, 0).sum())
            heapq.heappush(heap, (-gain, row, len(chosen)))
    return np.array(chosen, np.intp)


METHODS: Mapping[str, Callable[[NDArray[np.float64], int, int], Rows]] = MappingProxyType(
    {"kmeans": _nearest_to_centers, "facility": _covering, "random": _by_lot}
)
"""Method -> function of unit rows, count and seed."""
