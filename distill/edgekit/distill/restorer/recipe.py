"""Everything that decides a restorer, in one value that is checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from edgekit.core.errors import EdgekitError, unknown_name
from edgekit.distill.recipe_files import (
    check_keys,
    check_name,
    check_ranges,
    read_values,
    write_values,
)

Conditioning = Literal["none", "channels", "memory", "code"]
"""How references reach the network: not at all, as more input channels, as cached keys and values,
or as an identity code."""
Kind = Literal["none", "channels", "memory", "code", "phone"]
"""A conditioning of the one-step network, or "phone": the network for phones alone, which takes a
code and has no larger network to learn from."""
SEVERITIES = ("mild", "medium", "severe", "extreme", "mixed")
PROFILES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "cpu": {},
        "gpu": {"toy": False, "size_px": 128, "minutes": 10.0, "batch": 32},
    }
)
"""Values that a profile sets; "cpu" is the defaults of `RestorerRecipe`: a toy that runs anywhere.
"""
SHARES: Mapping[str, float] = MappingProxyType(
    {"base": 0.3, "recognizer": 0.1, "restorer": 0.4, "phone": 0.2}
)
"""Share of the minutes that each stage gets; what is not needed leaves its share to the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorerRecipe:
    """Everything that decides a run's result; written beside the student as ``recipe.toml``."""

    name: str = "restorer"
    """Name of the model files, a-z, 0-9, _ and -."""
    profile: str = "cpu"
    conditioning: Kind = "memory"
    """How references act: "memory" (cached keys and values), "code" (an identity code),
    "channels" (more input channels) or "none"; "phone" is the small network with a code alone."""
    adain: bool = True
    gate: bool = True
    places: int = 4
    """References that the exported program has room for."""
    references: int = 4
    """References of a target in training, at most."""
    wrong_share: float = 0.2
    """Targets that get references of another person."""
    severity: str = "mixed"
    size_px: int = 64
    toy: bool = True
    """Networks of a few ten thousand weights, to see whether everything runs."""
    tuned: bool = True
    """The identity encoder is trained on with the first network that takes its codes; the run
    keeps its own copy."""
    phone: bool = False
    """Also distil the one-step network into a network for phones that takes an identity code."""
    minutes: float = 2.0
    """Training minutes of all stages together."""
    steps: int = 0
    """Steps of each stage at most; 0: the minutes alone decide."""
    batch: int = 4
    l1: float = 1.0
    perceptual: float = 2.0
    ms_ssim: float = 0.5
    identity: float = 0.5
    adversarial: float = 0.1
    landmark: float = 0.05
    rank: int = 32
    """Rank of the low-rank factors, where the base is a pipeline of diffusers."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject a recipe that could only fail later."""
        for kind, value, known in (
            ("profile", self.profile, tuple(PROFILES)),
            ("form", self.conditioning, get_args(Kind)),
            ("severity", self.severity, SEVERITIES),
        ):
            if value not in known:
                raise unknown_name(kind, value, known)
        if self.size_px % 64 or not 64 <= self.size_px <= 512:
            raise EdgekitError(
                f"size_px = {self.size_px}", hint="choose a multiple of 64 from 64 to 512"
            )
        ranges = (
            ("places", 1, 16),
            ("references", 1, 16),
            ("wrong_share", 0, 1),
            ("minutes", 0.001, 100_000),
            ("steps", 0, 10_000_000),
            ("batch", 1, 4096),
            ("l1", 0, 1e4),
            ("perceptual", 0, 1e4),
            ("ms_ssim", 0, 1e4),
            ("identity", 0, 1e4),
            ("adversarial", 0, 1e4),
            ("landmark", 0, 1e4),
            ("rank", 1, 256),
            ("seed", 0, 2**31 - 1),
        )
        check_ranges(self, ranges)
        if self.l1 == self.perceptual == self.ms_ssim == 0:
            raise EdgekitError(
                "l1, perceptual and ms_ssim are all 0", hint="give one of them a weight"
            )
        check_name(self.name)

    def values(self) -> dict[str, Any]:
        """Return the recipe as JSON and TOML values."""
        return asdict(self)

    def write(self, path: Path) -> None:
        """Write the recipe as TOML, at once or not at all."""
        write_values(path, self.values())


def restorer_recipe(*, profile: str | None = None, **changes: Any) -> RestorerRecipe:
    """Return the recipe of a profile with `changes`; a change that is None keeps the default.

    Raises EdgekitError for a value that cannot be meant or a key that does not exist.
    """
    profile = profile or "cpu"
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    given = {key: value for key, value in changes.items() if value is not None}
    check_keys(given, RestorerRecipe)
    return RestorerRecipe(profile=profile, **{**PROFILES[profile], **given})


def read_restorer_recipe(path: Path, **changes: Any) -> RestorerRecipe:
    """Read a recipe from TOML; `changes` that are not None win, missing keys take the default.

    Raises BadInput for a file that is missing or not TOML, EdgekitError for an unknown key (with
    the nearest known one) or a value that cannot be meant.
    """
    values = read_values(path, RestorerRecipe)
    return restorer_recipe(**{**values, **{k: v for k, v in changes.items() if v is not None}})


def stage_seconds(recipe: RestorerRecipe, stages: tuple[str, ...]) -> dict[str, float]:
    """Return the training seconds of each of `stages`, which share the recipe's minutes.

    >>> stage_seconds(RestorerRecipe(minutes=1.0), ("recognizer", "restorer"))
    {'recognizer': 12.0, 'restorer': 48.0}
    >>> stage_seconds(RestorerRecipe(minutes=1.4), ("recognizer", "phone"))
    {'recognizer': 12.0, 'phone': 72.0}
    """
    shares = dict(SHARES)
    if "restorer" not in stages:
        shares["phone"] += shares["restorer"]  # there is one network to train
    total = sum(shares[stage] for stage in stages)
    return {stage: round(60 * recipe.minutes * shares[stage] / total, 6) for stage in stages}
