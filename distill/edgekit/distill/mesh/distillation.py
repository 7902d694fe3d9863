"""What a picture model says about a render, as a loss: score distillation in two forms.

Both add noise to the render, ask the guide which noise it sees, and push the render to where the
guide's answer differs from what should be subtracted:

    SDS   guided(t) - noise                 DreamFusion (Poole et al. 2022, arXiv:2209.14988)
    ASD   guided(t) - plain(t + shift)      ScaleDreamer (Ma et al. 2024, arXiv:2407.02040)

`guided` is classifier-free guidance. The noise itself has a large variance that the generator
cannot follow; in ASD the guide's own prediction at a noisier step of the same noise stands in its
place. ScaleDreamer shifts by up to a tenth of the way from the least step.

Shape key, used as name suffixes in this file:
    B pictures   S side of a picture   T steps   L tokens   C channels of a token
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from edgekit.distill.mesh.guide import Guide
from edgekit.distill.render.views import Cameras

Distillation = Literal["asd", "sds"]
LEAST_STEP, LAST_STEP = 0.02, 0.98
"""Parts of the guide's steps that are used, at the start of training."""
SHIFT = 0.1
"""Largest shift of ASD, as a part of the way from the least step."""


STRENGTH, MOST = 0.15, 30.0
"""Root mean square that the push of a step is scaled to, by at most this factor. So a weight of the
other terms means the same whatever the guide, the loss and the guidance: the push of ASD is a tenth
of that of SDS. Pictures that are right are left alone."""


class Draws(NamedTuple):
    """Random numbers of one step."""

    level: Tensor
    """B, from 0 to 1: where between the least and the last step."""
    shift: Tensor
    """B, from 0 to 1: how much of the largest shift."""
    noise: Tensor
    """Like the guide's latents."""


class Score(NamedTuple):
    """Scalars."""

    loss: Tensor
    """Its gradient moves the pictures to the guide's."""
    push: Tensor
    """Root mean square of the push before it was scaled, by which training can be watched."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the pictures of a step shall show."""

    text: Tensor
    """B x L x C."""
    nothing: Tensor
    """1 x L x C, of the empty prompt."""
    cameras: Cameras


def score_loss(
    guide: Guide,
    pictures: Tensor,
    wanted: Wanted,
    draws: Draws,
    *,
    kind: Distillation,
    guidance: float,
    last: Tensor,
) -> Score:
    """Return what the guide says of `pictures`, B x 3 x S x S from 0 to 1.

    `last` is the last step in use as a part of all, a scalar that shrinks during training.
    """
    resized = _of_size(pictures, guide.size_px) * 2 - 1
    clean = guide.latents(resized)
    with torch.no_grad():
        push = _push(guide, clean.detach(), wanted, draws, kind, guidance, last)
        size = push.square().mean().sqrt()
        push = push * (STRENGTH / size.clamp(min=STRENGTH / MOST))
    # The sum over channels and the mean over all else; its gradient is the push.
    return Score((clean * push).sum(1).mean(), size)


def _push(
    guide: Guide,
    clean: Tensor,
    wanted: Wanted,
    draws: Draws,
    kind: Distillation,
    guidance: float,
    last: Tensor,
) -> Tensor:
    alphas = guide.alphas
    count = len(alphas)
    way = draws.level * (last - LEAST_STEP)
    step = ((LEAST_STEP + way) * count).long().clamp(0, count - 1)
    share = alphas[step].view(-1, *[1] * (clean.ndim - 1))
    noisy, steps, texts = [_noised(clean, draws.noise, share)], [step], [wanted.text]
    if guidance != 1:
        noisy += noisy
        steps += steps
        texts.append(wanted.nothing.expand_as(wanted.text))
    if kind == "asd":
        shifted = ((LEAST_STEP + way * (1 + SHIFT * draws.shift)) * count).long()
        shifted = shifted.clamp(0, count - 1)
        noisy.append(_noised(clean, draws.noise, alphas[shifted].view_as(share)))
        steps.append(shifted)
        texts.append(wanted.text)
    cameras = _repeated(wanted.cameras, len(noisy))
    seen = guide.noise(torch.cat(noisy), torch.cat(steps), torch.cat(texts), cameras)
    told, *rest = seen.float().chunk(len(noisy))
    guided = told if guidance == 1 else rest[0] + guidance * (told - rest[0])
    expected = rest[-1] if kind == "asd" else draws.noise
    # A guide in low precision may answer with numbers that are none; they say nothing.
    return torch.nan_to_num((1 - share) * (guided - expected), 0.0, 0.0, 0.0)


def _noised(clean: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    return share.sqrt() * clean + (1 - share).sqrt() * noise


def _of_size(pictures: Tensor, size_px: int) -> Tensor:
    if pictures.shape[-1] == size_px:
        return pictures
    if pictures.shape[-1] > size_px:
        return F.interpolate(pictures, (size_px, size_px), mode="area")
    return F.interpolate(pictures, (size_px, size_px), mode="bilinear", align_corners=False)


def _repeated(cameras: Cameras, times: int) -> Cameras:
    parts = (cameras.yaw, cameras.pitch, cameras.distance, cameras.field_deg)
    return Cameras(*(part.repeat(times) for part in parts))
