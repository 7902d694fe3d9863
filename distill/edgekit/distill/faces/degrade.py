"""Degradations of portraits, batched on the pictures' own device and differentiable.

Each picture gets, in its own random order: an anisotropic Gaussian blur, a resampling to few pixels
and back, noise, and JPEG. Strengths are given for a side of 512 pixels and scale with the side, so
that a severity means the same at every size.

Blur is a product in the frequency domain, exact for every covariance; down and up again is a pair
of matrix products, one matrix for each number of remaining pixels. Both cost the same for every
strength and run on whole batches; JPEG is kornia's differentiable codec.

Source: "severe" follows the recipe of InstantRestore (arXiv:2412.06753), whose order is fixed;
"extreme" leaves 13 to 32 pixels a side, too few to tell who it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from edgekit.core.errors import unknown_name

STAGES = ("blur", "resample", "noise", "jpeg")
REFERENCE_PX = 512


@dataclass(frozen=True, slots=True)
class Severity:
    """Ranges, from and to, of one severity; pixels are those of a side of 512."""

    blur_px: tuple[float, float]
    """Standard deviation of the blur along each of its two axes."""
    shrink: tuple[float, float]
    """Times that the side shrinks before it is stretched again."""
    noise: tuple[float, float]
    """Standard deviation of the noise, in grey levels of 255."""
    jpeg: tuple[float, float]
    """Quality of the JPEG file."""


SEVERITIES = {
    "mild": Severity((0.1, 4.0), (1.0, 4.0), (0.0, 6.0), (50.0, 90.0)),
    "medium": Severity((0.5, 8.0), (2.0, 8.0), (4.0, 14.0), (25.0, 60.0)),
    "severe": Severity((1.0, 12.0), (6.0, 20.0), (10.0, 25.0), (8.0, 25.0)),
    "extreme": Severity((2.0, 16.0), (16.0, 40.0), (10.0, 25.0), (8.0, 25.0)),
}
MIXED = "mixed"
"""A severity drawn anew for each picture."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What happens to each picture of a batch; on the processor, B numbers each."""

    order: Tensor
    """B x 4: place of each of `STAGES` in the order."""
    sigma: Tensor
    """B x 2: blur along its axes, in pixels of the picture."""
    angle: Tensor
    remaining: Tensor
    """Pixels that a side keeps when it is shrunk."""
    noise: Tensor
    jpeg: Tensor
    seeds: tuple[int, ...]
    """Of the noise, each for an equal share of the pictures."""


def drawn_damage(count: int, size_px: int, severity: str, generator: torch.Generator) -> Damage:
    """Draw what happens to `count` pictures of side `size_px`.

    Raises EdgekitError for an unknown severity; "mixed" draws one for each picture.
    """
    if severity not in (*SEVERITIES, MIXED):
        raise unknown_name("severity", severity, (*SEVERITIES, MIXED))
    named = list(SEVERITIES.values())
    which = torch.randint(len(named), (count,), generator=generator)
    if severity != MIXED:
        which.fill_(list(SEVERITIES).index(severity))
    share = size_px / REFERENCE_PX

    def between(field: str, *shape: int) -> Tensor:
        ranges = torch.tensor([getattr(level, field) for level in named])[which]
        low, high = (ranges[:, i].view(-1, *(1 for _ in shape)) for i in (0, 1))
        return low + (high - low) * torch.rand((count, *shape), generator=generator)

    shrink = (between("shrink") * share).clamp(min=1.0)
    return Damage(
        order=torch.rand(count, len(STAGES), generator=generator).argsort(1).argsort(1),
        sigma=between("blur_px", 2) * share,
        angle=torch.rand(count, generator=generator) * math.pi,
        remaining=(size_px / shrink).round().long().clamp(4, size_px),
        noise=between("noise"),
        jpeg=between("jpeg"),
        seeds=(int(torch.randint(2**31, (), generator=generator)),),
    )


def joined(damages: Sequence[Damage]) -> Damage:
    """Return what happens to several batches of one size as one; every picture keeps its own."""
    names = ("order", "sigma", "angle", "remaining", "noise", "jpeg")
    parts = {name: torch.cat([getattr(one, name) for one in damages]) for name in names}
    return Damage(**parts, seeds=tuple(seed for one in damages for seed in one.seeds))


def damaged(images: Tensor, damage: Damage) -> Tensor:
    """Degrade square `images` (B x 3 x S x S in [0, 1]) as `damage` says; stays in [0, 1].

    Deterministic on one kind of device: processors and GPUs draw other noise from the same seed.
    """
    share = images[: len(images) // len(damage.seeds)]
    noise = torch.cat([_noise(share, seed) for seed in damage.seeds])
    for place in range(len(STAGES)):
        parts = []
        rows = []
        for number, stage in enumerate(STAGES):
            row = (damage.order[:, number] == place).nonzero()[:, 0]
            if len(row) == 0:
                continue
            there = row.to(images.device)
            parts.append(_applied(stage, images[there], noise[there], damage, row))
            rows.append(row)
        back = torch.cat(rows).argsort().to(images.device)
        images = torch.cat(parts)[back]
    return images


def _noise(like: Tensor, seed: int) -> Tensor:
    dice = torch.Generator(like.device).manual_seed(seed)
    return torch.randn(like.shape, generator=dice, device=like.device, dtype=like.dtype)


def _applied(stage: str, images: Tensor, noise: Tensor, damage: Damage, row: Tensor) -> Tensor:
    device = images.device
    if stage == "blur":
        return blurred(images, damage.sigma[row].to(device), damage.angle[row].to(device))
    if stage == "resample":
        return resampled(images, damage.remaining[row])
    if stage == "noise":
        level = damage.noise[row].to(device).view(-1, 1, 1, 1) / 255
        return (images + noise * level).clamp(0, 1)
    return jpegged(images, damage.jpeg[row].to(device))


def blurred(images: Tensor, sigma: Tensor, angle: Tensor) -> Tensor:
    """Blur each picture by its own Gaussian: `sigma` B x 2 pixels along axes turned by `angle`."""
    side = images.shape[-1]
    most = max(level.blur_px[1] for level in SEVERITIES.values())
    pad = min(side - 1, 3 * max(1, math.ceil(side * most / REFERENCE_PX)))
    wide = F.pad(images, (pad, pad, pad, pad), mode="reflect")
    size = wide.shape[-1]
    fy = torch.fft.fftfreq(size, device=images.device)[:, None]
    fx = torch.fft.rfftfreq(size, device=images.device)[None]
    cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    along = (cos * fx + sin * fy) * sigma[:, 0].view(-1, 1, 1)
    across = (cos * fy - sin * fx) * sigma[:, 1].view(-1, 1, 1)
    gain = torch.exp(-2 * math.pi**2 * (along**2 + across**2))
    spread: Tensor = torch.fft.irfft2(torch.fft.rfft2(wide) * gain[:, None], s=(size, size))
    return spread[..., pad : pad + side, pad : pad + side].clamp(0, 1)


def resampled(images: Tensor, remaining: Tensor) -> Tensor:
    """Shrink each picture to its number of pixels a side (antialiased) and stretch it again."""
    side = images.shape[-1]
    through = torch.stack([_matrix(side, kept, images.device) for kept in remaining.tolist()])
    rows = torch.matmul(through[:, None], images)
    return torch.matmul(rows, through[:, None].transpose(-1, -2)).clamp(0, 1)


@lru_cache(maxsize=1024)
def _matrix(side: int, kept: int, device: torch.device) -> Tensor:
    """Return the side x side matrix that shrinks a column to `kept` values and stretches it."""
    columns = torch.eye(side)[None, None]
    small = F.interpolate(columns, (kept, side), mode="bicubic", antialias=True)
    return F.interpolate(small, (side, side), mode="bicubic")[0, 0].to(device)


def jpegged(images: Tensor, quality: Tensor) -> Tensor:
    """Send each picture through JPEG at its own quality (0 to 100); gradients pass."""
    from edgekit.distill.faces.packages import kornia

    side = images.shape[-1]
    missing = -side % 16  # the codec needs whole blocks of halved chroma
    wide = F.pad(images, (0, missing, 0, missing), mode="replicate")
    sent: Tensor = kornia().enhance.jpeg_codec_differentiable(wide, quality)
    return sent[..., :side, :side].clamp(0, 1)
