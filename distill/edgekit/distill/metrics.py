"""How close a student's pictures are to the teacher's, beside doing nothing.

Every number is a mean over held-out pairs, at the student's size, from uint8 pictures. The feature
distance uses an ImageNet EfficientNet-Lite0 and is not LPIPS; as a training term uses the same
features, judge by MS-SSIM and FLIP too, which no training term sees.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import flip_evaluator
import numpy as np
import torch
from pytorch_msssim import ms_ssim
from torch import Tensor

from edgekit.core.tensors import Photo, Photos
from edgekit.distill.teachers.features import PerceptualDistance

IDENTICAL_DB = 999.0
"""Stands for the infinite PSNR of identical pictures, which JSON cannot hold."""
METRICS = ("l1", "psnr_db", "ms_ssim", "flip", "perceptual")
LOWER_IS_BETTER = frozenset({"l1", "flip", "perceptual"})


@lru_cache(maxsize=1)
def perceptual_distance() -> PerceptualDistance:
    """Return the frozen feature network; it is loaded once a process."""
    return PerceptualDistance()


def as_tensor(photos: Photos) -> Tensor:
    """Return uint8 photos (n, h, w, 3) as float (n, 3, h, w) in [-1, 1]."""
    stacked = np.ascontiguousarray(photos.transpose(0, 3, 1, 2))
    return torch.from_numpy(stacked).float().div_(127.5).sub_(1)


def as_photos(images: Tensor) -> Photos:
    """Return images (n, 3, h, w) in [-1, 1] as uint8 photos, rounded to nearest."""
    scaled = (images.detach().float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def compared(reference: Photo, candidate: Photo) -> dict[str, float]:
    """Return every metric of `METRICS` for one picture.

    ``l1`` is in [0, 1]; ``psnr_db`` has peak 255; ``ms_ssim`` uses an 11-pixel window, 7 below 176
    pixels a side, and NaN below 112, where five scales do not fit; ``flip`` is NVIDIA's FLIP for
    LDR pictures at its default viewing distance; ``perceptual`` is the EfficientNet-Lite0 distance.
    Raises ValueError if the shapes differ.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {candidate.shape}")
    one, two = reference.astype(np.float64), candidate.astype(np.float64)
    error = float(np.mean((one - two) ** 2))
    first, second = as_tensor(reference[None]), as_tensor(candidate[None])
    with torch.no_grad():
        features = float(perceptual_distance()(first, second))
    _, flip, _ = flip_evaluator.evaluate(
        (reference / 255).astype(np.float32),
        (candidate / 255).astype(np.float32),
        "LDR",
        applyMagma=False,
    )
    return {
        "l1": float(np.mean(np.abs(one - two)) / 255),
        "psnr_db": 10 * float(np.log10(255**2 / error)) if error else IDENTICAL_DB,
        "ms_ssim": _ms_ssim(first, second),
        "flip": float(flip),
        "perceptual": features,
    }


def _ms_ssim(first: Tensor, second: Tensor) -> float:
    side = min(first.shape[-2:])
    if side < 112:
        return float("nan")
    window = 11 if side >= 176 else 7
    return float(ms_ssim((first + 1) / 2, (second + 1) / 2, data_range=1.0, win_size=window))


def mean_compared(reference: Photos, candidate: Photos) -> dict[str, float | None]:
    """Return the mean of every metric over pictures, None where it is not defined."""
    rows = [compared(one, two) for one, two in zip(reference, candidate, strict=True)]
    means = {name: float(np.mean([row[name] for row in rows])) for name in METRICS}
    return {name: None if np.isnan(value) else round(value, 5) for name, value in means.items()}


def edited(network: Callable[[Tensor], Tensor], photos: Photos, *, batch: int = 8) -> Photos:
    """Run `network` on uint8 photos and return uint8 photos."""
    with torch.no_grad():
        parts = [
            as_photos(network(as_tensor(photos[i : i + batch])))
            for i in range(0, len(photos), batch)
        ]
    return np.concatenate(parts)


def quality(sources: Photos, teacher: Photos, student: Photos) -> dict[str, Any]:
    """Return the student's metrics against the teacher, and those of the untouched source."""
    return {
        "protocol": f"quality-1/{sources.shape[1]}px/uint8/mean over held-out pairs",
        "samples": len(sources),
        "student": mean_compared(teacher, student),
        "source": mean_compared(teacher, sources),
    }
