"""Which tensor of a converted file holds which weight of the program, and how it lies there.

Converters rename and turn weights; the numbers stay. A weight is found by its sorted values, and
the way it was turned by trying.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.core.tensors import Batch


@dataclass(frozen=True, slots=True)
class Match:
    """One weight inside a file."""

    key: str
    """The file's own name for the tensor."""
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    out_axis: int
    """Axis of the stored tensor that counts the layer's outputs."""

    def stored(self, weight: Batch) -> Batch:
        """Return another weight of the layer as the file would hold it."""
        return np.ascontiguousarray(weight.transpose(self.axes).reshape(self.shape))


def matches(
    stored: Mapping[str, Batch], weights: Mapping[str, tuple[Batch, int]]
) -> dict[str, Match]:
    """Return layer name -> where its weight lies, for each weight that `stored` holds unchanged.

    `weights` gives for each layer its weight and the axis that counts its outputs. A weight that
    the converter changed (folded into another, say) is not in the result.
    """
    known: dict[str, list[str]] = {}
    for key, array in stored.items():
        known.setdefault(_fingerprint(array), []).append(key)
    found: dict[str, Match] = {}
    taken: set[str] = set()
    for name, (weight, axis) in weights.items():
        for key in known.get(_fingerprint(weight), ()):
            match = None if key in taken else _match(key, stored[key], weight, axis)
            if match is not None:
                taken.add(key)
                found[name] = match
                break
    return found


def _fingerprint(array: Batch) -> str:
    values = np.sort(array.astype(np.float32).ravel())
    return hashlib.sha256(values.tobytes()).hexdigest()


def _match(key: str, stored: Batch, weight: Batch, out_axis: int) -> Match | None:
    for axes in itertools.permutations(range(weight.ndim)):
        if np.array_equal(weight.transpose(axes).reshape(stored.shape), stored):
            count = weight.shape[out_axis]
            index = np.arange(count).reshape(
                [-1 if axis == out_axis else 1 for axis in range(weight.ndim)]
            )
            placed = np.broadcast_to(index, weight.shape).transpose(axes).reshape(stored.shape)
            varying = [
                axis
                for axis in range(stored.ndim)
                if stored.shape[axis] == count
                and np.array_equal(
                    placed,
                    np.broadcast_to(
                        np.arange(count).reshape(
                            [-1 if a == axis else 1 for a in range(stored.ndim)]
                        ),
                        stored.shape,
                    ),
                )
            ]
            if varying:
                return Match(key, axes, tuple(stored.shape), varying[0])
    return None
