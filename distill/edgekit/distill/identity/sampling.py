"""Few-to-many batches: some photos of a person to encode, other photos of the person to rebuild.

Only small index tables are drawn, on the processor, from a seed and the step's number: a batch
follows from them alone, so that a run that was killed goes on with the batches it would have had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from edgekit.core.errors import BadInput
from edgekit.distill.faces.points import MIRRORED_FIVE
from edgekit.distill.faces.sets import Faces


class Draw(NamedTuple):
    """Which photos make a batch of B people: N places for inputs, T for targets."""

    inputs: Tensor
    """B x N, rows of the faces; -1 where there is no photo."""
    targets: Tensor
    """B x T, rows of the faces; repeated where a person has too few photos."""
    flips: Tensor
    """B, bool: all photos of this person are mirrored."""
    people: Tensor
    """B, identity."""


class Batch(NamedTuple):
    """Photos in [-1, 1] and where the targets' faces are."""

    inputs: Tensor
    """B x N x 3 x S x S."""
    mask: Tensor
    """B x N, bool: where there is an input."""
    targets: Tensor
    """B x T x 3 x S x S."""
    points: Tensor
    """B x T x 5 x 2, the targets' five points as shares of the side."""
    poses: Tensor
    """B x T x 3, the targets' yaw, pitch and roll in units of 60 degrees."""
    people: Tensor
    """B, identity."""


@dataclass(frozen=True, slots=True)
class Few:
    """How many photos go in and come out; `few to many` is 3 to 8 (arXiv:2412.09694)."""

    least: int = 3
    """Photos that are encoded at least, if the person has them."""
    most: int = 3
    targets: int = 8
    disjoint: bool = True
    """False rebuilds the very photos that were encoded."""

    def __post_init__(self) -> None:
        """Refuse numbers that no person could meet."""
        if not 1 <= self.least <= self.most or self.targets < 1:
            raise ValueError(f"needs 1 <= least <= most and targets >= 1, got {self}")


class IdentitySampler:
    """Draws people and their photos; holds nothing but a table of who has which."""

    def __init__(self, faces: Faces, few: Few, *, mirror: bool = True) -> None:
        """Sample from `faces`.

        Raises BadInput if nobody has two photos (one, if `few` is not disjoint).
        """
        self.few, self.mirror = few, mirror
        owner = faces.identities.cpu()
        counts = torch.bincount(owner, minlength=len(faces.people))
        self._rows = torch.full((len(counts), int(counts.max())), -1)
        place = torch.zeros_like(counts)
        for row, person in enumerate(owner.tolist()):
            self._rows[person, place[person]] = row
            place[person] += 1
        self._counts = counts
        self._able = (counts > int(few.disjoint)).nonzero()[:, 0]
        if len(self._able) == 0:
            raise BadInput(
                "nobody has two photos, of which one could be rebuilt from the other",
                hint="add photos of the same people",
            )

    @property
    def num_people(self) -> int:
        """People who can be drawn."""
        return len(self._able)

    def with_photos(self, count: int) -> Tensor:
        """Return the people who have at least `count` photos, in order."""
        return (self._counts >= count).nonzero()[:, 0]

    def at(self, step: int, people: int, *, seed: int) -> Draw:
        """Return the draw of one training step; people repeat only if there are too few."""
        mixed = (seed * 1_000_003 + step) * 6364136223846793005 + 1442695040888963407
        generator = torch.Generator().manual_seed(mixed % 2**63)
        order = torch.randperm(len(self._able), generator=generator)
        chosen = self._able[order.repeat(-(-people // len(order)))[:people]]
        return self.of(chosen, generator)

    def of(self, people: Tensor, generator: torch.Generator) -> Draw:
        """Return a draw of `people`: their photos in random order, inputs first."""
        few, count = self.few, len(people)
        rows, have = self._rows[people], self._counts[people]
        lots = torch.rand(rows.shape, generator=generator)
        lots[rows < 0] = 2.0
        rows = rows.gather(1, lots.argsort(1))
        asked = torch.randint(few.least, few.most + 1, (count,), generator=generator)
        taken = torch.minimum(asked, have - int(few.disjoint))
        inputs = torch.full((count, few.most), -1)
        width = min(few.most, rows.shape[1])
        inputs[:, :width] = rows[:, :width]
        inputs[torch.arange(few.most) >= taken[:, None]] = -1
        # Targets come after the inputs, or are the inputs; too few of them are gone through again.
        first = taken if few.disjoint else torch.zeros_like(taken)
        pool = have - taken if few.disjoint else taken
        places = first[:, None] + torch.arange(few.targets) % pool[:, None]
        flips = (torch.rand(count, generator=generator) < 0.5) & self.mirror
        return Draw(inputs, rows.gather(1, places), flips, people)


def batch_of(faces: Faces, draw: Draw) -> Batch:
    """Return the photos of a draw; everything must lie on the device of the faces."""
    there = draw.inputs >= 0
    inputs = _photos(faces.images, draw.inputs.clamp(min=0), draw.flips)
    targets = _photos(faces.images, draw.targets, draw.flips)
    flipped = draw.flips[:, None, None, None]
    points = faces.points[draw.targets] / faces.size_px
    # Written out: a CUDA graph cannot fetch a table of indices from the processor.
    mirrored = torch.stack([points[:, :, i] for i in MIRRORED_FIVE], 2)
    mirrored = torch.stack((1 - mirrored[..., 0], mirrored[..., 1]), -1)
    poses = faces.poses[draw.targets] / 60
    turned = torch.stack((-poses[..., 0], poses[..., 1], -poses[..., 2]), -1)
    return Batch(
        inputs=inputs,
        mask=there,
        targets=targets,
        points=torch.where(flipped, mirrored, points),
        poses=torch.where(flipped[..., 0], turned, poses),
        people=draw.people,
    )


def _photos(images: Tensor, rows: Tensor, flips: Tensor) -> Tensor:
    photos = images[rows].float() / 127.5 - 1
    return torch.where(flips[:, None, None, None, None], photos.flip(-1), photos)
