"""Edits of weather and season: snow, fog, rain, frost, autumn, blossom, sandstorm."""

import torch
from torch import Tensor
from torch.nn import functional as F

from edgekit.distill.teachers.operators.basics import (
    blueness,
    blurred,
    boxed,
    color,
    contrasted,
    edges,
    graded,
    greenness,
    height_in_frame,
    luma,
    mix,
    saturated,
    screen,
    slopes,
    smoothed,
    smoothstep,
    unit,
)
from edgekit.distill.teachers.operators.strength import covered, grown


def snow(image: Tensor, strength: float) -> Tensor:
    """Winter: snow on foliage and on everything that faces up, cold shadows, a little mist."""
    gray = luma(image)
    _, down = slopes(blurred(gray, 1.6))
    _, wide = slopes(blurred(gray, 4))
    facing = smoothstep(0.012, 0.075, -(down + 1.5 * wide))
    leaves = greenness(blurred(image, 1))
    ground = 1 - smoothstep(0.30, 0.75, height_in_frame(image))
    earth = smoothstep(0.02, 0.20, image[:, :1] - image[:, 2:]) * ground
    cover = torch.maximum(facing * (1 - 0.8 * blueness(image)), 0.88 * leaves)
    cover = torch.maximum(cover, 0.55 * earth * (1 - facing)) * grown(strength, 0.90, 1.0)
    detail = (gray - blurred(gray, 7)).clamp(-0.35, 0.35)
    white = (0.83 + 1.15 * detail).clamp(0.25, 1) * color(0.95, 0.98, 1.02, image)
    cold = saturated(image, 0.45) * color(0.90, 0.98, 1.10, image) * 0.94 + 0.05
    mist = 0.10 + 0.16 * smoothstep(0.3, 0.9, height_in_frame(image))
    return covered(
        image, mix(mix(cold, white, cover), color(0.90, 0.93, 0.97, image), mist), strength
    )


def fog(image: Tensor, strength: float) -> Tensor:
    """A pale veil that thickens with distance: up the frame, and where the photo is hazy."""
    haze = blurred(-boxed(-image.amin(1, keepdim=True), 3), 5)
    far = 0.40 * smoothstep(0.05, 0.85, height_in_frame(image)) + 0.75 * haze
    density = grown(strength, 1.55, 2.4)
    through = torch.exp(-density * (0.22 + far))
    soft = mix(image, blurred(image, 2.2), 1 - through)
    veil = color(0.80, 0.825, 0.85, image)
    return covered(image, saturated(soft, 0.75) * through + veil * (1 - through), strength)


def rain(image: Tensor, strength: float) -> Tensor:
    """A wet grey day: streaks pulled down from the highlights, dark ground, cold light."""
    pixels = max(3, 2 * round(9 * unit(image)) + 1)
    gray = luma(image)
    detail = (gray - blurred(gray, 3)).clamp(0, 1)
    pad = pixels // 2
    streak = F.avg_pool2d(F.pad(detail, (0, 0, pad, pad), "reflect"), (pixels, 1), stride=1)
    streak = (streak - blurred(streak, 4)).clamp(0, 1) * grown(strength, 5, 8)
    wet = saturated(image, 0.55) ** 1.25 * color(0.66, 0.76, 0.88, image)
    ground = 1 - smoothstep(0.15, 0.60, height_in_frame(image))
    mirror = blurred(
        F.avg_pool2d(F.pad(wet, (0, 0, pad, pad), "reflect"), (pixels, 1), stride=1), 1
    )
    wet = mix(wet, contrasted(mirror, 1.25, 0.35) * 1.15, 0.60 * ground)
    veil = 0.14 + 0.22 * smoothstep(0.3, 1.0, height_in_frame(image))
    grey = mix(wet, color(0.56, 0.61, 0.66, image), veil)
    return covered(
        image, screen(grey, streak.clamp(0, 0.6) * color(0.8, 0.88, 0.95, image)), strength
    )


def frost(image: Tensor, strength: float) -> Tensor:
    """Everything iced over: white crystals along the edges, glassy blue in between."""
    gray = smoothed(luma(image), 2, 0.05)
    stops = [(0.05, 0.16, 0.30), (0.24, 0.50, 0.70), (0.62, 0.84, 0.94), (0.96, 0.99, 1.0)]
    ice = graded(contrasted(gray, 1.15, 0.5), stops)
    crystal = smoothstep(0.03, 0.30, edges(blurred(luma(image), 0.8)))
    rim = blurred(crystal, 2.5) * 0.45
    iced = mix(image * color(0.72, 0.92, 1.08, image), ice, 0.72)
    white = color(0.95, 0.985, 1.0, image)
    cover = (crystal * 0.72 + rim).clamp(0, 1) * grown(strength, 0.85, 1.0)
    return covered(image, mix(iced, white, cover), strength)


def autumn(image: Tensor, strength: float) -> Tensor:
    """Foliage in orange and red under a warm sun."""
    gray = luma(image)
    leaves = greenness(blurred(image, 0.8))
    stops = [
        (0.16, 0.03, 0.01),
        (0.56, 0.13, 0.03),
        (0.90, 0.40, 0.06),
        (1.0, 0.70, 0.20),
        (1, 0.93, 0.66),
    ]
    turned = graded((gray * 1.12).clamp(0, 1), stops)
    warm = image * color(1.07, 0.97, 0.84, image)
    warm = mix(warm, warm * color(1.06, 0.93, 0.76, image), 1 - blueness(image))
    share = leaves * grown(strength, 0.92, 1.0)
    return covered(image, mix(saturated(warm, 1.12), turned, share), strength)


def blossom(image: Tensor, strength: float) -> Tensor:
    """Spring: foliage turned to pink blossom in a light, milky air."""
    gray = luma(image)
    leaves = greenness(blurred(image, 0.8))
    stops = [
        (0.24, 0.07, 0.13),
        (0.66, 0.30, 0.44),
        (0.95, 0.60, 0.72),
        (1.0, 0.82, 0.88),
        (1, 0.97, 0.98),
    ]
    flower = graded((gray * 1.20 + 0.06).clamp(0, 1), stops)
    air = (image * 0.92 + 0.08) * color(1.04, 0.985, 1.01, image)
    share = leaves * grown(strength, 0.90, 1.0)
    lit = mix(air.clamp(0, 1), flower, share)
    glow = blurred(smoothstep(0.5, 1.0, gray) * color(1.0, 0.82, 0.88, image), 9)
    return covered(image, screen(lit, glow * 0.20), strength)


def sandstorm(image: Tensor, strength: float) -> Tensor:
    """Ochre dust in the air that swallows the distance."""
    gray = luma(image)
    haze = blurred(gray, 7)
    far = 0.45 * smoothstep(0.05, 0.9, height_in_frame(image)) + 0.40 * haze
    through = torch.exp(-grown(strength, 1.15, 2.0) * (0.12 + far))
    dry = mix(saturated(image, 0.7), gray.expand_as(image), 0.3) * color(1.08, 0.84, 0.58, image)
    dust = mix(color(0.66, 0.42, 0.20, image), color(0.90, 0.66, 0.36, image), haze)
    soft = mix(dry, blurred(dry, 1.8), 1 - through)
    return covered(image, soft * through + dust * (1 - through), strength)
