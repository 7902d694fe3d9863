"""Random training tasks: which edits, how strong, and in which words."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgekit.distill.teachers.operators.strength import PLAIN, SLIGHT, STRONG
from edgekit.distill.teachers.operators.table import edited
from edgekit.distill.teachers.vocabulary import (
    COMPOSITIONS,
    EDITS,
    SLIGHT_WORDS,
    STRONG_WORDS,
    composed,
    with_strength,
)

SHARE_COMPOSED = 0.25
SHARE_WORDED = 0.25
"""Of the single edits, how many are asked for with a strength word."""
WEIGHTS = {"line": 1.5, "paint": 1.3, "pattern": 1.2, "weather": 1.1, "light": 1.0, "color": 1.0}
STRENGTHS = {"slight": SLIGHT, "plain": PLAIN, "strong": STRONG}


@dataclass(frozen=True, slots=True)
class Task:
    """Edits that act one after the other, and every prompt that asks for exactly this."""

    edits: tuple[str, ...]
    strength: float
    prompts: tuple[str, ...]


def plain_task(name: str) -> Task:
    """One edit at its plain strength."""
    return Task((name,), PLAIN, EDITS[name].wordings)


def random_task(generator: torch.Generator) -> Task:
    """Draw a single edit (by family weight), one with a strength word, or a composition."""
    kind, word = torch.rand(2, generator=generator).tolist()
    if kind < SHARE_COMPOSED:
        first, second = COMPOSITIONS[_drawn([1.0] * len(COMPOSITIONS), generator)]
        return Task((first, second), PLAIN, composed(first, second))
    edits = list(EDITS.values())
    edit = edits[_drawn([WEIGHTS[e.family] for e in edits], generator)]
    if word < SHARE_WORDED / 2:
        prompts = tuple(with_strength(w, s) for w in edit.wordings for s in SLIGHT_WORDS)
        return Task((edit.name,), SLIGHT, prompts)
    if word < SHARE_WORDED:
        prompts = tuple(with_strength(w, s) for w in edit.wordings for s in STRONG_WORDS)
        return Task((edit.name,), STRONG, prompts)
    return plain_task(edit.name)


def _drawn(weights: Sequence[float], generator: torch.Generator) -> int:
    return int(torch.multinomial(torch.tensor(weights), 1, generator=generator))


def performed(task: Task, images: Tensor) -> Tensor:
    """The edited images, float in [0, 1], on the device of `images`."""
    return edited(images, task.edits, strength=task.strength).clamp(0, 1)


def training_prompts() -> list[str]:
    """Every prompt that `random_task` can ask with, and the empty one."""
    single = [w for edit in EDITS.values() for w in edit.wordings]
    worded = [with_strength(w, s) for w in single for s in SLIGHT_WORDS + STRONG_WORDS]
    pairs = [w for first, second in COMPOSITIONS for w in composed(first, second)]
    return ["", *single, *worded, *pairs]
