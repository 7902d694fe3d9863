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


class Draws(NamedTuple):
    """Random numbers of one step."""

    level: Tensor
    """B, from 0 to 1: where between the least and the last step."""
    shift: Tensor
    """B, from 0 to 1: how much of the largest shift."""
    noise: Tensor
    """Like the guide's latents."""


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
) -> Tensor:
    """Return a scalar whose gradient moves `pictures` (B x 3 x S x S in 0..1) to the guide's.

    `last` is the last step in use as a part of all, a scalar that shrinks during training. The
    value itself is half the mean square of the push, by which training can be watched.
    """
    resized = _of_size(pictures, guide.size_px) * 2 - 1
    clean = guide.latents(resized)
    with torch.no_grad():
        push = _push(guide, clean.detach(), wanted, draws, kind, guidance, last)
    target = clean.detach() - push
    return 0.5 * F.mse_loss(clean, target, reduction="sum") / len(clean) / clean[0, 0].numel()


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
    noisy = [_noised(clean, draws.noise, share)] * 2
    steps = [step, step]
    texts = [wanted.text, wanted.nothing.expand_as(wanted.text)]
    if kind == "asd":
        shifted = ((LEAST_STEP + way * (1 + SHIFT * draws.shift)) * count).long()
        shifted = shifted.clamp(0, count - 1)
        noisier = alphas[shifted].view_as(share)
        noisy.append(_noised(clean, draws.noise, noisier))
        steps.append(shifted)
        texts.append(wanted.text)
    seen = guide.noise(
        torch.cat(noisy), torch.cat(steps), torch.cat(texts), _repeated(wanted.cameras, len(noisy))
    )
    told, plain, *rest = seen.float().chunk(len(noisy))
    guided = plain + guidance * (told - plain)
    expected = rest[0] if rest else draws.noise
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
