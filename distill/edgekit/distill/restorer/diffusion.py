"""Noise levels, one step, and fifty: the same network as a one-step restorer and as a sampler.

A level u in [0, 1] is an angle of a quarter turn: noisy = cos * picture + sin * noise, and the
network answers velocity = cos * noise - sin * picture, so picture = cos * noisy - sin * velocity.

Source: Salimans and Ho 2022, "Progressive Distillation for Fast Sampling of Diffusion Models"
(arXiv:2202.00512), appendix D; Song et al. 2021, "Denoising Diffusion Implicit Models", eta = 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 50
"""Of the sampled baseline."""
REFERENCE_LEVEL = 0.02
"""Level at which references are read: nearly clean, as the paper's t = 1."""
ONE_STEP_LEVEL = 0.25
"""Level at which a degraded picture enters the one-step network, as the paper's t = 249."""


def cos_sin(level: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share of the picture and of the noise at `level`, shaped to multiply `like`."""
    angle = level.float() * (math.pi / 2)
    shape = (-1,) + (1,) * (like.dim() - 1)
    return angle.cos().view(shape), angle.sin().view(shape)


def noised(picture: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """Return the noisy picture of a level."""
    cos, sin = cos_sin(level, picture)
    return cos * picture + sin * noise


def velocity_of(picture: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """Return what the network should answer."""
    cos, sin = cos_sin(level, picture)
    return cos * noise - sin * picture


def picture_of(noisy: Tensor, velocity: Tensor, level: Tensor) -> Tensor:
    """Return the picture that a velocity points to."""
    cos, sin = cos_sin(level, noisy)
    return cos * noisy - sin * velocity


@torch.no_grad()
def sampled(velocity: Callable[[Tensor, Tensor], Tensor], noise: Tensor, *, steps: int) -> Tensor:
    """Return the picture that `steps` deterministic steps from pure `noise` lead to.

    `velocity` takes a noisy batch and its levels. The same noise gives the same picture.
    """
    now = noise
    levels = torch.linspace(1.0, 0.0, steps + 1).tolist()
    for level, following in itertools.pairwise(levels):
        here = torch.full((len(now),), level, device=now.device)
        there = torch.full((len(now),), following, device=now.device)
        answer = velocity(now, here)
        picture = picture_of(now, answer, here).clamp(-1, 1)
        # The noise that goes with the clamped picture at this level.
        cos, sin = cos_sin(here, now)
        left = (now - cos * picture) / sin
        now = noised(picture, left, there)
    return now
