"""Several concepts in one: their changes of the base added up with weights.

What a blend of concepts i with weights w_i means:

* a convolution changes by the sum of w_i * B_i @ A_i. If the ranks add up to no more than the
  base's capacity, that is exact: the factors are put side by side. Otherwise the sum is cut to the
  capacity by a singular value decomposition, which keeps as much of it as that rank can, and the
  share that is lost is told;
* what words set (gain and bias of norms, keys and values, the place in the frame) is the mean with
  weights w_i / sum(w): it replaces what another text would set, so weights that add up to 2 must
  not double it.

So 0.6 and 0.4 lie between two concepts, 1 and 1 apply the factors of both in full, and a single
concept at 0.5 is its text with half of its factors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.core.concepts import Concept
from edgekit.core.errors import EdgekitError
from edgekit.core.manifest import AdapterEntry
from edgekit.core.tensors import Batch
from edgekit.runtime.adapters import blocks_of, check_concept, filled

NOTHING = 1e-12
"""Below this share of a layer's squared change a difference is rounding."""


@dataclass(frozen=True, slots=True)
class Blend:
    """A blend's adapter input and what the capacity cost it."""

    vector: Batch
    """float32 (1, length)."""
    lost: float
    """Share of the summed changes of all convolutions that did not fit (Frobenius norm, of the
    factors' products before the base's norms); 0 for an exact blend."""
    worst_layer: str
    """The layer that lost the largest share of its change; empty for an exact blend."""
    worst_lost: float


def blended(concepts: Sequence[tuple[Concept, float]], entry: AdapterEntry) -> Blend:
    """Blend concepts with their weights for the base that `entry` describes.

    Raises EdgekitError for weights that are not positive, BadInput for a concept that does not
    belong to this base.
    """
    for concept, weight in concepts:
        if not (math.isfinite(weight) and weight > 0):
            raise EdgekitError(
                f"weight {weight:g} of {concept.prompt!r}",
                hint="give each concept a weight above 0",
            )
        check_concept(concept, entry, name=concept.prompt)
    total = sum(weight for _, weight in concepts)
    held = [
        {block.name: values for block, values in blocks_of(concept, entry)}
        for concept, _ in concepts
    ]
    weights = [weight for _, weight in concepts]
    values: dict[str, Batch] = {}
    lost, whole = 0.0, 0.0
    worst = ("", 0.0)
    for block in entry.blocks:
        layer, _, what = block.name.rpartition(".")
        if block.part != "factors":
            mean = sum(w / total * own[block.name] for w, own in zip(weights, held, strict=True))
            values[block.name] = np.asarray(mean, np.float32)
        elif what == "A":
            factors = _side_by_side(layer, weights, held)
            before = _squares(*factors)
            down, up = _cut(*factors, rank=block.rows)
            gone = before - _squares(down, up)
            gone = gone if gone > NOTHING * before else 0.0
            whole, lost = whole + before, lost + gone
            if before and math.sqrt(gone / before) > worst[1]:
                worst = (layer, math.sqrt(gone / before))
            values[f"{layer}.A"], values[f"{layer}.B"] = down, up
    share = math.sqrt(lost / whole) if whole else 0.0
    return Blend(filled(values, entry), share, *worst)


def _side_by_side(
    layer: str, weights: Sequence[float], held: Sequence[Mapping[str, Batch]]
) -> tuple[Batch, Batch]:
    """Return A (ranks, inputs) and B transposed (ranks, outputs) of the summed change."""
    down = np.concatenate([own[f"{layer}.A"] for own in held])
    up = np.concatenate([w * own[f"{layer}.B"] for w, own in zip(weights, held, strict=True)])
    return down.astype(np.float64), up.astype(np.float64)


def _squares(down: Batch, up: Batch) -> float:
    """Return the squared Frobenius norm of the product, without computing the product."""
    return float(np.sum((down @ down.T) * (up @ up.T)))


def _cut(down: Batch, up: Batch, *, rank: int) -> tuple[Batch, Batch]:
    """Return factors of at most `rank` rows whose product is nearest to that of the given ones.

    Source: Eckart and Young 1936; through two QR decompositions, so that nothing larger than the
    factors is decomposed.
    """
    if len(down) > rank:
        q_down, r_down = np.linalg.qr(down.T)
        q_up, r_up = np.linalg.qr(up.T)
        left, sizes, right = np.linalg.svd(r_up @ r_down.T)
        roots = np.sqrt(sizes[:rank])
        up = ((q_up @ left[:, :rank]) * roots).T
        down = (right[:rank] @ q_down.T) * roots[:, None]
    return down, up
