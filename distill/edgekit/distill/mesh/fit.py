"""Train a generator by a guide alone: first as volumes, then as meshes; resumes after any end."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from edgekit.core.store import value_sha256
from edgekit.distill.graphs import bfloat16
from edgekit.distill.journal import Clock
from edgekit.distill.learning import Batch, Learner, Terms, learn
from edgekit.distill.mesh.distillation import LAST_STEP, Draws, Wanted, score_loss
from edgekit.distill.mesh.generator import MeshNetwork, fresh_generator
from edgekit.distill.mesh.guide import Guide
from edgekit.distill.mesh.previews import write_previews
from edgekit.distill.mesh.recipe import MeshRecipe
from edgekit.distill.mesh.stages import LATTICE, Renderer, meshes, volumes
from edgekit.distill.mesh.student import Prompts
from edgekit.distill.mesh.words import tokens
from edgekit.distill.render.views import Cameras, random_backgrounds, random_cameras

THICK, THIN = 0.1, 0.01
"""Width of a volume's shell at the start, where a change is felt from far away, and at the end."""
SAVE_S, LOG_S = 60.0, 60.0
"""Seconds between two checkpoints with their previews, and between two lines of the log."""

Watch: TypeAlias = Callable[[MeshNetwork, float], None]
"""What looks on: the network with averaged weights, and the seconds of training so far."""
CamerasOf: TypeAlias = Callable[[int, torch.Generator, torch.device], Cameras]
"""Draws as many cameras as it is told, on a device: `random_cameras`, or fewer for a guide that
knows only some views."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the two ways to look, and which part of the budget it has."""

    name: str
    look: Renderer
    lr: float
    begins: float
    """Part of the whole budget that is used up before it."""
    share: float
    graphs: bool
    """Shapes never change, so that a GPU can replay a step."""


class MeshTask:
    """A stage: words to codes to pictures to what the guide says of them."""

    learners: dict[str, Learner]

    def __init__(
        self,
        network: MeshNetwork,
        guide: Guide,
        prompts: Prompts,
        recipe: MeshRecipe,
        stage: Stage,
        clock: Clock,
        device: torch.device,
        cameras: CamerasOf = random_cameras,
    ) -> None:
        """`network` and `guide` lie on `device` already."""
        self.network, self.guide, self.recipe = network, guide, recipe
        self.stage, self.clock, self.device = stage, clock, device
        self.cameras = cameras
        self.words = tokens(prompts.train, prompts.words, network.shape.length).to(device)
        with torch.no_grad():
            self.text = guide.encode(prompts.train).to(device)
            self.nothing = guide.encode([""]).to(device)
            black = torch.zeros(1, 3, guide.size_px, guide.size_px, device=device)
            self.latent = guide.latents(black).shape[1:]
        self._generator = torch.Generator(device)
        self.learners = {"generator": Learner(cast(nn.Module, network), stage.lr)}

    def batch(self, step: int) -> Batch:
        """Return prompts, cameras, backgrounds and noise of one step."""
        count, dice = self.recipe.batch, self._generator
        dice.manual_seed(self.recipe.seed * 1_000_003 + step)
        cameras = self.cameras(count, dice, self.device)
        # A shell must not pass between two samples of a ray, which crosses a world of 2 in width.
        thin = max(THIN, 0.5 / (self.recipe.coarse + self.recipe.fine))
        thick = THICK * (thin / THICK) ** self.clock.share
        share = self.stage.begins + self.stage.share * self.clock.share
        last = LAST_STEP + (self.recipe.last_step - LAST_STEP) * share
        return {
            "rows": self._rows(step, count),
            "yaw": cameras.yaw,
            "pitch": cameras.pitch,
            "distance": cameras.distance,
            "field_deg": cameras.field_deg,
            "backgrounds": random_backgrounds(count, dice, self.device),
            "level": torch.rand(count, generator=dice, device=self.device),
            "shift": torch.rand(count, generator=dice, device=self.device),
            "noise": torch.randn(count, *self.latent, generator=dice, device=self.device),
            "last": torch.full((), last, device=self.device),
            "beta": torch.full((), thick, device=self.device),
        }

    def advance(self, batch: Batch, phase: Hashable) -> Terms:
        """Do one step."""
        cameras = Cameras(*(batch[name] for name in ("yaw", "pitch", "distance", "field_deg")))
        rows = batch["rows"]
        wanted = Wanted(self.text[rows], self.nothing, cameras)
        draws = Draws(batch["level"], batch["shift"], batch["noise"])
        with self._autocast():
            codes = self.network.codes(self.words[rows])
        # All else in float32: slopes are differences of distances, and rays are long.
        seen = self.stage.look(
            self.network, codes.float(), cameras, batch["backgrounds"], batch["beta"]
        )
        score = score_loss(
            self.guide,
            seen.pictures,
            wanted,
            draws,
            kind=self.recipe.loss,
            guidance=self.recipe.guidance,
            last=batch["last"],
        )
        loss = score.loss + sum(
            getattr(self.recipe, name) * term for name, term in seen.terms.items()
        )
        self.learners["generator"].step(loss)
        terms = {"push": score.push, **seen.terms}
        return {name: value.detach() for name, value in terms.items()}

    def phase(self, share: float) -> Hashable:
        """Return the same form for every step."""
        return None

    def _rows(self, step: int, count: int) -> Tensor:
        """Return prompts: all of them in turn, in another order each time round."""
        total = len(self.words)
        places = range(step * count, (step + 1) * count)
        rows = []
        for turn in sorted({place // total for place in places}):
            dice = torch.Generator().manual_seed(self.recipe.seed * 7919 + turn)
            order = torch.randperm(total, generator=dice).tolist()
            rows += [order[place % total] for place in places if place // total == turn]
        chosen = torch.tensor(rows)
        if self.device.type == "cuda":  # a copy of other memory would wait for the step before
            chosen = chosen.pin_memory()
        return chosen.to(self.device, non_blocking=True)

    def _autocast(self) -> torch.autocast:
        return bfloat16(self.device, enabled=self.device.type == "cuda")


def fit_mesh(
    recipe: MeshRecipe,
    guide: Guide,
    prompts: Prompts,
    folder: Path,
    *,
    of: str = "",
    network: MeshNetwork | None = None,
    device: torch.device | str = "cpu",
    stop_at: float | None = None,
    previews: Path | None = None,
    watch: Watch | None = None,
    every_s: tuple[float, float] = (SAVE_S, LOG_S),
    cameras: CamerasOf = random_cameras,
    lattice: int = LATTICE,
) -> MeshNetwork | None:
    """Train `network` (default: a fresh generator) on `prompts.train`, or go on in `folder`.

    The guide is all that it learns from; `of` names the guide: a checkpoint of another one is not
    continued. Returns the network in eval mode with averaged weights; None if `stop_at` (of
    `time.monotonic`) came first: the same call goes on later. While it runs, `folder` gets
    checkpoints and ``log.jsonl``, the folder `previews` turntables, and `watch` is called with the
    averaged network and the seconds of training so far; all by the clock of `every_s`: between two
    checkpoints, between two lines of the log. `cameras` are looked through, and shapes are kept in
    order on `lattice` cells a side, at most; neither is in the fingerprint of a checkpoint.
    """
    device = torch.device(device)
    if network is None:
        network = fresh_generator(recipe.shape, len(prompts.words), seed=recipe.seed)
    cast(nn.Module, network).to(device).train()
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
    values = [recipe.sha256, list(prompts.train), list(prompts.words), of, type(network).__name__]
    fingerprint = value_sha256(values)
    for stage in stages(recipe, lattice=lattice):
        clock = _clock(recipe, stage.share, stop_at)
        task = MeshTask(network, guide, prompts, recipe, stage, clock, device, cameras)
        done = learn(
            task,
            clock,
            stage=stage.name,
            folder=folder,
            fingerprint=fingerprint,
            device=device,
            save_every=every_s[0],
            log_every=every_s[1],
            warmup=100 if clock.step_budget is None else min(100, 1 + clock.step_budget // 20),
            graphs=stage.graphs,
            saved=_saved(task, prompts, previews, watch),
        )
        if not done:
            return None
    cast(nn.Module, network).eval().requires_grad_(False)
    return network


def stages(recipe: MeshRecipe, *, lattice: int = LATTICE) -> tuple[Stage, ...]:
    """Return the stages of a recipe that have any budget."""
    one = recipe.stage_one
    mesh_lr = recipe.mesh_lr if one else recipe.lr
    both = (
        Stage("1-volumes", volumes(recipe, lattice=lattice), recipe.lr, 0.0, one, graphs=True),
        Stage("2-meshes", meshes(recipe, lattice=lattice), mesh_lr, one, 1 - one, graphs=False),
    )
    return tuple(stage for stage in both if stage.share > 0)


def _clock(recipe: MeshRecipe, share: float, stop_at: float | None) -> Clock:
    steps = max(1, round(recipe.steps * share)) if recipe.steps else None
    clock = Clock(budget=(recipe.seconds or math.inf) * share, step_budget=steps)
    return clock if stop_at is None else replace(clock, stop_at=stop_at)


def _saved(
    task: MeshTask, prompts: Prompts, previews: Path | None, watch: Watch | None
) -> Callable[[], None] | None:
    if previews is None and watch is None:
        return None

    def show() -> None:
        with task.learners["generator"].averages():
            if previews is not None:
                write_previews(previews, task.network, prompts, task.stage.look, task.device)
            if watch is not None:
                before = task.stage.begins * task.recipe.seconds
                watch(task.network, before + task.clock.spent)

    return show
