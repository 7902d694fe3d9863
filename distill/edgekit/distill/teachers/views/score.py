"""Whether drawn pictures show what they were asked for, from where: an independent judge says.

Shape key:
    B pictures   P prompts
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from edgekit.distill.render.views import Cameras, cameras_at
from edgekit.distill.teachers.views.bank import EYES_SEEN
from edgekit.distill.teachers.views.judge import SIZE_PX, WORDS, Judge, labels_of
from edgekit.distill.teachers.views.renders import cutouts, seen
from edgekit.distill.teachers.views.world import world_mesh


def scored(judge: Judge, pictures: Tensor, asked: Sequence[str], eyes: Tensor) -> dict[str, float]:
    """Return the share of `pictures` (B x 3 x S x S in 0..1) that answer to what was `asked`.

    `eyes` tells of each picture whether its camera should see eyes. `prompt` is R-precision: the
    prompt asked for is that, among all that were asked, which the judge finds likeliest.
    """
    wanted = {**labels_of(asked), "eyes": eyes.long()}
    said = judge.log_probs(pictures)
    right = {
        name: float((said[name].argmax(1).cpu() == wanted[name].cpu()).float().mean())
        for name in WORDS
    }
    known = sorted(set(asked))
    found = judge.scores(pictures, known).argmax(1).tolist()
    hits = [known[place] == prompt for place, prompt in zip(found, asked, strict=True)]
    return {**right, "prompt": sum(hits) / len(hits)}


@torch.no_grad()
def eyes_expected(asked: Sequence[str], cameras: Cameras) -> Tensor:
    """Return B bools: whether each camera would see the eyes of the toy that was asked for."""
    expected = []
    for place, prompt in enumerate(asked):
        mesh = world_mesh(prompt)
        assert mesh.eyes is not None
        shares = seen(mesh, cameras[place : place + 1], SIZE_PX).shares(mesh.eyes)
        expected.append(shares[0] >= EYES_SEEN)
    return torch.stack(expected)


def renders(
    asked: Sequence[str], cameras: Cameras, size_px: int, backgrounds: Tensor, *, seed: int
) -> Tensor:
    """Return what a perfect teacher would draw: B x 3 x S x S, toys of `seed` over colors."""
    pictures = []
    for place, prompt in enumerate(asked):
        cut = cutouts(world_mesh(prompt, seed), cameras[place : place + 1], size_px)[0]
        pictures.append(cut[:3] + (1 - cut[3:]) * backgrounds[place][:, None, None])
    return torch.stack(pictures)


def from_where(pictures: Tensor, asked: Sequence[str], cameras: Cameras) -> float:
    """Return the share of `pictures` that look more like their view than one a quarter turn on.

    Both views are rendered over the color of the picture's own border; guessing gives a half.
    """
    border = torch.cat([pictures[..., 0, :], pictures[..., -1, :]], -1).median(-1).values
    turned = cameras_at(cameras.yaw + math.pi / 2, cameras.pitch)
    errors = [
        (renders(asked, where, pictures.shape[-1], border, seed=0) - pictures)
        .square()
        .mean((1, 2, 3))
        for where in (cameras, turned)
    ]
    return float((errors[0] < errors[1]).float().mean())
