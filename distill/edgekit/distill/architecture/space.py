"""What may be dialled on our generator, and settings drawn from it."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from edgekit.core.errors import EdgekitError
from edgekit.distill.students.shape import Shape

CHOICES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "width": (32, 48, 64, 80, 96),
        "full": (8, 12, 16, 20, 24),
        "half": (16, 24, 32, 40, 48),
        "eighth": (64, 96, 144, 192, 240, 288),
        "encoder_blocks": (0, 1, 2, 3, 4),
        "decoder_blocks": (0, 1, 2),
        "transformer": (False, True),
        "detail2": (False, True),
        "detail3": (False, True),
    }
)
"""The choices of every dial, 90,000 settings. Widths are multiples of 4, most of them of 8, which
is what the kernels of phones and CPUs work in."""
LADDER = tuple(
    Shape(width=width, encoder_blocks=before, decoder_blocks=after)
    for width, before, after in ((32, 1, 1), (48, 2, 1), (64, 2, 1), (80, 2, 1), (96, 3, 2))
)
"""The balanced networks of five sizes: known starting points, the shipped base among them."""

Choose = Callable[[str, Sequence[int]], int]
"""Names a dial and its choices and returns one, as ``trial.suggest_categorical`` does."""


def chosen_shape(choose: Choose, *, context_dim: int = 128) -> Shape:
    """Return the shape that `choose` picks, dial by dial."""
    picked: dict[str, Any] = {name: choose(name, values) for name, values in CHOICES.items()}
    return Shape(context_dim=context_dim, **picked)


def dials_of(shape: Shape) -> dict[str, int]:
    """Return the value of every dial of `shape`, for a study that is told where to start.

    Raises KeyError if `shape` lies outside `CHOICES`.
    """
    full, half, quarter, eighth = shape.levels
    found = {
        "width": quarter,
        "full": full,
        "half": half,
        "eighth": eighth,
        "encoder_blocks": shape.encoder_blocks,
        "decoder_blocks": shape.decoder_blocks,
        "transformer": shape.transformer,
        "detail2": shape.detail2,
        "detail3": shape.detail3,
    }
    for name, value in found.items():
        if value not in CHOICES[name]:
            raise KeyError(f"{name} = {value} is no choice: {CHOICES[name]}")
    return found


def drawn_shapes(count: int, *, seed: int, context_dim: int = 128) -> tuple[Shape, ...]:
    """Return `count` different settings drawn evenly; the same seed gives the same ones first."""
    draw = random.Random(seed)
    found: dict[str, Shape] = {}
    for _ in itertools.count():
        if len(found) >= count:
            break
        shape = chosen_shape(lambda name, values: draw.choice(values), context_dim=context_dim)
        found.setdefault(shape_name(shape), shape)
    return tuple(found.values())


def shape_name(shape: Shape) -> str:
    """Return a short name that is one setting's own.

    >>> shape_name(Shape())
    'w64-f16-h32-e192-b2-1-t1-d11'
    """
    full, half, quarter, eighth = shape.levels
    return (
        f"w{quarter}-f{full}-h{half}-e{eighth}-b{shape.encoder_blocks}-{shape.decoder_blocks}"
        f"-t{shape.transformer:d}-d{shape.detail2:d}{shape.detail3:d}"
    )


def shape_named(name: str, *, context_dim: int = 128) -> Shape:
    """Return the setting that `shape_name` calls `name`; EdgekitError for another word.

    >>> shape_named("w64-f16-h32-e192-b2-1-t1-d11").levels
    (16, 32, 64, 192)
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise EdgekitError(
            f"{name!r} names no setting", hint=f"write it like {shape_name(Shape())}"
        )
    width, full, half, eighth, before, after, transformer, second, third = map(int, found.groups())
    return Shape(
        width=width,
        context_dim=context_dim,
        full=full,
        half=half,
        eighth=eighth,
        encoder_blocks=before,
        decoder_blocks=after,
        transformer=bool(transformer),
        detail2=bool(second),
        detail3=bool(third),
    )


_NAME = re.compile(r"w(\d+)-f(\d+)-h(\d+)-e(\d+)-b(\d+)-(\d+)-t([01])-d([01])([01])")
