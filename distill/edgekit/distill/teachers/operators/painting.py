"""Edits that paint: watercolor, oil, cartoon, pastel, stained glass, impasto gold."""

import torch
from torch import Tensor

from edgekit.distill.teachers.operators.basics import (
    blurred,
    color,
    contrasted,
    edges,
    graded,
    kuwahara,
    lines,
    luma,
    mix,
    overlay,
    saturated,
    screen,
    slopes,
    smoothed,
    smoothstep,
)
from edgekit.distill.teachers.operators.strength import covered, grown


def watercolor(image: Tensor, strength: float) -> Tensor:
    """Light washes that pool along the edges and leave the paper bare in the lights."""
    wash = kuwahara(kuwahara(image, 2.2), grown(strength, 2.2, 5))
    wash = saturated(wash, 1.35)
    lifted = 1 - (1 - wash) ** 1.35 * 0.86
    paper = smoothstep(0.72, 0.98, luma(lifted))
    lifted = mix(lifted, color(0.985, 0.975, 0.95, image), paper * 0.75)
    gray = luma(wash)
    pool = smoothstep(0.03, 0.25, edges(blurred(gray, 1.0)))
    bloom = (gray - blurred(gray, 9)).clamp(-0.2, 0.2)
    painted = lifted * (1 - 0.34 * pool * (1 - paper)) * (1 + 0.35 * bloom)
    line = lines(luma(smoothed(image, 2, 0.07)), width=0.9, detail=0.98, gain=5)
    painted = mix(painted, painted * color(0.42, 0.36, 0.40, image), (1 - line) * 0.55)
    return covered(image, painted, strength)


def oil(image: Tensor, strength: float) -> Tensor:
    """Thick strokes with rich color and light catching on the relief of the paint."""
    stroke = kuwahara(image, grown(strength, 2.6, 5))
    stroke = kuwahara(stroke, 1.8)
    gray = luma(stroke)
    local = (stroke * 0.96 + 0.45 * (gray - blurred(gray, 14))).clamp(0, 1)
    rich = contrasted(saturated(local, 1.5), 1.12, 0.42)
    across, down = slopes(luma(rich))
    relief = 0.5 + torch.tanh((across + down) * 4) * 0.25
    return covered(image, overlay(rich, relief), strength)


def cartoon(image: Tensor, strength: float) -> Tensor:
    """Flat bright areas with dark soft outlines."""
    flat = smoothed(smoothed(kuwahara(image, 2), 5, 0.12), 5, 0.10)
    gray = luma(flat)
    step = grown(strength, 6, 4)
    scaled = gray * step
    stair = (scaled.floor() + smoothstep(0.25, 0.75, scaled - scaled.floor())) / step
    bright = saturated((flat + (stair - gray) * 0.8).clamp(0, 1), 1.6)
    bright = 1 - (1 - bright) ** 1.15
    line = lines(luma(smoothed(image, 3, 0.08)), width=1.4, detail=0.985, gain=8)
    return covered(image, mix(color(0.10, 0.07, 0.10, image) * 0.8, bright, line), strength)


def pastel(image: Tensor, strength: float) -> Tensor:
    """Chalky, milky colors as in a soft pastel drawing."""
    soft = smoothed(kuwahara(image, 2.5), 4, 0.08)
    gray = luma(soft)
    milk = 0.50 + 0.46 * (1 - (1 - gray) ** 1.25)
    tint = (soft - gray) * grown(strength, 0.85, 0.6)
    cool = color(0.93, 0.94, 1.0, image)
    warm = color(1.0, 0.965, 0.93, image)
    drawn = (milk + tint) * mix(cool, warm, smoothstep(0.2, 0.8, gray))
    mark = _mark(image)
    return covered(image, mix(drawn * color(0.72, 0.68, 0.76, image), drawn, mark), strength)


def _mark(image: Tensor) -> Tensor:
    gray = smoothed(luma(image), 2, 0.05)
    return ((gray / (blurred(gray, 5) + 0.02)).clamp(0, 1)) ** 2.2


def stained_glass(image: Tensor, strength: float) -> Tensor:
    """Panes of glowing color held by dark lead."""
    flat = kuwahara(kuwahara(image, 3.5), 4.5, 10)
    gray = luma(flat)
    step = 5.0
    scaled = gray * step
    part = scaled - scaled.floor()
    stair = (scaled.floor() + smoothstep(0.4, 0.6, part)) / step
    pane = saturated((flat + (stair - gray)).clamp(0, 1), grown(strength, 2.1, 2.8))
    pane = contrasted(pane, 1.25, 0.42)
    lead = smoothstep(0.05, 0.16, edges(blurred(stair, 1.2)))
    glow = screen(pane, blurred(pane, 6) * 0.30)
    return covered(image, mix(glow, color(0.05, 0.05, 0.07, image), lead), strength)


def gold(image: Tensor, strength: float) -> Tensor:
    """A relief cast in polished gold."""
    gray = smoothed(luma(image), 2, 0.05)
    base = blurred(gray, 16)
    shape = (gray - base) * 1.3 + 0.42 + 0.35 * (base - 0.5)
    across, down = slopes(blurred(gray, 1.2))
    shine = torch.tanh((across + down) * grown(strength, 6.0, 9.0)) * 0.28
    tone = (shape + shine).clamp(0, 1)
    stops = [
        (0.09, 0.04, 0.01),
        (0.42, 0.22, 0.04),
        (0.80, 0.54, 0.12),
        (0.98, 0.82, 0.38),
        (1, 0.98, 0.84),
    ]
    return covered(image, graded(tone, stops), strength)
