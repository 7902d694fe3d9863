"""A weight as indices into a small palette: k-means in one dimension, exact enough and fast.

In one dimension the values can be sorted once; then the border between two palette entries is a
place in the sorted list and each entry the mean between two borders, so that an iteration costs
two searches and a few sums whatever the size of the weight.

Source: Lloyd's algorithm on a sorted sample (Grønlund et al. 2017, arXiv:1701.07204, section 2),
started from equal counts, from equal steps, and from the density of entries that is best for many
entries, the cube root of the density of values (Panter and Dite 1951); the best result is kept.
"""

from __future__ import annotations

import numpy as np

from edgekit.core.tensors import Batch

ITERATIONS = 300


def palette(values: Batch, bits: int) -> Batch:
    """Return the 2**bits palette values (float32, ascending) that lie nearest to `values`.

    >>> palette(np.float32([0, 0.1, 5, 5.1]), 1).round(2).tolist()
    [0.05, 5.05]
    """
    ordered = np.sort(values.astype(np.float64))
    size = 2**bits
    distinct = np.unique(ordered)
    if len(distinct) <= size:
        return np.pad(distinct, (0, size - len(distinct)), mode="edge").astype(np.float32)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    squares = np.concatenate([[0.0], np.cumsum(ordered**2)])
    starts = (
        np.quantile(ordered, (np.arange(size) + 0.5) / size),
        np.linspace(ordered[0], ordered[-1], size),
        _cube_root_start(ordered, size),
    )
    found = [_settled(ordered, sums, start) for start in starts]
    best = min(found, key=lambda made: _error(ordered, sums, squares, made))
    moves = max(1, size // 8)
    while moves:
        moved = _settled(ordered, sums, _moved(ordered, sums, squares, best, moves))
        if _error(ordered, sums, squares, moved) < _error(ordered, sums, squares, best) * 0.9999:
            best = moved
        else:
            moves //= 2
    return best.astype(np.float32)


def _moved(ordered: Batch, sums: Batch, squares: Batch, entries: Batch, moves: int) -> Batch:
    """Take the entries away whose loss costs least, and split those that cost most."""
    borders = _borders(ordered, entries)
    cost = _costs(sums, squares, borders[:-1], borders[1:])
    joined = _costs(sums, squares, borders[:-2], borders[2:])
    loss = joined - cost[:-1] - cost[1:]
    halves = np.searchsorted(ordered, entries)
    gain = (
        cost
        - _costs(sums, squares, borders[:-1], halves)
        - _costs(sums, squares, halves, borders[1:])
    )
    split = np.argsort(-gain)[:moves]
    free = [i for i in np.argsort(loss) if i not in split and i + 1 not in split][:moves]
    split = split[: len(free)]
    rest = np.delete(entries, [*(i + 1 for i in free), *split])
    half = np.sqrt(np.maximum(cost[split], 0) / np.maximum(np.diff(borders)[split], 1))
    return np.sort(np.concatenate([rest, entries[split] - half, entries[split] + half]))


def _costs(sums: Batch, squares: Batch, low: Batch, high: Batch) -> Batch:
    """Return the squared distance of the values between two places from their mean."""
    counts, totals = np.maximum(high - low, 1), sums[high] - sums[low]
    return np.asarray(squares[high] - squares[low] - totals**2 / counts)


def _cube_root_start(ordered: Batch, size: int) -> Batch:
    counts, edges = np.histogram(ordered, bins=min(512, max(16, len(ordered) // 8)))
    share = np.concatenate([[0.0], np.cumsum(np.cbrt(counts))])
    wanted = (np.arange(size) + 0.5) / size * share[-1]
    return np.asarray(np.interp(wanted, share, edges))


def _settled(ordered: Batch, sums: Batch, entries: Batch) -> Batch:
    for _ in range(ITERATIONS):
        borders = _borders(ordered, entries)
        counts = np.diff(borders)
        totals = sums[borders[1:]] - sums[borders[:-1]]
        moved = np.where(counts > 0, totals / np.maximum(counts, 1), entries)
        if np.array_equal(moved, entries):
            break
        entries = np.sort(moved)
    return entries


def _borders(ordered: Batch, entries: Batch) -> Batch:
    middles = (entries[1:] + entries[:-1]) / 2
    inner = np.searchsorted(ordered, middles)
    return np.concatenate([[0], inner, [len(ordered)]])


def _error(ordered: Batch, sums: Batch, squares: Batch, entries: Batch) -> float:
    borders = _borders(ordered, entries)
    counts = np.diff(borders)
    totals = sums[borders[1:]] - sums[borders[:-1]]
    powers = squares[borders[1:]] - squares[borders[:-1]]
    return float((powers - 2 * entries * totals + entries**2 * counts).sum())


def nearest_values(values: Batch, entries: Batch) -> Batch:
    """Return for each of `values` the place of the nearest of the ascending `entries`."""
    middles = (entries[1:] + entries[:-1]) / 2
    return np.searchsorted(middles, values)
