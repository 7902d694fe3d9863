"""Everything that decides a training of the encoder, and the arms that are compared."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from edgekit.core.errors import EdgekitError, unknown_name
from edgekit.core.store import value_sha256
from edgekit.distill.identity.sampling import Few
from edgekit.distill.identity.shape import TOY, IdentityShape

Aim: TypeAlias = Literal["masked", "flow", "cosface", "infonce"]


FEW_TO_MANY = Few(3, 3, 8)


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train the encoder."""

    stages: tuple[tuple[Aim, float], ...]
    """Objective and its share of the budget, one after another."""
    few: Few = FEW_TO_MANY


BOTH: tuple[tuple[Aim, float], ...] = (("masked", 0.75), ("flow", 0.25))
"""The paper takes 200k steps of the first and 10k of the second, of a far larger decoder."""
ARMS = {
    "full": Arm(BOTH),
    "masked": Arm((("masked", 1.0),)),
    "flow": Arm((("flow", 1.0),)),
    "one-to-one": Arm(BOTH, Few(1, 1, 1)),
    "eight-to-eight": Arm(BOTH, Few(8, 8, 8, disjoint=False)),
    "cosface": Arm((("cosface", 1.0),), Few(3, 3, 1)),
    "infonce": Arm((("infonce", 1.0),), Few(3, 3, 3)),
}
"""Name -> arm. All have the same encoder, budget and number of pictures a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRecipe:
    """Every knob of a training; the same recipe, faces and steps give the same weights on a CPU."""

    arm: str = "full"
    shape: IdentityShape = field(default_factory=IdentityShape)
    seconds: float = math.inf
    """Time of the training, over all its continuations."""
    steps: int | None = None
    """Steps of it; whichever of both is used up first ends it."""
    pictures: int = 512
    """Pictures of faces that a step rebuilds, or encodes if it rebuilds none."""
    lr: float = 5e-4
    flow_lr: float = 3e-4
    seed: int = 0
    target_px: int = 64
    """Side of what the decoders paint."""
    masked_width: int = 256
    masked_layers: int = 4
    flow_channels: tuple[int, ...] = (64, 128, 256, 256)

    def __post_init__(self) -> None:
        """Reject a recipe that could only fail later."""
        if self.arm not in ARMS:
            raise unknown_name("arm", self.arm, ARMS)
        if self.steps is None and not 0 < self.seconds < math.inf:
            raise EdgekitError("the training has no end", hint="give seconds or steps")
        if self.steps is not None and self.steps < 1:
            raise EdgekitError(f"steps = {self.steps}", hint="train for at least 1 step")
        if self.target_px % 16 or self.target_px > self.shape.size_px:
            raise EdgekitError(
                f"target_px = {self.target_px} for faces of {self.shape.size_px} pixels",
                hint="choose a multiple of 16 that is no larger than the faces",
            )

    @property
    def people(self) -> int:
        """People in a step: as many as give the same number of pictures in every arm."""
        few = ARMS[self.arm].few
        shown = few.targets
        if self.arm in ("cosface", "infonce"):
            shown = few.most + few.targets
        return max(2, self.pictures // shown)

    def values(self) -> dict[str, Any]:
        """Return the recipe as JSON has it; no end of time is None."""
        known = asdict(self)
        if math.isinf(self.seconds):
            known["seconds"] = None
        return known

    @property
    def sha256(self) -> str:
        """Hash of everything that decides the weights."""
        return value_sha256(self.values())


def toy(recipe: IdentityRecipe) -> IdentityRecipe:
    """Return the same recipe at a size that runs in seconds on any machine."""
    return replace(
        recipe,
        shape=TOY,
        pictures=16,
        target_px=32,
        masked_width=32,
        masked_layers=1,
        flow_channels=(16, 32),
    )
