"""Faces in memory, and batches of them: a target, its degraded form, references of the person.

Everything stays on the device of the pictures; only small index tables are drawn on the processor,
from one `torch.Generator`, so that a batch follows from the generator's state alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgekit.core.errors import BadInput, EdgekitError, unknown_name
from edgekit.core.images import resized
from edgekit.distill.faces.degrade import (
    MIXED,
    SEVERITIES,
    Damage,
    damaged,
    drawn_damage,
    joined,
)
from edgekit.distill.faces.points import MIRRORED
from edgekit.distill.faces.store import FaceEntry, Split, decoded, open_faces


@dataclass(frozen=True, slots=True)
class Faces:
    """Aligned faces of one split, all of one size, on one device."""

    images: Tensor
    """N x 3 x S x S, uint8, 0 is black."""
    identities: Tensor
    """N, int64, from 0 to `len(people) - 1`."""
    landmarks: Tensor
    """N x 68 x 2, float32, (x, y) in pixels of `images`."""
    points: Tensor
    """N x 5 x 2, the five points."""
    poses: Tensor
    """N x 3, yaw, pitch and roll in degrees."""
    people: tuple[str, ...]
    """Name of each identity."""
    keys: tuple[str, ...]
    """Key of each face in its folder."""

    @property
    def size_px(self) -> int:
        """Side of the pictures."""
        return int(self.images.shape[-1])

    def to(self, device: torch.device | str) -> Faces:
        """Return the same faces on another device."""
        return replace(
            self,
            images=self.images.to(device),
            identities=self.identities.to(device),
            landmarks=self.landmarks.to(device),
            points=self.points.to(device),
            poses=self.poses.to(device),
        )


def load_faces(
    folder: Path | Sequence[Path],
    *,
    split: Split | None = None,
    size_px: int | None = None,
    gray: bool = True,
    least_native_px: int = 0,
) -> Faces:
    """Read the faces of a folder that `edgekit pairs faces` wrote, or of several as one set.

    `split` None takes all. `size_px` resamples (Lanczos) and moves the landmarks with it. `gray`
    False leaves grayscale photos out, `least_native_px` those whose crop had fewer pixels a side.
    Raises BadInput for a folder that cannot be used or in which no face is left.
    """
    folders = [Path(folder)] if isinstance(folder, str | Path) else [Path(one) for one in folder]
    found: list[tuple[FaceEntry, bytes, int]] = []
    for one in folders:
        faces = open_faces(one)
        entries = faces.entries if split is None else faces.split(split)
        kept = [e for e in entries if (gray or not e.gray) and e.native_px >= least_native_px]
        side = int(faces.manifest["size_px"])
        found += [(entry, jpeg, side) for entry, jpeg in faces.jpegs(kept)]
    if not found:
        raise BadInput(
            f"{folders[0]} holds no face of the split {split or 'train, val and test'}",
            hint="add people: a split needs at least one",
        )
    size = size_px or found[0][2]
    people = sorted({entry.identity for entry, _, _ in found})
    number = {name: i for i, name in enumerate(people)}
    images = np.empty((len(found), 3, size, size), np.uint8)

    def read(i: int) -> None:
        images[i] = resized(decoded(found[i][1]), size, size).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        list(pool.map(read, range(len(found))))
    scale = np.array([size / side for _, _, side in found], np.float32)[:, None, None]
    return Faces(
        images=torch.from_numpy(images),
        identities=torch.tensor([number[entry.identity] for entry, _, _ in found]),
        landmarks=torch.from_numpy(np.array([e.landmarks for e, _, _ in found], "f4") * scale),
        points=torch.from_numpy(np.array([e.points for e, _, _ in found], "f4") * scale),
        poses=torch.tensor([entry.pose for entry, _, _ in found], dtype=torch.float32),
        people=tuple(people),
        keys=tuple(entry.key for entry, _, _ in found),
    )


class FaceBatch(NamedTuple):
    """B targets with R places for references, pictures in [-1, 1], all on one device."""

    target: Tensor
    """B x 3 x S x S."""
    degraded: Tensor
    """B x 3 x S x S."""
    references: Tensor
    """B x R x 3 x S x S; a place without a reference is 0."""
    reference_mask: Tensor
    """B x R, bool: True where there is a reference. The first places are filled first."""
    wrong: Tensor
    """B, bool: True where the references show another person."""
    target_landmarks: Tensor
    """B x 68 x 2, (x, y) in pixels."""
    reference_landmarks: Tensor
    """B x R x 68 x 2; 0 where there is no reference."""
    identity: Tensor
    """B, the target's."""
    reference_identity: Tensor
    """B, whom the references show."""
    rows: Tensor
    """B, row of the target in `Faces`."""
    reference_rows: Tensor
    """B x R, rows of the references in `Faces`, -1 where there is none."""


class Draw(NamedTuple):
    """Which faces a batch is of and what happens to them; all on the processor."""

    rows: Tensor
    """B, of the targets."""
    people: Tensor
    """B, whose they are."""
    lenders: Tensor
    """B, whose references they get."""
    references: Tensor
    """B x R, rows of the references, -1 where there is none."""
    flips: Tensor
    """B, bool: mirrored, references too."""
    damage: Damage


class FaceSampler:
    """Draws batches of faces; holds nothing but tables of who has which photos."""

    def __init__(
        self,
        faces: Faces,
        *,
        references: tuple[int, int] = (1, 8),
        places: int | None = None,
        wrong_share: float = 0.2,
        severity: str = MIXED,
        mirror: bool = True,
    ) -> None:
        """Sample from `faces`.

        `references` is the least and the most references of a target; how many a target gets is
        drawn between them, and is what the person has if that is less. `places` (default: the
        most) fixes R. Targets are people with at least ``references[0]`` other photos.
        `wrong_share` of the targets get references of another person. `mirror` flips half of the
        targets, each together with its references.

        Raises BadInput if nobody has enough photos, EdgekitError for other wrong arguments.
        """
        least, most = references
        places = most if places is None else places
        if not 0 <= least <= most <= places:
            raise EdgekitError(
                f"references = {least} to {most} for {places} places",
                hint="give the least first, both from 0 up to the number of places",
            )
        if not 0 <= wrong_share <= 1:
            raise EdgekitError(f"wrong_share = {wrong_share}", hint="choose a share from 0 to 1")
        if severity not in (*SEVERITIES, MIXED):
            raise unknown_name("severity", severity, (*SEVERITIES, MIXED))
        self.faces, self.references, self.places = faces, references, places
        self.wrong_share, self.severity, self.mirror = wrong_share, severity, mirror
        owner = faces.identities.cpu()
        counts = torch.bincount(owner, minlength=len(faces.people))
        self._rows_of = torch.full((len(counts), int(counts.max())), -1)
        place = torch.zeros_like(counts)
        for row, person in enumerate(owner.tolist()):
            self._rows_of[person, place[person]] = row
            place[person] += 1
        self._owner, self._counts = owner, counts
        self._targets = (counts > least).nonzero()[:, 0]
        self._lenders = (counts >= max(1, least)).nonzero()[:, 0]
        if len(self._targets) == 0:
            raise BadInput(
                f"nobody has {least + 1} photos, as {least} references need",
                hint="add photos of the same people, or ask for fewer references",
            )
        if wrong_share and len(self._lenders) < 2:
            raise BadInput(
                "references of a wrong person need at least 2 people",
                hint="add people, or set the share of wrong references to 0",
            )
        self._mirrored = torch.tensor(MIRRORED, device=faces.images.device)

    @property
    def num_targets(self) -> int:
        """Faces that can be a target."""
        return int(self._counts[self._targets].sum())

    def targets(self) -> Tensor:
        """Return the rows of all faces that can be a target, in order: one pass of a test."""
        able = torch.zeros(len(self._counts), dtype=torch.bool)
        able[self._targets] = True
        return able[self._owner].nonzero()[:, 0]

    def drawn(self, count: int, generator: torch.Generator) -> Draw:
        """Draw `count` targets, every person as often as any other, and their references."""
        people = self._targets[torch.randint(len(self._targets), (count,), generator=generator)]
        keys = self._shuffled(people, generator)
        return self._around(self._rows_of[people].gather(1, keys)[:, 0], generator)

    def of(self, rows: Tensor, generator: torch.Generator) -> FaceBatch:
        """Return the batch whose targets are the faces `rows`, with references drawn."""
        return made_together([(self, self._around(rows.cpu(), generator))])[0]

    def at(self, step: int, count: int, *, seed: int) -> FaceBatch:
        """Return the batch of one training step: it follows from seed and number alone."""
        return made_together([(self, self.drawn_at(step, count, seed=seed))])[0]

    def drawn_at(self, step: int, count: int, *, seed: int) -> Draw:
        """Return what the batch of one training step is to be."""
        mixed = (seed * 1_000_003 + step) * 6364136223846793005 + 1442695040888963407
        return self.drawn(count, torch.Generator().manual_seed(mixed % 2**63))

    def clean(self, draw: Draw) -> FaceBatch:
        """Return a batch whose portraits are not degraded yet."""
        faces, (count, places) = self.faces, draw.references.shape
        device = faces.images.device
        there, flipped = draw.references.to(device), draw.flips.to(device)
        target, points = self._taken(draw.rows.to(device), flipped)
        shown, shown_points = self._taken(
            there.clamp(min=0).flatten(), flipped.repeat_interleave(places)
        )
        seen = there >= 0
        return FaceBatch(
            target=target,
            degraded=target,
            references=shown.view(count, places, *shown.shape[1:]) * seen[:, :, None, None, None],
            reference_mask=seen,
            wrong=(draw.lenders != draw.people).to(device),
            target_landmarks=points,
            reference_landmarks=shown_points.view(count, places, -1, 2) * seen[:, :, None, None],
            identity=draw.people.to(device),
            reference_identity=draw.lenders.to(device),
            rows=draw.rows.to(device),
            reference_rows=there,
        )

    def _shuffled(self, people: Tensor, generator: torch.Generator) -> Tensor:
        """Return for each person the places of their photos in random order, missing ones last."""
        lots = torch.rand(len(people), self._rows_of.shape[1], generator=generator)
        lots[self._rows_of[people] < 0] = 2.0
        return lots.argsort(1)

    def _around(self, rows: Tensor, generator: torch.Generator) -> Draw:
        count = len(rows)
        person = self._owner[rows]
        wrong = torch.rand(count, generator=generator) < self.wrong_share
        lender = torch.where(wrong, self._others(person, generator), person)
        keys = self._shuffled(lender, generator)
        others = self._rows_of[lender].gather(1, keys)
        # The target itself and missing photos go last, the order of the rest stays as drawn.
        unfit = (others < 0) | (others == rows[:, None])
        others = others.gather(1, unfit.long().argsort(dim=1, stable=True))
        able = (~unfit).sum(1)
        least, most = self.references
        asked = torch.randint(least, most + 1, (count,), generator=generator)
        chosen = torch.full((count, self.places), -1)
        width = min(self.places, others.shape[1])
        chosen[:, :width] = others[:, :width]
        chosen[torch.arange(self.places) >= torch.minimum(asked, able)[:, None]] = -1
        flips = torch.rand(count, generator=generator) < 0.5
        flips &= self.mirror
        damage = drawn_damage(count, self.faces.size_px, self.severity, generator)
        return Draw(rows, person, lender, chosen, flips, damage)

    def _others(self, person: Tensor, generator: torch.Generator) -> Tensor:
        """Draw for each person another one who can lend references."""
        lots = torch.randint(max(1, len(self._lenders)), (len(person),), generator=generator)
        other = self._lenders[lots]
        following = self._lenders[(lots + 1) % len(self._lenders)]
        return torch.where(other == person, following, other)

    def _taken(self, rows: Tensor, flipped: Tensor) -> tuple[Tensor, Tensor]:
        """Return pictures in [-1, 1] and landmarks of `rows`, mirrored where `flipped`."""
        images = self.faces.images[rows].float() / 127.5 - 1
        images = torch.where(flipped[:, None, None, None], images.flip(-1), images)
        points = self.faces.landmarks[rows]
        turned = points[:, self._mirrored]
        turned = torch.stack([self.faces.size_px - turned[..., 0], turned[..., 1]], -1)
        return images, torch.where(flipped[:, None, None], turned, points)


def made_together(draws: Sequence[tuple[FaceSampler, Draw]]) -> list[FaceBatch]:
    """Make batches of one size, degraded in one go.

    A batch is thousands of small operations however many pictures it has, and on a GPU starting
    them takes longer than doing them. What else is made with it changes no batch.
    """
    batches = [sampler.clean(draw) for sampler, draw in draws]
    targets = torch.cat([batch.target for batch in batches])
    degraded = damaged((targets + 1) / 2, joined([draw.damage for _, draw in draws])) * 2 - 1
    parts = torch.split(degraded, [len(batch.target) for batch in batches])
    return [batch._replace(degraded=part) for batch, part in zip(batches, parts, strict=True)]
