"""Edits of color: sepia, vintage film, infrared, thermal, pop art, underwater, X-ray."""

from torch import Tensor

from edgekit.distill.teachers.operators.basics import (
    blueness,
    blurred,
    color,
    contrasted,
    edges,
    graded,
    greenness,
    height_in_frame,
    lines,
    luma,
    mix,
    off_center,
    overlay,
    saturated,
    screen,
    smoothed,
    smoothstep,
)
from edgekit.distill.teachers.operators.strength import covered, grown


def sepia(image: Tensor, strength: float) -> Tensor:
    """An old brown-toned print."""
    gray = luma(image)
    tone = contrasted((gray + 0.3 * (gray - blurred(gray, 12))).clamp(0, 1), 1.05)
    stops = [(0.12, 0.07, 0.03), (0.46, 0.32, 0.19), (0.78, 0.64, 0.44), (0.98, 0.92, 0.78)]
    print_ = graded(tone, stops) * (1 - 0.30 * smoothstep(0.35, 1.0, off_center(image)))
    return covered(
        image, mix(print_, print_ * color(1.0, 0.92, 0.80, image), grown(strength, 0, 1)), strength
    )


def vintage(image: Tensor, strength: float) -> Tensor:
    """Faded film of the seventies: lifted blacks, teal shadows, creamy lights, a dark frame."""
    gray = luma(image)
    soft = mix(image, blurred(image, 1.0), 0.35)
    faded = saturated(soft, 0.72) * 0.80 + 0.12
    teal = overlay(faded, color(0.40, 0.52, 0.54, image).expand_as(image))
    cream = overlay(faded, color(0.66, 0.55, 0.38, image).expand_as(image))
    toned = mix(teal, cream, smoothstep(0.2, 0.75, gray))
    leak = smoothstep(0.2, 1.1, off_center(image)) * height_in_frame(image)
    toned = screen(toned, leak * color(0.22, 0.07, 0.0, image) * grown(strength, 1.0, 2.0))
    return covered(image, toned * (1 - 0.34 * smoothstep(0.3, 1.0, off_center(image))), strength)


def infrared(image: Tensor, strength: float) -> Tensor:
    """Infrared film: foliage snow-white to pink, skies nearly black, a dreamy glow."""
    gray = luma(image)
    leaves = greenness(blurred(image, 0.7))
    sky = blueness(blurred(image, 2.5))
    warm = smoothstep(0.0, 0.3, image[:, :1] - image[:, 2:])
    tone = gray * (1 - 0.62 * sky) + leaves * (0.42 - 0.20 * gray) + 0.10 * warm
    tone = contrasted(tone.clamp(0, 1), 1.15, 0.45)
    stops = [(0.02, 0.03, 0.08), (0.20, 0.22, 0.36), (0.62, 0.58, 0.66), (1.0, 0.95, 0.95)]
    film = graded(tone, stops)
    rose = film * color(1.0, 0.70, 0.78, image)
    film = mix(film, rose, leaves * grown(strength, 0.55, 1.0))
    glow = blurred(smoothstep(0.6, 1.0, tone), 6) * 0.25
    return covered(image, screen(film, glow), strength)


def thermal(image: Tensor, strength: float) -> Tensor:
    """A heat camera: black and violet where cold, through red and yellow to white."""
    warm = 0.16 * (image[:, :1] - image[:, 2:])
    heat = smoothed(luma(image) + warm, 3, 0.07)
    heat = contrasted(heat.clamp(0, 1), grown(strength, 1.12, 1.35), 0.48)
    stops = [
        (0.01, 0.0, 0.10),
        (0.22, 0.02, 0.48),
        (0.60, 0.04, 0.52),
        (0.93, 0.28, 0.18),
        (1.0, 0.62, 0.05),
        (1.0, 0.92, 0.30),
        (1.0, 1.0, 0.95),
    ]
    return covered(image, graded(heat, stops), strength)


def pop_art(image: Tensor, strength: float) -> Tensor:
    """A screen print in five loud inks with a dark key line."""
    gray = smoothed(luma(image), 4, 0.10)
    base = blurred(gray, 30)
    level = (gray - 0.55 * (base - 0.5)).clamp(0, 1)
    bands = [
        (0.16, 0.04, 0.36),
        (0.93, 0.10, 0.48),
        (1.0, 0.46, 0.12),
        (1.0, 0.86, 0.10),
        (0.62, 0.95, 0.90),
    ]
    scaled = contrasted(level, grown(strength, 1.9, 2.2), 0.5) * (len(bands) - 1)
    stair = (scaled.floor() + smoothstep(0.42, 0.58, scaled - scaled.floor())) / (len(bands) - 1)
    inked = graded(stair, bands)
    line = lines(smoothed(luma(image), 2, 0.08), width=1.3, detail=0.985, gain=8)
    return covered(image, mix(color(0.10, 0.03, 0.22, image), inked, line), strength)


def underwater(image: Tensor, strength: float) -> Tensor:
    """Below the surface: red light gone, blue-green depth, light rippling from above."""
    gray = luma(image)
    height = height_in_frame(image)
    deep = mix(color(0.01, 0.16, 0.30, image), color(0.10, 0.55, 0.62, image), height)
    through = grown(strength, 0.66, 0.48)
    tinted = image * color(0.34, 0.88, 0.92, image)
    tinted = mix(blurred(tinted, 1.6), tinted, 0.45)
    water = tinted * through + deep * (1 - through)
    ripple = smoothstep(0.02, 0.16, edges(blurred(gray, 3))) * (0.25 + 0.75 * height)
    lit = screen(water, blurred(ripple, 1.5) * color(0.25, 0.62, 0.58, image) * 0.42)
    return covered(image, contrasted(lit, 1.15, 0.42), strength)


def xray(image: Tensor, strength: float) -> Tensor:
    """An X-ray plate: inverted tones, pale blue on black, bright outlines."""
    gray = luma(image)
    film = 1 - (gray + 0.5 * (gray - blurred(gray, 9))).clamp(0, 1)
    rim = smoothstep(0.04, 0.35, edges(blurred(gray, 1.0)))
    tone = (film**1.5 * 0.75 + rim * grown(strength, 0.25, 0.45)).clamp(0, 1)
    stops = [(0.0, 0.01, 0.03), (0.08, 0.22, 0.34), (0.50, 0.72, 0.82), (0.97, 1.0, 1.0)]
    return covered(image, graded(tone, stops), strength)
