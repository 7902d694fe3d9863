"""A set of faces of people who do not exist, with exact landmarks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from edgekit.core.errors import EdgekitError
from edgekit.core.progress import Report, silent
from edgekit.distill.faces.align import Aligned
from edgekit.distill.faces.heads.draw import Drawn, Studio, drawn, studio_of
from edgekit.distill.faces.heads.model import load_head_model
from edgekit.distill.faces.heads.people import person_of
from edgekit.distill.faces.heads.scene import scene_of
from edgekit.distill.faces.make import SHARD, entry_of, write_faces
from edgekit.distill.faces.points import five_of
from edgekit.distill.faces.sources import split_of
from edgekit.distill.faces.store import FaceEntry, FaceSet

FORMAT = 1
"""Raised when the same settings would give other pictures than before."""
LICENCE = "rendered"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSettings:
    """Every knob of `make_heads`; the same settings and head model give the same pictures."""

    identities: int = 200
    images: int = 12
    """Pictures of each person."""
    size_px: int = 256
    seed: int = 0
    val: float = 0.08
    test: float = 0.1

    def __post_init__(self) -> None:
        """Reject settings that could only fail later."""
        for holds, what, hint in (
            (self.identities >= 2, f"identities = {self.identities}", "ask for at least 2 people"),
            (1 <= self.images <= 256, f"images = {self.images}", "ask for 1 to 256 of each person"),
            (
                32 <= self.size_px <= 1024 and self.size_px % 8 == 0,
                f"size = {self.size_px}",
                "choose a multiple of 8 from 32 to 1024",
            ),
            (0 <= self.seed < 2**31, f"seed = {self.seed}", "choose a number from 0 to 2^31 - 1"),
        ):
            if not holds:
                raise EdgekitError(f"heads: {what}", hint=hint)


def make_heads(
    head_model: Path,
    settings: HeadSettings,
    out: Path,
    *,
    device: str = "cpu",
    report: Report = silent,
) -> FaceSet:
    """Render people and their pictures in the folder `out`, or continue there.

    Pictures are equal from run to run on one kind of device. Raises BadInput for a file that is no
    head model.
    """
    model = load_head_model(head_model)
    names = [f"head-{settings.seed}-{number:05d}" for number in range(settings.identities)]
    splits = split_of(names, val=settings.val, test=settings.test)
    recipe = {
        "format": FORMAT,
        **asdict(settings),
        "head_model": model.sha256,
        "device": torch.device(device).type,
    }

    @lru_cache(maxsize=1)
    def studio() -> Studio:
        return studio_of(
            model.to(device), settings.size_px
        )  # some seconds, only if there is something to draw

    @lru_cache(maxsize=1)
    def of_person(number: int) -> Drawn:
        return pictures_of(studio(), settings, number)

    def face(place: int) -> tuple[FaceEntry, bytes]:
        number, picture = divmod(place, settings.images)
        pictures = of_person(number)
        marks = pictures.landmarks[picture].astype(np.float32)
        shown = Aligned(
            pictures.pictures[picture].permute(1, 2, 0).cpu().numpy(),
            five_of(marks),
            marks,
            tuple(pictures.poses[picture].tolist()),
            settings.size_px,
        )
        name = names[number]
        return entry_of(shown, name, splits[name], f"{name}, picture {picture}", LICENCE)

    return write_faces(
        face,
        settings.identities * settings.images,
        recipe,
        out,
        size_px=settings.size_px,
        shard=max(1, SHARD // settings.images) * settings.images,
        facts={"head_model": {"file": head_model.name, "sha256": model.sha256}},
        report=report,
    )


@torch.no_grad()
def pictures_of(studio: Studio, settings: HeadSettings, number: int) -> Drawn:
    """Draw all pictures of person `number`."""
    person = person_of(settings.seed, number, shapes=len(studio.model.identity))
    scenes = [
        scene_of(settings.seed, number, picture, studio.model.names)
        for picture in range(settings.images)
    ]
    return drawn(studio, person, scenes, settings.size_px)
