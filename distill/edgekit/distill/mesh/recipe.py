"""Everything that decides a training of the mesh generator, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from edgekit.core.errors import EdgekitError, unknown_name
from edgekit.core.store import value_sha256
from edgekit.distill.mesh.distillation import Distillation
from edgekit.distill.mesh.shape import TOY, MeshShape
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
            "toy": False,
            "seconds": 900.0,
            "batch": 24,
            "volume_px": 32,
            "coarse": 32,
            "fine": 16,
            "mesh_px": 128,
            "guidance": 1.0,
            "lr": 1e-3,
            "mesh_lr": 3e-4,
        },
    }
)
"""Values that a profile sets; "cpu" is the defaults of `MeshRecipe`: a toy that runs anywhere.

A pixel of stage one is as wide as a texel of the planes: finer renders would show no more.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshRecipe:
    """Every knob; the same recipe, prompts, guide and steps give the same weights on a CPU."""

    name: str = "things"
    """Name of the model files, a-z, 0-9, _ and -."""
    profile: str = "cpu"
    toy: bool = True
    """A network of some ten thousand weights and a coarse lattice."""
    loss: Distillation = "sds"
    """"sds" or "asd"; the first came out ahead (docs/mesh.md)."""
    guidance: float = 5.0
    """How much further than plain prediction the text pulls; 1 is none. Beyond it pushes
    overshoot: an ideal guide teaches shapes at 1 and hardly any at 3 (docs/log.md, 0033)."""
    seconds: float = 300.0
    """Time of the training, over all its continuations; 0 sets no limit, if `steps` do."""
    steps: int = 0
    """Steps of both stages together at most; 0: the seconds alone decide."""
    stage_one: float = 0.7
    """Part of the budget for volumes; the rest is for meshes. 0 trains meshes alone."""
    batch: int = 4
    """Prompts of a step, each in one view."""
    volume_px: int = 32
    """Side of the renders of stage one."""
    coarse: int = 24
    """Samples of a ray, spread evenly."""
    fine: int = 16
    """More samples of a ray, where the surface is."""
    mesh_px: int = 64
    """Side of the renders of stage two; the guide sees them at its own size."""
    lr: float = 5e-3
    mesh_lr: float = 1.5e-3
    """Rate of stage two; a wider network wants less of both."""
    last_step: float = 0.5
    """Last step of the guide in use at the end, as a part of all; at the start it is 0.98."""
    eikonal: float = 0.02
    sparsity: float = 0.01
    empty: float = 10.0
    bend: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject a recipe that could only fail later."""
        for kind, value, known in (
            ("profile", self.profile, tuple(PROFILES)),
            ("loss", self.loss, get_args(Distillation)),
        ):
            if value not in known:
                raise unknown_name(kind, value, known)
        ranges = (
            ("guidance", 0, 1000),
            ("seconds", 0, 10_000_000),
            ("steps", 0, 100_000_000),
            ("stage_one", 0, 1),
            ("batch", 1, 4096),
            ("volume_px", 8, 512),
            ("coarse", 4, 512),
            ("fine", 0, 512),
            ("mesh_px", 8, 1024),
            ("lr", 1e-7, 1),
            ("mesh_lr", 1e-7, 1),
            ("last_step", 0.05, 1),
            ("eikonal", 0, 1e4),
            ("sparsity", 0, 1e4),
            ("empty", 0, 1e4),
            ("bend", 0, 1e4),
            ("seed", 0, 2**31 - 1),
        )
        check_ranges(self, ranges)
        if self.seconds == 0 and self.steps == 0:
            raise EdgekitError("the training has no end", hint="give --seconds or --steps")
        check_name(self.name)

    @property
    def shape(self) -> MeshShape:
        """The network's dials."""
        return TOY if self.toy else MeshShape()

    def values(self) -> dict[str, Any]:
        """Return the recipe as JSON and TOML values."""
        return asdict(self)

    @property
    def sha256(self) -> str:
        """Hash of everything in it that decides the weights."""
        return value_sha256({**self.values(), "shape": asdict(self.shape)})

    def write(self, path: Path) -> None:
        """Write the recipe as TOML, at once or not at all."""
        write_values(path, self.values())


def mesh_recipe(*, profile: str | None = None, **changes: Any) -> MeshRecipe:
    """Return the recipe of a profile with `changes`; a change that is None keeps the default.

    Raises EdgekitError for a value that cannot be meant or a key that does not exist.

    >>> mesh_recipe(profile="gpu", seconds=60).volume_px
    32
    """
    profile = profile or "cpu"
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    given = {key: value for key, value in changes.items() if value is not None}
    check_keys(given, MeshRecipe)
    return MeshRecipe(profile=profile, **{**PROFILES[profile], **given})


def read_mesh_recipe(path: Path, **changes: Any) -> MeshRecipe:
    """Read a recipe from TOML; `changes` that are not None win, missing keys take the default.

    Raises BadInput for a file that is missing or not TOML, EdgekitError for an unknown key (with
    the nearest known one) or a value that cannot be meant.
    """
    values = read_values(path, MeshRecipe)
    return mesh_recipe(**{**values, **{k: v for k, v in changes.items() if v is not None}})
