"""Edits with a fixed grid: mosaic, halftone, pixel art.

The cells measure 8 (or 4) pixels whatever the image size: a network that works on a grid of 8x8
blocks can learn a pattern that sits on this grid, and cannot learn one that drifts across it.
"""

import math

import torch
from torch import Tensor

from edgekit.distill.teachers.operators.basics import (
    blurred,
    cells,
    color,
    contrasted,
    luma,
    mix,
    overlay,
    saturated,
    smoothed,
    smoothstep,
)
from edgekit.distill.teachers.operators.strength import covered, grown


def mosaic(image: Tensor, strength: float) -> Tensor:
    """Small glazed tiles with beveled rims and dark grout."""
    bright = contrasted(saturated(image, grown(strength, 1.45, 1.9)), 1.1)
    tile, across, down = cells(bright, 8)
    edge = torch.minimum(torch.minimum(across, 1 - across), torch.minimum(down, 1 - down))
    bevel = 0.5 + 0.16 * (0.5 - across) + 0.16 * (0.5 - down)
    glazed = overlay(tile, bevel.expand_as(tile))
    inside = (edge > 0.1).to(image)
    return covered(image, mix(tile * 0.30 + 0.05, glazed, inside), strength)


def halftone(image: Tensor, strength: float) -> Tensor:
    """Ink dots on cream paper that swell with the darkness of the photo."""
    gray = luma(image)
    crisp = (gray + 0.6 * (gray - blurred(gray, 10))).clamp(0, 1)
    _, across, down = cells(image, 8)
    wave = 0.5 + 0.25 * (torch.cos(2 * math.pi * across) + torch.cos(2 * math.pi * down))
    dark = 1 - contrasted(crisp, grown(strength, 1.1, 1.4), 0.5)
    dot = smoothstep(-0.10, 0.10, dark - wave * 0.92 - 0.04)
    paper = color(0.985, 0.955, 0.88, image)
    return covered(image, mix(paper, color(0.09, 0.10, 0.20, image), dot), strength)


def pixel_art(image: Tensor, strength: float) -> Tensor:
    """Square pixels in few bright colors, as on an old console."""
    flat = saturated(smoothed(image, 2, 0.08), 1.4)
    block, _, _ = cells(flat, 8 if strength > 0.9 else 4)
    levels = 5
    stepped = (block * levels).round() / levels
    return covered(image, mix(block, stepped, 0.85), strength)
