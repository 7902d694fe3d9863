"""The arms of the mesh experiment: which network learns, in which stages, from which loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edgekit.distill.mesh.generator import MeshNetwork
    from edgekit.distill.mesh.shape import MeshShape

ALONE = 8
"""Prompts that are optimized one by one."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way from prompts to meshes."""

    name: str
    what: str
    network: str = "generator"
    loss: Literal["sds", "asd"] = "sds"
    first: bool = True
    """Whether stage one, the volume, comes before stage two, the mesh."""
    lr: float | None = None
    """Peak learning rate; None takes the recipe's."""

    @property
    def alone(self) -> bool:
        """Whether a run is for one prompt."""
        return self.network == "planes"


ARMS = {
    arm.name: arm
    for arm in (
        Arm("atom", "both stages, all prompts, SDS, as what ships"),
        Arm("atom-asd", "both stages, all prompts, ASD", loss="asd"),
        Arm("stage-two", "stage two only", first=False),
        Arm("hyper", "hypernetwork over shared grids", network="hyper", lr=2e-3),
        Arm("per-prompt", "one prompt at a time, same head", network="planes", lr=1e-2),
    )
}
CONTROLS = {
    "truth": "meshes of the world itself",
    "untrained": "the generator before training",
}


def named(name: str) -> Arm:
    """Return an arm; ``hyper@0.004`` is that arm at another learning rate.

    >>> named("hyper@0.004").lr
    0.004
    """
    name, _, lr = name.partition("@")
    return replace(ARMS[name], lr=float(lr)) if lr else ARMS[name]


def fresh_network(arm: Arm, shape: MeshShape, num_words: int, *, seed: int) -> MeshNetwork:
    """Return the untrained network of an arm."""
    from edgekit.distill.mesh.baselines import fresh_hypernetwork, fresh_planes
    from edgekit.distill.mesh.generator import fresh_generator

    if arm.network == "hyper":
        return fresh_hypernetwork(shape, num_words, seed=seed)
    if arm.network == "planes":
        return fresh_planes(shape, seed=seed)
    return fresh_generator(shape, num_words, seed=seed)


def apart(prompts: Sequence[str], count: int = ALONE) -> list[str]:
    """Return prompts of an 8 x 8 world, one of each row and column and none of the diagonal.

    >>> apart([str(i) for i in range(64)])
    ['3', '12', '21', '30', '39', '40', '49', '58']
    """
    side = round(len(prompts) ** 0.5)
    return [prompts[row * side + (row + 3) % side] for row in range(side)][:count]
