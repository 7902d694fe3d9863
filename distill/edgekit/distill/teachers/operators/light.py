"""Edits that change the light: night, moonlight, sunset, golden hour, noir, cyberpunk."""

import torch
from torch import Tensor

from edgekit.distill.teachers.operators.basics import (
    blueness,
    blurred,
    color,
    contrasted,
    graded,
    height_in_frame,
    luma,
    mix,
    off_center,
    overlay,
    saturated,
    screen,
    smoothstep,
)
from edgekit.distill.teachers.operators.strength import covered, grown


def night(image: Tensor, strength: float) -> Tensor:
    """After dark: deep blue shadows, the sky gone, the brightest warm spots still lit."""
    gray = luma(image)
    sky = torch.maximum(blueness(image), smoothstep(0.55, 0.9, blurred(gray, 6)))
    dark = saturated(image, 0.55) ** 1.35
    dark = dark * color(0.26, 0.36, 0.66, image) * grown(strength, 0.95, 0.62)
    dark = dark * (1 - 0.42 * sky * smoothstep(0.15, 0.75, height_in_frame(image)))
    dark = dark + color(0.012, 0.018, 0.05, image)
    warmth = smoothstep(0.02, 0.22, image[:, :1] - image[:, 2:])
    lamp = smoothstep(0.66, 0.95, gray) * warmth
    light = lamp * color(1.0, 0.72, 0.34, image)
    lit = screen(dark, light * 0.55 * image)
    return covered(image, screen(lit, blurred(light, 8) * 0.30), strength)


def moonlight(image: Tensor, strength: float) -> Tensor:
    """Silver light on a clear night, with bright rims and black-blue shadows."""
    gray = luma(image)
    local = (gray + 0.9 * (gray - blurred(gray, 12))).clamp(0, 1)
    tone = (local ** grown(strength, 1.5, 1.9)).clamp(0, 1)
    stops = [(0.01, 0.02, 0.07), (0.10, 0.16, 0.30), (0.36, 0.47, 0.62), (0.90, 0.95, 1.0)]
    silver = graded(tone, stops)
    silver = mix(silver, image * color(0.45, 0.55, 0.75, image), 0.18)
    halo = blurred(smoothstep(0.6, 0.95, gray) * color(0.65, 0.78, 1.0, image), 9)
    return covered(image, screen(silver, halo * 0.28), strength)


def sunset(image: Tensor, strength: float) -> Tensor:
    """A low red sun: burning sky, violet shadows, warm rims."""
    gray = luma(image)
    height = height_in_frame(image)
    stops = [
        (0.09, 0.04, 0.16),
        (0.42, 0.13, 0.25),
        (0.90, 0.40, 0.20),
        (1.0, 0.72, 0.34),
        (1, 0.93, 0.70),
    ]
    fire = graded(gray, stops)
    toned = mix(image * color(1.0, 0.70, 0.56, image), fire, grown(strength, 0.56, 0.78))
    bright = smoothstep(0.45, 0.9, blurred(gray, 5))
    rose = mix(color(1.0, 0.55, 0.22, image), color(0.78, 0.34, 0.52, image), height)
    toned = mix(toned, overlay(toned, rose), 0.55 * bright)
    glow = blurred(bright * color(1.0, 0.52, 0.20, image), 14)
    return covered(image, screen(contrasted(toned, 1.12, 0.4), glow * 0.24), strength)


def golden_hour(image: Tensor, strength: float) -> Tensor:
    """Soft honey-colored light with a gentle haze."""
    gray = luma(image)
    warm = image * color(1.12, 0.96, 0.66, image)
    warm = mix(warm, overlay(warm, color(0.86, 0.62, 0.32, image).expand_as(image)), 0.42)
    haze = blurred(smoothstep(0.35, 1.0, gray) * color(1.0, 0.80, 0.42, image), 12)
    lit = screen(warm.clamp(0, 1) * 0.94, haze * grown(strength, 0.36, 0.55))
    shadow = (1 - smoothstep(0.0, 0.4, gray)) * color(0.10, 0.035, 0.03, image)
    return covered(image, screen(lit, shadow), strength)


def noir(image: Tensor, strength: float) -> Tensor:
    """A hard black-and-white film still with deep blacks and a dark frame."""
    gray = luma(image)
    local = (gray + 0.8 * (gray - blurred(gray, 16))).clamp(0, 1)
    hard = smoothstep(0.04, 0.92, local) ** grown(strength, 1.15, 1.5)
    frame = 1 - 0.55 * smoothstep(0.25, 1.0, off_center(image))
    halo = blurred(smoothstep(0.72, 1.0, hard), 5) * 0.16
    return covered(image, screen(hard * frame, halo).expand_as(image), strength)


def cyberpunk(image: Tensor, strength: float) -> Tensor:
    """A neon-lit city night: teal shadows, magenta lights, glowing highlights."""
    gray = luma(image)
    local = contrasted((gray + 0.6 * (gray - blurred(gray, 10))).clamp(0, 1), 1.25, 0.42)
    stops = [
        (0.02, 0.01, 0.09),
        (0.05, 0.16, 0.36),
        (0.48, 0.10, 0.62),
        (1.0, 0.28, 0.66),
        (0.75, 0.98, 1.0),
    ]
    split = graded(local, stops)
    toned = mix(saturated(image, 1.3) * color(0.72, 0.50, 1.0, image), split, 0.72)
    lights = smoothstep(0.52, 0.92, local)
    glow = blurred(lights * color(1.0, 0.22, 0.75, image), 7)
    cool = blurred(lights, 18) * color(0.05, 0.75, 1.0, image)
    lit = screen(toned, glow * grown(strength, 0.42, 0.7))
    return covered(image, screen(lit, cool * 0.25), strength)
