"""Weights moved onto a grid where that does the least harm to the layer's output.

Rounding each weight to its nearest step ignores what the layer sees. Here the weights are taken one
column after another; what rounding one breaks, the columns that are still free repair, weighted by
how the layer's inputs vary together on the calibration pictures. A grid is either 2^b - 1 even
steps for each output (linear) or 2^b free values for the whole layer (a palette).

The converters need not know: a weight that lies on their grid already survives their own rounding
unchanged, so one pass serves every format.

Source: Frantar et al. 2022, "GPTQ" (arXiv:2210.17323), algorithm 1 without blocks; the palettes by
k-means weighted by the inputs' power and refitted by least squares between passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from edgekit.export.optimize.layers import (
    Layer,
    columns,
    from_rows,
    layers_of,
    rows,
    watch_inputs,
    weight_of,
)
from edgekit.export.program import Feed, Program

PLACES = 768
"""Places of each calibration picture that a layer's inputs are taken from."""
DAMPING = 0.01
"""Share of the mean diagonal that is added to it, as in the paper."""
PALETTE_PASSES = 2
BLOCK = 64
"""Columns that are repaired one by one before the rest is, all at once."""
MOST_REFITTED = 64
"""Palettes with more values are so fine that refitting them gains nothing."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where weights may lie: ``linear`` steps an output, or a ``palette`` a layer."""

    kind: str
    bits: int
    group: int = 0
    """Outputs that share a palette; 0 for one palette a layer."""

    @property
    def name(self) -> str:
        """A short name, such as linear8 or palette4."""
        return f"{self.kind}{self.bits}" + (f"-{self.group}" if self.group else "")


@dataclass(frozen=True, slots=True)
class Rounded:
    """A weight on its grid."""

    weight: Tensor
    scale: Tensor | None = None
    """Of a linear grid: one step an output, along the layer's `out_axis`."""


@dataclass
class Rounding:
    """Rounds the layers of one program by its calibration feeds; each result is kept."""

    program: Program
    feeds: Sequence[Feed]
    nearest: bool = False
    """Round each weight to its nearest step instead: the baseline."""
    _moments: dict[str, Tensor] = field(default_factory=dict)
    _sweeps: dict[str, list[Sweep]] = field(default_factory=dict)
    _kept: dict[tuple[str, str], Rounded] = field(default_factory=dict)

    def rounded(self, layer: Layer, grid: Grid) -> Rounded:
        """Return the weight of `layer` on `grid`."""
        key = (layer.name, grid.name)
        if key not in self._kept:
            if not self.nearest and not self._moments:
                self._moments = second_moments(self.program, self.feeds)
            if not self.nearest and layer.name not in self._sweeps:
                self._sweeps[layer.name] = [sweep_of(h) for h in self._moments[layer.name]]
            sweeps = self._sweeps.get(layer.name)
            self._kept[key] = rounded(weight_of(self.program, layer), layer, grid, sweeps)
        return self._kept[key]


def second_moments(program: Program, feeds: Sequence[Feed]) -> dict[str, Tensor]:
    """Return layer name -> mean of x x^T over places and pictures, as GKK in double precision."""
    found: dict[str, Tensor] = {}
    places: dict[str, int] = {}
    generator = torch.Generator().manual_seed(0)

    def watcher(layer: Layer):  # type: ignore[no-untyped-def]
        def add(value: Tensor) -> None:
            x_GKL = columns(value, layer, most=PLACES, generator=generator)
            product = (x_GKL @ x_GKL.transpose(1, 2)).double()
            found[layer.name] = found.get(layer.name, 0) + product
            places[layer.name] = places.get(layer.name, 0) + x_GKL.shape[-1]

        return add

    watch_inputs(program, feeds, {layer.node: watcher(layer) for layer in layers_of(program)})
    return {name: total / places[name] for name, total in found.items()}


def rounded(weight: Tensor, layer: Layer, grid: Grid, sweeps: Sequence[Sweep] | None) -> Rounded:
    """Return `weight` on `grid`; without sweeps each weight goes to its nearest value."""
    w_GOK = rows(weight, layer).double()
    if sweeps is None:
        same = sweep_of(torch.eye(w_GOK.shape[2], dtype=torch.float64))
        sweeps = [same] * len(w_GOK)
        if grid.kind == "palette":
            shares = torch.split(w_GOK, _share(w_GOK, grid), 1)
            parts = [_nearest_palette(w, grid.bits) for w in shares]
            return Rounded(from_rows(torch.cat(parts, 1).float(), layer))
    if grid.kind == "linear":
        found = [_linear(w, h, grid.bits) for w, h in zip(w_GOK, sweeps, strict=True)]
        made = from_rows(torch.stack([weight for weight, _ in found]).float(), layer)
        return Rounded(made, scale=torch.cat([scale for _, scale in found]).float())
    shares = torch.split(w_GOK, _share(w_GOK, grid), 1)
    swept = [_palette(w, sweeps, grid.bits) for w in shares]
    return Rounded(from_rows(torch.cat(swept, 1).float(), layer))


def _share(w_GOK: Tensor, grid: Grid) -> int:
    """Return how many outputs share a palette."""
    outputs = w_GOK.shape[1]
    return math.gcd(outputs, grid.group) if grid.group and len(w_GOK) == 1 else outputs


def _nearest_palette(w_GOK: Tensor, bits: int) -> Tensor:
    if len(torch.unique(w_GOK)) <= 2**bits:  # on a grid already
        return w_GOK
    values = _weighted_means(w_GOK.flatten(), torch.ones_like(w_GOK.flatten()), 2**bits)
    return _nearest(w_GOK, values.half().double())


def _linear(w_OK: Tensor, sweep: Sweep, bits: int) -> tuple[Tensor, Tensor]:
    """Round one group to even steps; the largest code of each row is used, so scales are found."""
    top = 2 ** (bits - 1) - 1
    largest = w_OK.abs().amax(1).clamp_min(1e-12)
    shares = torch.ones_like(largest)
    if bits < 8:  # few steps: leaving out the tail makes the others finer
        shares = _best_shares(w_OK, sweep.moment_KK.diagonal(), largest, top)
    scale_O = (largest * shares / top).float().double()  # files store float32
    codes_OK = _codes(w_OK, sweep, scale_O, top)
    # A converter takes the largest weight for the top of its grid, so one must stand there.
    for _ in range(2):
        short = codes_OK.abs().amax(1) < top
        if not bool(short.any()):
            break
        reached = codes_OK[short].abs().amax(1).clamp_min(1)
        scale_O[short] = (scale_O[short] * reached / top).float().double()
        codes_OK[short] = _codes(w_OK[short], sweep, scale_O[short], top)
    short = codes_OK.abs().amax(1) < top
    if bool(short.any()):
        place = (codes_OK[short].abs() * 1000 + w_OK[short].abs() / largest[short, None]).argmax(1)
        picked = torch.nonzero(short)[:, 0]
        codes_OK[picked, place] = top * torch.sign(w_OK[picked, place])
    return codes_OK * scale_O[:, None], scale_O


def _best_shares(w_OK: Tensor, power_K: Tensor, largest_O: Tensor, top: int) -> Tensor:
    best = torch.ones_like(largest_O)
    least = torch.full_like(largest_O, torch.inf)
    for share in torch.linspace(0.4, 1.0, 25).tolist():
        scale = (largest_O * share / top)[:, None]
        error = w_OK - (w_OK / scale).round().clamp(-top, top) * scale
        cost = (error**2 * power_K).sum(1)
        better = cost < least
        best[better], least[better] = share, cost[better]
    return best


@dataclass(frozen=True, slots=True)
class Sweep:
    """The order of the columns, and how an error in each is repaired in those behind it."""

    moment_KK: Tensor
    order: Tensor
    factor_KK: Tensor
    """Upper Cholesky factor of the damped inverse moment, in that order."""


def sweep_of(moment_KK: Tensor) -> Sweep:
    """Prepare a sweep: the most powerful inputs come first."""
    order = moment_KK.diagonal().argsort(descending=True, stable=True)
    damped = moment_KK[order][:, order].clone()
    diagonal = damped.diagonal()
    diagonal += DAMPING * diagonal.mean() + 1e-12
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return Sweep(moment_KK, order, torch.linalg.cholesky(inverse, upper=True))


def _swept(w_OK: Tensor, sweep: Sweep, nearest: Callable[[Tensor], Tensor]) -> Tensor:
    """Take the columns one by one and repair in those that are left, block by block."""
    left_KO, u_KK = w_OK.T[sweep.order].contiguous(), sweep.factor_KK
    made_KO = torch.empty_like(left_KO)
    for start in range(0, len(left_KO), BLOCK):
        end = min(start + BLOCK, len(left_KO))
        block = left_KO[start:end].clone()
        errors = torch.empty_like(block)
        for k, value in enumerate(block):
            place = start + k
            made_KO[place] = nearest(value)
            errors[k] = (value - made_KO[place]) / u_KK[place, place]
            block[k + 1 :] -= u_KK[place, place + 1 : end, None] * errors[k]
        left_KO[end:] -= u_KK[start:end, end:].T @ errors
    back_KO = torch.empty_like(made_KO)
    back_KO[sweep.order] = made_KO
    return back_KO.T


def _codes(w_OK: Tensor, sweep: Sweep, scale_O: Tensor, top: int) -> Tensor:
    swept = _swept(w_OK, sweep, lambda w: (w / scale_O).round().clamp(-top, top) * scale_O)
    return (swept / scale_O[:, None]).round()


def _palette(w_GOK: Tensor, sweeps: Sequence[Sweep], bits: int) -> Tensor:
    """Choose the values by weighted k-means, then sweep and refit in turns."""
    h_GKK = [sweep.moment_KK for sweep in sweeps]
    power = torch.stack([h.diagonal() for h in h_GKK])[:, None].expand_as(w_GOK)
    values = _weighted_means(w_GOK.flatten(), power.flatten(), 2**bits)
    best: tuple[float, Tensor] | None = None
    for _ in range(PALETTE_PASSES if len(values) <= MOST_REFITTED else 1):
        values = values.half().double()  # what a file stores
        made = torch.stack(
            [
                _swept(w, sweep, partial(_nearest, values=values))
                for w, sweep in zip(w_GOK, sweeps, strict=True)
            ]
        )
        cost = sum(
            float((((w - m) @ h) * (w - m)).sum())
            for w, m, h in zip(w_GOK, made, h_GKK, strict=True)
        )
        if best is None or cost < best[0]:
            best = (cost, made)
        if len(values) > MOST_REFITTED:
            break
        values = _refitted(w_GOK, made, h_GKK, values)
    assert best is not None
    return best[1]


def _nearest(column: Tensor, values: Tensor) -> Tensor:
    bounds = (values[1:] + values[:-1]) / 2
    return values[torch.bucketize(column.contiguous(), bounds)]


def _weighted_means(points: Tensor, weights: Tensor, count: int) -> Tensor:
    """Return `count` ascending values: Lloyd's algorithm in one dimension."""
    order = points.argsort()
    points, weights = points[order], weights[order].clamp_min(1e-30)
    # Starting places: equal shares of weight^(1/3) density, which large steps in the tails need.
    quantiles = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    spread = points[(quantiles * (len(points) - 1)).long()]
    even = points[0] + (points[-1] - points[0]) * quantiles
    values = (spread + even) / 2
    total, first = weights.cumsum(0), (weights * points).cumsum(0)
    total, first = (torch.cat([x.new_zeros(1), x]) for x in (total, first))
    for _ in range(60):
        cuts = torch.searchsorted(points, (values[1:] + values[:-1]) / 2)
        edges = torch.cat([cuts.new_zeros(1), cuts, cuts.new_full((1,), len(points))])
        mass = total[edges[1:]] - total[edges[:-1]]
        moved = (first[edges[1:]] - first[edges[:-1]]) / mass.clamp_min(1e-30)
        values = torch.where(mass > 0, moved, values).sort().values
    return values


def _refitted(w_GOK: Tensor, made_GOK: Tensor, h_GKK: Sequence[Tensor], values: Tensor) -> Tensor:
    """Return the palette that is best for the given choice of places: a small least squares."""
    count = len(values)
    normal = torch.zeros(count, count, dtype=torch.float64)
    right = torch.zeros(count, dtype=torch.float64)
    for w_OK, made_OK, h_KK in zip(w_GOK, made_GOK, h_GKK, strict=True):
        places_OK = torch.bucketize(made_OK, (values[1:] + values[:-1]) / 2)
        for w_K, places_K in zip(w_OK, places_OK, strict=True):
            half = torch.zeros(count, len(w_K), dtype=torch.float64).index_add_(0, places_K, h_KK)
            normal.index_add_(1, places_K, half)
            right += half @ w_K
    normal.diagonal().add_(1e-9 * normal.diagonal().mean() + 1e-30)
    found = torch.linalg.solve(normal, right)
    taken = torch.bincount(
        torch.bucketize(made_GOK.flatten(), (values[1:] + values[:-1]) / 2), minlength=count
    )
    return torch.where((taken > 0) & found.isfinite(), found, values).sort().values
