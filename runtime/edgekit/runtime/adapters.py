"""A concept into the second input of a base: one buffer that is filled anew to switch.

This is all that an app has to do, in numpy: copy each block of the concept's file to the place that
the manifest names, and leave zeros where the concept's rank is below the base's capacity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.core.concepts import Concept
from edgekit.core.errors import BadInput
from edgekit.core.manifest import AdapterEntry, BlockEntry
from edgekit.core.seams import Port, Session
from edgekit.core.tensors import Batch


@dataclass(frozen=True, slots=True)
class Switched:
    """A session of a base with one concept in its second input; the session itself is shared."""

    session: Session
    port: str
    vector: Batch
    """float32 (1, length)."""

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What `run` takes: everything but the adapter."""
        return tuple(port for port in self.session.inputs if port.name != self.port)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What `run` returns."""
        return self.session.outputs

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        return self.session.run({**feeds, self.port: self.vector})


def check_concept(concept: Concept, entry: AdapterEntry, *, name: Path | str) -> None:
    """Raise BadInput unless `concept` can be loaded into the base that `entry` describes.

    Another base would run and paint wrong pictures; a rank above the capacity has no room.
    """
    if concept.base_sha256 != entry.base_sha256:
        raise BadInput(
            f"{name} belongs to base {concept.base_sha256[:12]}, this one is "
            f"{entry.base_sha256[:12]}",
            hint="use the base that it was trained on, or distil the concept again",
        )
    if concept.layout_sha256 != entry.layout_sha256:
        raise BadInput(
            f"{name} has its values in another order (layout {concept.layout_sha256[:12]}) than "
            f"this base ({entry.layout_sha256[:12]})",
            hint="add the concept again from its run with this version of edgekit",
        )
    above = {
        group: rank for group, rank in concept.ranks.items() if rank > entry.capacity.get(group, 0)
    }
    if above:
        group, rank = next(iter(above.items()))
        wanted = {
            name: max(room, concept.ranks.get(name, 0)) for name, room in entry.capacity.items()
        }
        words = ",".join(f"{name}={room}" for name, room in wanted.items())
        raise BadInput(
            f"{name} has rank {rank} in {group}, this base has room for "
            f"{entry.capacity.get(group, 0)}",
            hint=f"export the base with --capacity {words}",
        )
    for part, expected in sizes(entry, concept.ranks).items():
        held = getattr(concept, part).size
        if held != expected:
            raise BadInput(
                f"{name} holds {held} values of {part}, expected {expected}",
                hint="add the concept again from its run",
            )


def sizes(entry: AdapterEntry, ranks: Mapping[str, int]) -> dict[str, int]:
    """Return how many values each part of a concept with these ranks holds."""
    found = {"norms": 0, "factors": 0, "text": 0}
    for block in entry.blocks:
        found[block.part] += rows_held(block, ranks) * block.columns
    return found


def rows_held(block: BlockEntry, ranks: Mapping[str, int]) -> int:
    """Return how many rows of `block` the file of a concept with these ranks holds."""
    return min(ranks.get(block.group, 0), block.most) if block.group else block.rows


def blocks_of(concept: Concept, entry: AdapterEntry) -> Iterator[tuple[BlockEntry, Batch]]:
    """Give each block with the concept's values of it, (rows held, columns)."""
    starts = {"norms": 0, "factors": 0, "text": 0}
    for block in entry.blocks:
        size = rows_held(block, concept.ranks) * block.columns
        start = starts[block.part]
        values: Batch = getattr(concept, block.part)[start : start + size]
        starts[block.part] += size
        yield block, values.reshape(-1, block.columns)


def input_vector(concept: Concept, entry: AdapterEntry, *, name: Path | str = "concept") -> Batch:
    """Return the adapter input of `concept`, float32 (1, length); BadInput if it does not fit."""
    check_concept(concept, entry, name=name)
    return filled(dict(_named(concept, entry)), entry)


def _named(concept: Concept, entry: AdapterEntry) -> Iterator[tuple[str, Batch]]:
    for block, values in blocks_of(concept, entry):
        yield block.name, values


def filled(values: Mapping[str, Batch], entry: AdapterEntry) -> Batch:
    """Return the adapter input that holds `values` (block -> rows), zeros everywhere else."""
    vector = np.zeros((1, entry.length), np.float32)
    for block in entry.blocks:
        flat = values[block.name].reshape(-1)
        vector[0, block.offset : block.offset + flat.size] = flat
    return vector
