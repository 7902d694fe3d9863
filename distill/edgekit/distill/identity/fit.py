"""Train an encoder by the stages of its arm, or a generator on the codes of a finished one."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgekit.core.store import value_sha256
from edgekit.distill.faces.sets import Faces
from edgekit.distill.graphs import bfloat16
from edgekit.distill.identity.decoders import FlowDecoder, MaskedDecoder
from edgekit.distill.identity.encoder import IdentityEncoder, fresh_encoder
from edgekit.distill.identity.heads import (
    ContrastHead,
    CosFaceHead,
    FlowHead,
    Head,
    MaskedHead,
)
from edgekit.distill.identity.recipe import ARMS, Aim, IdentityRecipe
from edgekit.distill.identity.sampling import Draw, Few, IdentitySampler, batch_of
from edgekit.distill.journal import Clock
from edgekit.distill.learning import Batch, Learner, Terms, learn

SAVE_S, LOG_S = 30.0, 60.0
GENERATOR_FEW = Few(1, 7, 2)
"""A generator is trained on codes of one to seven photos: it is tested on each of these."""
ENCODER_PARTS = 64
"""Photos that are encoded at once where nothing is trained."""


class CodeTask:
    """A stage: photos to codes to a loss. The encoder learns too, unless it is frozen."""

    learners: dict[str, Learner]

    def __init__(
        self,
        encoder: IdentityEncoder,
        head: Head,
        faces: Faces,
        few: Few,
        *,
        people: int,
        seed: int,
        lr: float,
        frozen: bool = False,
    ) -> None:
        """Everything lies on the device of the faces already."""
        self.faces, self.frozen = faces, frozen
        self.encoder, self.head = _fast(encoder), _fast(head)
        self.sampler = IdentitySampler(faces, few)
        self.people, self.seed, self.few = people, seed, few
        self.device = faces.images.device
        self.half = self.device.type == "cuda"
        self._generator = torch.Generator(self.device)
        encoder.requires_grad_(not frozen)
        module = cast(nn.Module, self.head)
        trained = module if frozen else nn.ModuleDict({"encoder": encoder, "head": module})
        self.learners = {"codes": Learner(trained, lr, beta=0.95)}

    def batch(self, step: int) -> Batch:
        """Return rows and random numbers of one step."""
        draw = self.sampler.at(step, self.people, seed=self.seed)
        self._generator.manual_seed(self.seed * 1_000_003 + step)
        chance = self.head.chance(self.people * self.few.targets, self._generator)
        rows = {name: value.to(self.device) for name, value in draw._asdict().items()}
        return {**rows, **{f"chance_{name}": value for name, value in chance.items()}}

    def advance(self, batch: Batch, phase: Hashable) -> Terms:
        """Do one step."""
        draw = Draw(**{name: batch[name] for name in Draw._fields})
        photos = batch_of(self.faces, draw)
        chance = {k.removeprefix("chance_"): v for k, v in batch.items() if k.startswith("chance_")}
        with bfloat16(self.device, enabled=self.half):
            with torch.set_grad_enabled(not self.frozen):
                codes = self.encoder(photos.inputs, photos.mask)
            loss = self.head.loss(self.encoder, codes, photos, chance)
        self.learners["codes"].step(loss)
        return {"loss": loss.detach()}

    def phase(self, share: float) -> Hashable:
        """Return the same form for every step."""
        return None


def fit_identity(
    recipe: IdentityRecipe,
    faces: Faces,
    folder: Path,
    *,
    stop_at: float | None = None,
    every_s: tuple[float, float] = (SAVE_S, LOG_S),
) -> IdentityEncoder | None:
    """Train an encoder on `faces` (of its size) by the stages of its arm, or go on in `folder`.

    Returns it in eval mode, its codes centred on the mean person of `faces`; None if `stop_at` (of
    `time.monotonic`) came first: the same call goes on later. The decoders are dropped. `every_s`
    is the time between two checkpoints and between two lines of the log.
    """
    device = faces.images.device
    arm, encoder = ARMS[recipe.arm], fresh_encoder(recipe.shape, seed=recipe.seed).to(device)
    for number, (aim, share) in enumerate(arm.stages):
        head = _head(aim, recipe, len(faces.people), seed=recipe.seed + 1 + number).to(device)
        task = CodeTask(
            encoder,
            cast(Head, head),
            faces,
            arm.few,
            people=recipe.people,
            seed=recipe.seed,
            lr=recipe.flow_lr if aim == "flow" else recipe.lr,
        )
        clock = _clock(recipe, share, stop_at)
        fingerprint = value_sha256([recipe.values(), number, faces_sha256(faces)])
        stage = f"{number + 1}-{aim}"
        if not _learned(task, clock, stage, folder, fingerprint, every_s):
            return None
    encoder = encoder.eval().requires_grad_(False)
    encoder.center.copy_(encoder.center + mean_code(encoder, faces))
    return encoder


def fit_generator(
    encoder: IdentityEncoder,
    recipe: IdentityRecipe,
    faces: Faces,
    folder: Path,
    *,
    of: str,
    stop_at: float | None = None,
    every_s: tuple[float, float] = (SAVE_S, LOG_S),
) -> FlowDecoder | None:
    """Train a generator on the frozen codes of `encoder`, by the budget of `recipe`.

    It starts from random weights and is told points and pose of its target, the same for every
    encoder. `of` says which encoder it is: a checkpoint of another one is not continued. Returns it
    in eval mode; None if `stop_at` came first.
    """
    device = faces.images.device
    head = _head("flow", recipe, 0, seed=recipe.seed + 101).to(device)
    task = CodeTask(
        encoder.to(device).eval(),
        cast(Head, head),
        faces,
        GENERATOR_FEW,
        people=max(2, recipe.pictures // GENERATOR_FEW.targets),
        seed=recipe.seed + 101,
        lr=recipe.lr,
        frozen=True,
    )
    fingerprint = value_sha256(["generator", of, recipe.values(), faces_sha256(faces)])
    clock = _clock(recipe, 1.0, stop_at)
    if not _learned(task, clock, "generator", folder, fingerprint, every_s):
        return None
    decoder = cast(FlowHead, head).decoder
    return decoder.eval().requires_grad_(False)


def losses(folder: Path, stage: str) -> list[float]:
    """Return the logged losses of a stage, in order."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [float(row["loss"]) for row in rows if row["stage"] == stage and "loss" in row]


@torch.no_grad()
def mean_code(encoder: IdentityEncoder, faces: Faces) -> Tensor:
    """Return the mean code of the people of `faces`, each of up to three photos; 1 x Q x W."""
    sampler = IdentitySampler(faces, Few(3, 3, 1, disjoint=False), mirror=False)
    people, generator = sampler.with_photos(1), torch.Generator().manual_seed(0)
    total = torch.zeros_like(encoder.center)
    for first in range(0, len(people), ENCODER_PARTS):
        draw = sampler.of(people[first : first + ENCODER_PARTS], generator)
        draw = Draw(*(value.to(faces.images.device) for value in draw))
        photos = batch_of(faces, draw)
        total += encoder(photos.inputs, photos.mask).sum(0, keepdim=True)
    return total / len(people)


def faces_sha256(faces: Faces) -> str:
    """Return a hash of which faces these are."""
    return value_sha256([list(faces.people), list(faces.keys), faces.size_px])


def _learned(
    task: CodeTask,
    clock: Clock,
    stage: str,
    folder: Path,
    fingerprint: str,
    every_s: tuple[float, float],
) -> bool:
    return learn(
        task,
        clock,
        stage=stage,
        folder=folder,
        fingerprint=fingerprint,
        device=task.device,
        save_every=every_s[0],
        log_every=every_s[1],
        warmup=100 if clock.step_budget is None else min(100, 1 + clock.step_budget // 20),
    )


def _fast(module: Any) -> Any:
    """Return a module whose convolutions are laid out as tensor cores want them, on a GPU."""
    if next(module.parameters()).device.type != "cuda":
        return module
    torch.backends.cuda.enable_cudnn_sdp(False)  # not every version can be part of a graph
    return module.to(memory_format=torch.channels_last)


def _clock(recipe: IdentityRecipe, share: float, stop_at: float | None) -> Clock:
    steps = None if recipe.steps is None else max(1, round(recipe.steps * share))
    clock = Clock(budget=recipe.seconds * share, step_budget=steps)
    return clock if stop_at is None else replace(clock, stop_at=stop_at)


def _head(aim: Aim, recipe: IdentityRecipe, people: int, *, seed: int) -> nn.Module:
    """Return the untrained head of a stage; its weights follow from `seed`."""
    channels, heads = recipe.shape.width, recipe.shape.heads
    makers: dict[Aim, Any] = {
        "masked": lambda: MaskedHead(
            MaskedDecoder(
                channels,
                size_px=recipe.target_px,
                width=recipe.masked_width,
                layers=recipe.masked_layers,
                heads=heads,
            )
        ),
        "flow": lambda: FlowHead(
            FlowDecoder(
                channels, size_px=recipe.target_px, channels=recipe.flow_channels, heads=heads
            )
        ),
        "cosface": lambda: CosFaceHead(channels, people),
        "infonce": lambda: ContrastHead(channels),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: nn.Module = makers[aim]()
    return made
