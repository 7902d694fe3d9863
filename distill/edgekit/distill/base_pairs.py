"""What the base is trained on: settings, and pairs that the teacher makes on the device.

The teacher edits the very bytes that are kept, so that a pair is a pair also after rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edgekit.distill.students.shape import Shape
from edgekit.distill.students.text_context import text_context
from edgekit.distill.teachers.corpus import Bank, sampled
from edgekit.distill.teachers.sampling import Editor, sampled_edits
from edgekit.distill.teachers.vocabulary import BASE_CONCEPTS, EDITS, edit_named


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSettings:
    """What decides the base, besides the teacher and the photos."""

    concepts: tuple[str, ...] = BASE_CONCEPTS
    seconds: float = 280.0
    """Training time; sampling and measuring come on top."""
    sizes_px: tuple[int, ...] = (256, 128)
    """Sizes trained on, in turn; the teacher works at the first, the others are reduced from it."""
    pairs: int = 1280
    """Pairs a concept."""
    batches: tuple[int, ...] = (48, 128)
    crops: int = 2500
    """Crops of each set of photos from which sources are drawn."""
    heldout: int = 6
    """Held-out photos of each set on which every concept is measured."""
    shape: Shape = field(default_factory=Shape)
    """Of the generator; the width of its text tokens is that of the contexts."""
    discriminator_width: int = 48
    lr: float = 1.5e-3
    l1: float = 1.0
    perceptual: float = 1.0
    adversarial: float = 0.01
    teacher_steps: int | None = None
    """Sampling steps and guidance; None takes what the teacher's card recommends."""
    teacher_guidance: float | None = None
    teacher_batch: int = 128
    seed: int = 0
    compile: bool = False
    """Compile the networks; it took half of a run of five minutes, so only for long ones."""


@dataclass(frozen=True, slots=True)
class BasePairs:
    """All pairs of one size on the device, uint8 (concepts, n, 3, h, w)."""

    sources: Tensor
    edits: Tensor


def contexts_of(concepts: Sequence[str], teacher: Path | None) -> list[Tensor]:
    """Return for each concept the contexts (wordings, tokens, dim) of all its wordings.

    The first is the concept itself. Seeing several wordings, the base learns what they share.
    """
    contexts = []
    for concept in concepts:
        names = edit_named(concept).edits
        others = EDITS[names[0]].wordings if len(names) == 1 else ()
        prompts = dict.fromkeys((concept, *others))
        contexts.append(torch.stack([text_context(prompt, teacher) for prompt in prompts]))
    return contexts


Sample = Callable[[Tensor, str, int], Tensor]


def sampler(editor: Editor, settings: BaseSettings, how: Mapping[str, Any]) -> Sample:
    """Return the function that edits images in [0, 1] as the teacher's pipeline does."""

    def sample(images: Tensor, prompt: str, seed: int) -> Tensor:
        made = []
        for start in range(0, len(images), settings.teacher_batch):
            part = images[start : start + settings.teacher_batch]
            made.append(
                sampled_edits(
                    editor,
                    part,
                    [prompt] * len(part),
                    steps=how["steps"],
                    guidance=how["guidance"],
                    seed=seed + start,
                )
            )
        return torch.cat(made)

    return sample


def sampled_pairs(bank: Bank, settings: BaseSettings, sample: Sample) -> BasePairs:
    """Return the training pairs: for each concept its own crops and the teacher's edits."""
    device = next(iter(bank.sets.values())).device
    sources, edits = [], []
    for number, concept in enumerate(settings.concepts):
        seed = settings.seed * 1_000_003 + number * 10_007 + bank.size
        images = sampled(bank, settings.pairs, torch.Generator(device).manual_seed(seed))
        images = (images * 255).round() / 255  # the teacher edits the very bytes that are kept
        edits.append(_bytes(sample(images, concept, seed)))
        sources.append(_bytes(images))
    return BasePairs(torch.stack(sources), torch.stack(edits))


def heldout_pairs(bank: Bank, settings: BaseSettings, sample: Sample) -> BasePairs:
    """Return the pairs of held-out photos, the same photos for every concept."""
    images = torch.cat([squares[: settings.heldout] for squares in bank.sets.values()])
    images = images.float() / 255
    edits = [
        _bytes(sample(images, concept, 77_000 + 1000 * number))
        for number, concept in enumerate(settings.concepts)
    ]
    return BasePairs(torch.stack([_bytes(images)] * len(edits)), torch.stack(edits))


def at_all_sizes(pairs: BasePairs, settings: BaseSettings) -> list[BasePairs]:
    """Return the pairs at every size of the settings, the first one's as they are."""

    def reduced(bank: Tensor, size: int) -> Tensor:
        if bank.shape[-1] == size:
            return bank
        return torch.stack([_bytes(_shrunk(images / 255, size)) for images in bank])

    return [
        BasePairs(reduced(pairs.sources, size), reduced(pairs.edits, size))
        for size in settings.sizes_px
    ]


def _shrunk(images: Tensor, size: int) -> Tensor:
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def _bytes(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


Batch = tuple[Tensor, Tensor, Tensor]


def drawn_batch(
    pairs: BasePairs, wordings: Sequence[Tensor], batch: int, random: torch.Generator
) -> Batch:
    """Return sources, edits in [-1, 1] and contexts of random pairs of random concepts."""
    device = pairs.sources.device
    concepts = torch.randint(len(wordings), (batch,), generator=random, device=device)
    rows = torch.randint(pairs.sources.shape[1], (batch,), generator=random, device=device)
    flips = torch.rand(batch, 1, 1, 1, generator=random, device=device) < 0.5
    images = []
    for bank in (pairs.sources, pairs.edits):
        drawn = bank[concepts, rows].float().div_(127.5).sub_(1)
        drawn = torch.where(flips, drawn.flip(-1), drawn)
        images.append(drawn.contiguous(memory_format=torch.channels_last))
    picks = torch.rand(batch, generator=random, device=device)
    most = max(len(words) for words in wordings)
    table = torch.stack([words[torch.arange(most) % len(words)] for words in wordings])
    counts = torch.tensor([len(words) for words in wordings], device=device)
    return images[0], images[1], table[concepts, (picks * counts[concepts]).long()]
