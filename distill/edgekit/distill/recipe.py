"""Everything that decides what a run trains, in one value that is checked before any work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgekit.core.errors import EdgekitError, unknown_name
from edgekit.core.store import value_sha256
from edgekit.distill.ranks import as_ranks, ranks_as_text, ranks_of_text
from edgekit.distill.recipe_files import (
    check_keys,
    check_name,
    check_ranges,
    read_values,
    write_values,
)

PROFILES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "cpu": {},
        "gpu": {
            "size_px": 256,
            "pairs": 800,
            "steps": 3000,
            "minutes": 10.0,
            "batch": 32,
            "adversarial": 0.02,
        },
    }
)
"""Values that a profile sets; "cpu" is the defaults of `Recipe`: two cores, three minutes."""
STUDENTS = ("gan",)
ARCHITECTURES = ("edgekit", "resnet9")
INITS = ("base", "scratch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides a run's result; written beside the student as ``recipe.toml``."""

    concept: str
    """The edit in the teacher's words, for example ``make it night``."""
    name: str = ""
    """Name of the model files, a-z, 0-9, _ and -; made from the concept if empty."""
    profile: str = "cpu"
    """"cpu" or "gpu": a set of defaults for the values below."""
    teacher: str = "bundled"
    """The bundled teacher, a diffusers pipeline folder, or a hub id."""
    teacher_steps: int = 0
    """Sampling steps of the teacher; 0 takes 4 for the bundled one, else the teacher's own."""
    student: str = "gan"
    arch: str = "edgekit"
    """"edgekit", or "resnet9", the baseline of pix2pix (only from scratch)."""
    init: str = "base"
    """"base" adapts the shipped base by low-rank factors, "scratch" trains all weights."""
    size_px: int = 128
    """Side of pairs and student, a multiple of 32."""
    pairs: int = 80
    """Pairs to ask the teacher for; held-out ones are among them."""
    steps: int = 200
    """Training steps at most."""
    minutes: float = 2.8
    """Training minutes at most; the best weights so far are kept."""
    batch: int = 8
    lr: float = 0.0
    """Highest learning rate; 0 takes 8e-3 for adapters, 1e-3 from scratch, 2e-4 for resnet9."""
    l1: float = 1.0
    """Weight of the mean absolute difference to the teacher's edit (range 2)."""
    perceptual: float = 1.0
    """Weight of the EfficientNet-Lite0 feature distance."""
    adversarial: float = 0.0
    """Weight of the least-squares PatchGAN term; 0 trains no discriminator."""
    rank: int = 4
    """Rank of the adapters."""
    ranks: str = ""
    """Rank of each group of layers, "down=2,ds=4,transformer=4,us=4,up=8"; empty takes `rank`."""
    width: int = 64
    """The size dial of a student from scratch; an adapted one has its base's width."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject a recipe that could only fail later; fill the name and learning rate."""
        if not self.concept.strip():
            raise EdgekitError("the concept is empty", hint='write --concept "make it night"')
        for kind, value, known in (
            ("profile", self.profile, PROFILES),
            ("student", self.student, STUDENTS),
            ("arch", self.arch, ARCHITECTURES),
            ("init", self.init, INITS),
        ):
            if value not in known:
                raise unknown_name(kind, value, known)
        if self.arch == "resnet9" and self.init == "base":
            raise EdgekitError(
                "there is no base for resnet9", hint="add --init scratch, or leave --arch out"
            )
        if self.size_px % 32 or not 64 <= self.size_px <= 1024:
            raise EdgekitError(
                f"size_px = {self.size_px}", hint="choose a multiple of 32 from 64 to 1024"
            )
        ranges = (
            ("pairs", 16, 1_000_000),
            ("steps", 1, 10_000_000),
            ("minutes", 0.01, 100_000),
            ("batch", 1, 4096),
            ("teacher_steps", 0, 1000),
            ("lr", 0, 1),
            ("l1", 0, 1e4),
            ("perceptual", 0, 1e4),
            ("adversarial", 0, 1e4),
            ("rank", 1, 64),
            ("width", 8, 512),
            ("seed", 0, 2**31 - 1),
        )
        check_ranges(self, ranges)
        if self.width % 4:
            raise EdgekitError(f"width = {self.width}", hint="choose a multiple of 4")
        if self.l1 == self.perceptual == 0:
            raise EdgekitError("l1 and perceptual are both 0", hint="give one of them a weight")
        if self.ranks:
            object.__setattr__(self, "ranks", ranks_as_text(ranks_of_text(self.ranks)))
        name = self.name or slug(self.concept)
        check_name(name, shown=self.name)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "lr", self.lr or self._usual_lr())

    def _usual_lr(self) -> float:
        if self.arch == "resnet9":
            return 2e-4
        return 8e-3 if self.init == "base" else 1e-3

    @property
    def adapter_ranks(self) -> dict[str, int]:
        """The rank of each group of layers."""
        return ranks_of_text(self.ranks) if self.ranks else as_ranks(self.rank)

    def values(self) -> dict[str, Any]:
        """Return the recipe as JSON and TOML values."""
        return asdict(self)

    @property
    def sha256(self) -> str:
        """Hash over every value; a run folder that carries it is a result of this recipe."""
        return value_sha256(self.values())

    def write(self, path: Path) -> None:
        """Write the recipe as TOML, at once or not at all."""
        write_values(path, self.values())


def recipe_for(concept: str, *, profile: str = "cpu", **changes: Any) -> Recipe:
    """Return the recipe of a profile with `changes`; a change that is None keeps the default.

    Raises EdgekitError for a value that cannot be meant.

    >>> recipe_for("make it night", profile="gpu", steps=None).size_px
    256
    """
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    given = {key: value for key, value in changes.items() if value is not None}
    check_keys(given, Recipe)
    return Recipe(concept=concept, profile=profile, **{**PROFILES[profile], **given})


def read_recipe(path: Path, **changes: Any) -> Recipe:
    """Read a recipe from TOML; `changes` that are not None win, missing keys take the default.

    Raises BadInput for a file that is missing or not TOML, EdgekitError for an unknown key (with
    the nearest known one) or a value that cannot be meant.
    """
    values = read_values(path, Recipe)
    values |= {key: value for key, value in changes.items() if value is not None}
    check_keys(values, Recipe)
    if "concept" not in values:
        raise EdgekitError(f"{path} names no concept", hint='add concept = "make it night"')
    return recipe_for(**values)


def slug(concept: str) -> str:
    """Return a file name for a concept.

    >>> slug("Make it night, please!")
    'make-it-night-please'
    """
    words = re.sub(r"[^a-z0-9]+", "-", concept.lower()).strip("-")
    return words[:48].strip("-") or "concept"
