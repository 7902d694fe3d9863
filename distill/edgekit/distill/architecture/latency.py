"""Latency of a setting: looked up where it was measured, else predicted from what was.

As in once-for-all networks a device is measured once and the search then asks a table. Here the
table holds whole networks, and a setting that is not in it is predicted by a sum over the places
of the network: so many multiply-adds at each resolution, so many numbers read and written, each at
a cost that is fitted to the measured networks and never negative. How good the prediction is, is
measured by leaving each network out in turn.

Source: Cai et al. 2020, "Once-for-All: Train One Network and Specialize it for Efficient
Deployment" (arXiv:1908.09791), section 4, for the lookup table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.stats import spearmanr

from edgekit.distill.architecture.space import shape_name
from edgekit.distill.students.gan import POOL
from edgekit.distill.students.shape import Shape
from edgekit.distill.students.text_context import TOKENS

TERMS = (
    "products_full",
    "products_half",
    "products_quarter",
    "products_eighth",
    "products_transformer",
    "traffic_full",
    "traffic_half",
    "traffic_quarter",
    "traffic_eighth",
    "layers",
    "blocked_full",
    "blocked_half",
    "blocked_quarter",
    "blocked_eighth",
)
"""Terms of the sum: millions of multiply-adds and of numbers written, the count of layers, and the
multiply-adds again with widths rounded up to `BLOCK`."""
BLOCK = 16
"""Channels that vectorized kernels compute together, needed or not."""
LEAST_MEASURED = 2 * len(TERMS)
"""Measured settings below which no prediction is made."""


def terms_of(shape: Shape, *, size_px: int) -> tuple[float, ...]:
    """Return the value of each of `TERMS` for a shipped student of `shape` at `size_px`."""
    full, half, quarter, eighth = shape.levels
    places = [size_px**2 / 4**level / 1e6 for level in range(4)]
    blocks = shape.encoder_blocks + shape.decoder_blocks
    kept = places[3] * 1e6 / POOL**2
    attention = 2 * (kept + TOKENS) * eighth
    transformer = (10 + 2 / POOL**2) * eighth**2 + attention if shape.transformer else 0.0
    written = [
        full * (3 + shape.detail3) + 6,
        half * (3 + shape.detail2),
        quarter * (3 + 3 * blocks),
        eighth * (2 + 14 * shape.transformer),
    ]
    layers = 9 + 2 * blocks + shape.detail2 + shape.detail3 + 12 * shape.transformer
    blocked = [-(-channels // BLOCK) * BLOCK for channels in shape.levels]
    return (
        *(
            place * each
            for place, each in zip(places, _products(shape, *shape.levels), strict=True)
        ),
        places[3] * transformer,
        *(place * each for place, each in zip(places, written, strict=True)),
        float(layers),
        *(place * each for place, each in zip(places, _products(shape, *blocked), strict=True)),
    )


def _products(shape: Shape, full: int, half: int, quarter: int, eighth: int) -> tuple[int, ...]:
    """Return the multiply-adds a pixel of the convolutions at each resolution."""
    blocks = shape.encoder_blocks + shape.decoder_blocks
    return (
        9 * (3 * full + full * full * shape.detail3 + 3 * full) + 9,
        9 * (full * half + half * half * shape.detail2 + half * full),
        9 * (half * quarter + 2 * blocks * quarter**2 + quarter * half),
        9 * 2 * quarter * eighth,
    )


@dataclass(frozen=True, slots=True)
class Check:
    """How well settings are predicted that the fit has not seen."""

    settings: int
    mean_error: float
    """Mean of |predicted - measured| / measured."""
    worst_error: float
    correlation: float
    """Pearson's, of milliseconds."""
    rank_correlation: float
    """Spearman's."""


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Measured milliseconds of settings, by name, for one kind of file at one size."""

    size_px: int
    measured: Mapping[str, float]
    shapes: Mapping[str, Shape]

    def lookup(self, shape: Shape) -> tuple[float, bool]:
        """Return the milliseconds of `shape` and whether they were measured.

        Raises LookupError if it was not measured and too few others were to predict it.
        """
        name = shape_name(shape)
        if name in self.measured:
            return self.measured[name], True
        if len(self.measured) < LEAST_MEASURED:
            raise LookupError(f"{name} was not measured, and only {len(self.measured)} others were")
        costs = _fitted(*self._system())
        return float(np.dot(costs, terms_of(shape, size_px=self.size_px))), False

    def check(self) -> Check:
        """Leave each measured setting out in turn, predict it, and compare."""
        if len(self.measured) <= LEAST_MEASURED:
            raise LookupError(f"{len(self.measured)} measured settings are too few to check")
        terms, truth = self._system()
        rows = range(len(truth))
        guess = np.array(
            [terms[i] @ _fitted(np.delete(terms, i, 0), np.delete(truth, i)) for i in rows]
        )
        errors = np.abs(guess - truth) / truth
        return Check(
            len(truth),
            float(errors.mean()),
            float(errors.max()),
            float(np.corrcoef(guess, truth)[0, 1]),
            float(spearmanr(guess, truth).statistic),
        )

    def _system(self) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], _Vector]:
        names: Sequence[str] = sorted(self.measured)
        rows = [terms_of(self.shapes[name], size_px=self.size_px) for name in names]
        return np.array(rows), np.array([self.measured[name] for name in names])


_Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


def _fitted(terms: np.ndarray[tuple[int, int], np.dtype[np.float64]], truth: _Vector) -> _Vector:
    """Return the cost of each term that makes the relative errors smallest, none below zero."""
    costs, _ = nnls(terms / truth[:, None], np.ones(len(truth)))
    found: _Vector = costs
    return found
