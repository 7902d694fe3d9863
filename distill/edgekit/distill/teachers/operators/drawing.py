"""Edits that draw: pencil, ink, charcoal, chalk, blueprint, neon, relief, comic."""

import math

import torch
from torch import Tensor

from edgekit.distill.teachers.operators.basics import (
    blurred,
    cells,
    color,
    contrasted,
    edges,
    graded,
    kuwahara,
    lines,
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


def _leveled(gray: Tensor) -> Tensor:
    """Local exposure evened out, so that a dark photo also gives a drawing."""
    base = blurred(gray, 24)
    return (gray - base + 0.5 + 0.35 * (base - 0.5)).clamp(0, 1)


def _dodged(gray: Tensor, sigma: float) -> Tensor:
    """Division by a blurred copy: paper where the photo is even, marks where it darkens."""
    return (gray / (blurred(gray, sigma) + 0.02)).clamp(0, 1)


def sketch(image: Tensor, strength: float) -> Tensor:
    """A soft graphite drawing with light shading on warm paper."""
    gray = smoothed(luma(image), 2, 0.04)
    marks = _dodged(gray, 5) ** grown(strength, 2.6, 4.0)
    shade = 0.62 + 0.38 * smoothstep(0.05, 0.75, _leveled(blurred(gray, 1.2)))
    tone = (marks * shade).clamp(0, 1)
    stops = [(0.13, 0.13, 0.15), (0.45, 0.45, 0.46), (0.76, 0.75, 0.74), (0.985, 0.98, 0.965)]
    return covered(image, graded(tone, stops), strength)


def ink(image: Tensor, strength: float) -> Tensor:
    """Black brush lines and solid shadows on white."""
    gray = smoothed(luma(image), 3, 0.06)
    line = lines(gray, width=1.3, detail=0.985, gain=grown(strength, 9, 14))
    level = _leveled(blurred(gray, 1.2))
    dark = smoothstep(0.24, 0.36, level)
    wash = 0.86 + 0.14 * smoothstep(0.36, 0.46, level)
    tone = torch.minimum(line, dark) * wash
    stops = [(0.04, 0.04, 0.06), (0.50, 0.50, 0.51), (0.99, 0.985, 0.97)]
    return covered(image, graded(tone, stops), strength)


def charcoal(image: Tensor, strength: float) -> Tensor:
    """Broad dark strokes rubbed into rough-toned paper."""
    gray = luma(kuwahara(image, 1.6))
    marks = _dodged(gray, 12) ** 1.7
    level = _leveled(gray)
    tone = marks * (0.22 + 0.78 * smoothstep(0.10, 0.72, level))
    tone = contrasted(tone, grown(strength, 1.2, 1.6), 0.55)
    stops = [(0.05, 0.05, 0.05), (0.30, 0.29, 0.28), (0.66, 0.64, 0.61), (0.93, 0.91, 0.87)]
    return covered(image, graded(tone, stops), strength)


def chalk(image: Tensor, strength: float) -> Tensor:
    """White chalk on a green blackboard."""
    gray = smoothed(luma(image), 2, 0.05)
    drawn = 1 - lines(gray, width=1.1, detail=0.98, gain=7)
    line = torch.maximum(0.9 * drawn, 0.55 * (1 - _dodged(gray, 3) ** 2))
    fill = 0.42 * smoothstep(0.40, 0.95, _leveled(blurred(gray, 1.5)))
    chalked = (line * grown(strength, 1.15, 1.6) + fill).clamp(0, 1)
    board = color(0.10, 0.20, 0.17, image) + 0.05 * (blurred(gray, 20) - 0.5)
    return covered(image, mix(board, color(0.95, 0.96, 0.92, image), chalked), strength)


def blueprint(image: Tensor, strength: float) -> Tensor:
    """White technical lines on blue paper with a faint grid."""
    gray = smoothed(luma(image), 2, 0.06)
    line = 1 - lines(gray, width=1.1, detail=0.98, gain=grown(strength, 8, 13))
    tone = 0.30 * _leveled(blurred(gray, 1.5))
    _, across, down = cells(image, max(4, round(32 * unit(image))))
    grid = 0.10 * torch.maximum((across < 0.04).to(image), (down < 0.04).to(image))
    paper = mix(color(0.03, 0.14, 0.42, image), color(0.22, 0.45, 0.78, image), tone * 1.6)
    paper = screen(paper, grid.expand_as(gray))
    return covered(image, mix(paper, color(0.93, 0.97, 1.0, image), line * 0.95), strength)


def neon(image: Tensor, strength: float) -> Tensor:
    """Glowing tubes along the contours of a dark scene, pink to cyan by brightness."""
    gray = smoothed(luma(image), 3, 0.05)
    tube = smoothstep(0.05, 0.34, edges(blurred(gray, 0.9)))
    place = blurred(gray, 5)
    stops = [
        (0.45, 0.20, 1.0),
        (1.0, 0.12, 0.72),
        (1.0, 0.25, 0.45),
        (0.15, 0.75, 1.0),
        (0.2, 1, 0.9),
    ]
    tint = graded(contrasted(place, 1.5, 0.45), stops)
    glow = blurred(tube * tint, 5) * grown(strength, 1.3, 2.0) + blurred(tube * tint, 1.2) * 0.6
    core = tube**2 * mix(tint, torch.ones_like(tint), 0.55)
    dark = image * color(0.10, 0.07, 0.20, image) + color(0.015, 0.01, 0.045, image)
    return covered(image, screen(screen(dark, glow.clamp(0, 1)), core), strength)


def emboss(image: Tensor, strength: float) -> Tensor:
    """A plaster relief lit from the upper left."""
    gray = smoothed(luma(image), 3, 0.05)
    total = torch.zeros_like(gray)
    for width, share in ((0.8, 1.0), (2.5, 1.4), (7.0, 2.0)):
        across, down = slopes(blurred(gray, width))
        total = total + share * (across + down)
    height = 0.25 * (blurred(gray, 3) - 0.5)
    tone = 0.60 + height + torch.tanh(total * grown(strength, 5.0, 8.0)) * 0.40
    stops = [(0.20, 0.19, 0.18), (0.50, 0.48, 0.46), (0.80, 0.78, 0.75), (1.0, 0.99, 0.97)]
    return covered(image, graded(tone.clamp(0, 1), stops), strength)


def comic(image: Tensor, strength: float) -> Tensor:
    """Flat bold colors, black contours and dotted shadows, as printed in a comic book."""
    flat = smoothed(kuwahara(image, 2.5), 3, 0.08)
    gray = luma(flat)
    step = grown(strength, 5, 4)
    soft = gray * step
    stair = (soft.floor() + smoothstep(0.35, 0.65, soft - soft.floor())) / step
    bold = (flat * (stair + 0.04) / (gray + 0.04)).clamp(0, 1)
    bold = contrasted(saturated(bold, 1.5), 1.12, 0.45) * 0.92 + 0.06
    _, across, down = cells(image, 8 if unit(image) >= 0.75 else 4)
    dot = 0.5 + 0.25 * (torch.cos(2 * math.pi * across) + torch.cos(2 * math.pi * down))
    shade = 1 - smoothstep(0.20, 0.46, gray)
    dotted = bold * (1 - 0.50 * shade * smoothstep(0.45, 0.65, dot))
    line = lines(luma(smoothed(image, 3, 0.10)), width=1.2, detail=0.965, gain=12)
    return covered(image, torch.minimum(dotted, dotted * line + 0.03), strength)
