"""What stands beside a search: published generators alone, and settings with several seeds."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from edgekit.distill.architecture.lessons import one_concept
from edgekit.distill.architecture.quality import Lessons, ShortSettings, short_distillation
from edgekit.distill.architecture.space import shape_name, shape_named
from edgekit.distill.students.cost import count_macs
from edgekit.distill.students.e2gan import E2GANShape, fresh_e2gan
from edgekit.distill.students.gan import fresh_generator
from edgekit.distill.students.resnet9 import fresh_resnet9
from edgekit.distill.students.shape import Shape
from edgekit.distill.students.slim_resnet9 import SlimWidths, fresh_slim_resnet9

DEFAULT = Shape()
REFERENCE_PX = 256
"""Size at which the papers count."""


def trained_alone(
    given: argparse.Namespace,
    best: Sequence[Shape],
    lessons: Lessons,
    settings: ShortSettings,
    device: str,
) -> list[dict[str, Any]]:
    """Train published generators, our default one and the best found alone on each concept.

    One concept at a time, because most of the published ones hear no text.
    """
    assert lessons.contexts is not None
    width, dim = given.reference_width, lessons.contexts.shape[-1]
    narrow, wider = 32 * width // 64 or 1, 48 * width // 64 or 1
    slim = SlimWidths(narrow, narrow, wider, _inner(width), 16, 16)
    ours = {shape_name(shape): shape for shape in (DEFAULT, *best)}
    makers: dict[str, Callable[[], nn.Module]] = {
        "pix2pix ResNet-9": lambda: fresh_resnet9(width, seed=given.seed),
        "E2GAN, resize and convolve": lambda: fresh_e2gan(E2GANShape(width, dim), seed=given.seed),
        "GAN Compression, edges2shoes": lambda: fresh_slim_resnet9(slim, seed=given.seed),
        **{name: partial(fresh_generator, shape, seed=given.seed) for name, shape in ours.items()},
    }
    rows = []
    image = torch.zeros(1, 3, REFERENCE_PX, REFERENCE_PX, device="meta")
    text = lessons.contexts[:1].to("meta")
    for name, make in makers.items():
        gmac = count_macs(make().eval().to("meta"), image, text) / 1e9
        for number in range(min(given.references, len(lessons.sources))):
            alone = one_concept(lessons, number)
            outcome = short_distillation(make(), alone, settings, device=device)
            row = {"name": name, "gmac_256px": round(gmac, 3), "concept": number}
            rows.append({**row, **asdict(outcome)})
            print(f"{name}, concept {number}: {outcome.terms}, {outcome.seconds} s", flush=True)
    return rows


def repeated(
    given: argparse.Namespace, lessons: Lessons, settings: ShortSettings, device: str
) -> list[dict[str, Any]]:
    """Train named settings, and the paper's generator, on all concepts, by several seeds."""
    assert lessons.contexts is not None
    width, dim = given.reference_width, lessons.contexts.shape[-1]
    rows = []
    for seed in range(given.seeds):
        for name in given.repeat:
            network = (
                fresh_e2gan(E2GANShape(width, dim), seed=seed)
                if name == "e2gan"
                else fresh_generator(shape_named(name, context_dim=dim), seed=seed)
            )
            outcome = short_distillation(
                network, lessons, replace(settings, seed=seed), device=device
            )
            rows.append({"name": name, "seed": seed, **asdict(outcome)})
            print(f"{name}, seed {seed}: {outcome.score:.4f}, {outcome.seconds} s", flush=True)
    return rows


def _inner(width: int) -> tuple[int, int, int]:
    return (32 * width // 64 or 1, 48 * width // 64 or 1, 48 * width // 64 or 1)
