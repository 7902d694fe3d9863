"""Pictures to learn from: cutouts of toys and captioned meshes from all around, and their words.

Shape key, used as name suffixes in this file:
    N pictures of a bank   B pictures of a batch   S side of a picture
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgekit.core.progress import Report, silent
from edgekit.distill.render.views import Cameras, cameras_at, over, random_cameras
from edgekit.distill.teachers.views.meshes import Entry, read_mesh
from edgekit.distill.teachers.views.renders import seen, triangle_colors
from edgekit.distill.teachers.views.world import parse, world_mesh

EYES_SEEN = 0.012
"""Part of a picture that eyes cover where they count as seen: 49 pixels of 64 x 64."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Cutouts and what they show, all on one device."""

    cutouts_N: Tensor
    """N x 4 x S x S bytes, see `renders.Sight.painted`."""
    prompt_N: Tensor
    """Which of `prompts` each shows, int64."""
    yaw_N: Tensor
    pitch_N: Tensor
    eyes_N: Tensor
    """Whether eyes are seen, bool."""
    prompts: tuple[str, ...]

    @property
    def size_px(self) -> int:
        """Side of the pictures."""
        return self.cutouts_N.shape[-1]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.cutouts_N)

    def cameras(self, picks: Tensor) -> Cameras:
        """Return the cameras of some pictures."""
        return cameras_at(self.yaw_N[picks], self.pitch_N[picks])

    def pictures(self, picks: Tensor, backgrounds: Tensor) -> Tensor:
        """Return some pictures over one color each (B x 3), B x 3 x S x S in [0, 1]."""
        cut = self.cutouts_N[picks].float().permute(0, 2, 3, 1) / 255
        return over(cut[..., :3], cut[..., 3:], backgrounds).permute(0, 3, 1, 2)


def world_bank(
    toys: Sequence[str],
    *,
    seeds: Sequence[int],
    views: int,
    size_px: int,
    generator: torch.Generator,
    device: torch.device,
    report: Report = silent,
) -> Bank:
    """Render the toys that prompts name, each of `seeds` from `views` random cameras.

    Toys that differ in their theme alone are seen once and painted in each.
    """
    kinds: dict[tuple[str, str | None], list[int]] = {}
    for number, prompt in enumerate(toys):
        thing = parse(prompt)
        kinds.setdefault((thing.shape, thing.accessory), []).append(number)
    parts: list[tuple[Tensor, ...]] = []
    for done, numbers in enumerate(kinds.values()):
        for seed in seeds:
            cameras = random_cameras(views, generator, device)
            plain = world_mesh(toys[numbers[0]], seed)
            sight = seen(plain, cameras, size_px)
            assert plain.eyes is not None
            eyes = sight.shares(plain.eyes) >= EYES_SEEN
            for number in numbers:
                colors = triangle_colors(world_mesh(toys[number], seed), device)
                named = torch.full((views,), number, device=device)
                shown = _bytes(sight.painted(colors))
                parts.append((shown, named, cameras.yaw, cameras.pitch, eyes))
        report("toys", done + 1, len(kinds))
    return _bank(parts, toys)


def mesh_bank(
    entries: Sequence[Entry],
    *,
    views: int,
    size_px: int,
    generator: torch.Generator,
    device: torch.device,
    report: Report = silent,
) -> Bank:
    """Render captioned meshes, each from `views` random cameras."""
    prompts = sorted({entry.caption for entry in entries})
    numbers = {caption: number for number, caption in enumerate(prompts)}
    parts: list[tuple[Tensor, ...]] = []
    for done, entry in enumerate(entries):
        cameras = random_cameras(views, generator, device)
        mesh = read_mesh(entry)
        shown = _bytes(seen(mesh, cameras, size_px).painted(triangle_colors(mesh, device)))
        number = torch.full((views,), numbers[entry.caption], device=device)
        eyes = torch.zeros(views, dtype=torch.bool, device=device)
        parts.append((shown, number, cameras.yaw, cameras.pitch, eyes))
        report("meshes", done + 1, len(entries))
    return _bank(parts, prompts)


def _bytes(cutouts: Tensor) -> Tensor:
    return (cutouts * 255).round().to(torch.uint8)


def _bank(parts: list[tuple[Tensor, ...]], prompts: Sequence[str]) -> Bank:
    shown, number, yaw, pitch, eyes = (torch.cat(each) for each in zip(*parts, strict=True))
    return Bank(shown, number, yaw, pitch, eyes, tuple(prompts))
