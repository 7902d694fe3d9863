"""The stages of a run, each of which continues where it was killed: base, recognizer, restorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.core.errors import BadInput
from edgekit.distill.faces.sets import Faces, FaceSampler
from edgekit.distill.identity.encoder import IdentityEncoder
from edgekit.distill.journal import Clock
from edgekit.distill.learning import Task, learn
from edgekit.distill.restorer.one_step import CODE_TOKENS, CODE_WIDTH, Form, OneStep, one_step
from edgekit.distill.restorer.phone import PHONE, TOY_PHONE, PhoneRestorer, fresh_phone
from edgekit.distill.restorer.recognizer import Recognizer, fresh_recognizer
from edgekit.distill.restorer.tasks import (
    RESTORER_LR,
    BaseTask,
    Codes,
    InTurns,
    Pictures,
    RecognizerTask,
    RestorerTask,
)
from edgekit.distill.restorer.terms import Terms, TermWeights
from edgekit.distill.restorer.unet import UNet, UNetShape, fresh_unet

PHONE_LR = 1e-3
ALONE = 4
"""One of so many training batches comes without references."""
TOGETHER = 8
"""Batches that are degraded in one go on a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run trains, for how long a stage may go on, and how often it is saved."""

    folder: Path
    device: torch.device
    fingerprint: str
    """Of everything that decides the result; a checkpoint of another one is not continued."""
    steps: int = 0
    """Steps of each stage at most; 0: time alone decides."""
    stop_at: float = float("inf")
    """A time of `time.monotonic` at which the process must have ended."""
    save_every: float = 30.0
    log_every: float = 20.0
    graphs: bool = True

    def run(self, task: Task, stage: str, seconds: float) -> bool:
        """Train one stage; False if the process must end before it is finished."""
        clock = Clock(seconds, self.steps or None, stop_at=self.stop_at)
        return learn(
            task,
            clock,
            stage=stage,
            folder=self.folder,
            fingerprint=self.fingerprint,
            device=self.device,
            save_every=self.save_every,
            log_every=self.log_every,
            graphs=self.graphs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a restorer is trained with besides its form."""

    size_px: int
    batch: int
    seed: int
    references: int = 4
    wrong_share: float = 0.2
    severity: str = "mixed"
    toy: bool = False
    lr: float = RESTORER_LR
    """Of the restorer; the network for phones, which starts from nothing, has its own."""
    weights: TermWeights = field(default_factory=TermWeights)

    def unet(self) -> UNetShape:
        """Return the shape of a base of this size."""
        patch = max(2, self.size_px // 64)  # 64 cells a side from 128 pixels on
        if self.toy:
            return UNetShape(widths=(16, 16, 24, 32), patch=patch, head_dim=8, time=32)
        return UNetShape(patch=patch)

    def sampler(self, sets: Sequence[Faces]) -> InTurns:
        """Return what training draws from: sets in turns, every fourth turn without references.

        So people with one photo are targets too, and a portrait without references is nothing new.
        """
        alone = [self._sampler(faces, (0, 0)) for faces in sets]
        known = [self._sampler(faces, (least_references(faces), self.references)) for faces in sets]
        on_gpu = sets[0].images.device.type == "cuda"
        return InTurns(known * (ALONE - 1) + alone, together=TOGETHER if on_gpu else 1)

    def _sampler(self, faces: Faces, references: tuple[int, int]) -> FaceSampler:
        return FaceSampler(
            faces,
            references=references,
            places=self.references,
            wrong_share=self.wrong_share if references[1] else 0.0,
            severity=self.severity,
        )


def least_references(faces: Faces) -> int:
    """Return 1, or 0 if nobody has a second photo."""
    return 1 if int(torch.bincount(faces.identities.cpu()).max()) > 1 else 0


class CodeEncoder(nn.Module):
    """An identity encoder behind pictures of any size; frozen until a stage trains it on."""

    def __init__(self, encoder: IdentityEncoder) -> None:
        """Raise BadInput for an encoder whose codes have another shape than 32 x 256."""
        super().__init__()
        if encoder.shape.code != (CODE_TOKENS, CODE_WIDTH):
            tokens, width = encoder.shape.code
            raise BadInput(
                f"the encoder makes codes of {tokens} x {width}, not {CODE_TOKENS} x {CODE_WIDTH}",
                hint="name an encoder trained with the default shape",
            )
        self.encoder = encoder.eval().requires_grad_(False)

    def forward(self, references: Tensor, mask: Tensor) -> Tensor:
        """Return codes (B x 32 x 256) of references B x R x 3 x S x S."""
        side = self.encoder.shape.size_px
        if references.shape[-1] != side:
            small = F.interpolate(
                references.flatten(0, 1), (side, side), mode="bilinear", antialias=True
            )
            references = small.reshape(*mask.shape, 3, side, side)
        code: Tensor = self.encoder(references, mask)
        return code


def base_stage(place: Place, plan: Plan, sets: Sequence[Faces], seconds: float) -> UNet | None:
    """Pretrain a base to denoise faces; None if the process must end first."""
    network = fresh_unet(plan.unet(), seed=plan.seed)
    batch = plan.batch * (1 if plan.toy else 4)
    task = BaseTask(network, Pictures(sets, batch, plan.seed), place.device)
    return task.network if place.run(task, "base", seconds) else None


def recognizer_stage(
    place: Place, plan: Plan, sets: Sequence[Faces], seconds: float
) -> Recognizer | None:
    """Train the net of the identity term; None if the process must end first."""
    network = fresh_recognizer(4 if plan.toy else 32, seed=plan.seed)
    batch = 8 if plan.toy else 4 * plan.batch
    task = RecognizerTask(network, Pictures(sets, batch, plan.seed), place.device)
    if not place.run(task, "recognizer", seconds):
        return None
    return task.network.eval().requires_grad_(False)


def restorer_stage(
    place: Place,
    plan: Plan,
    sets: Sequence[Faces],
    network: nn.Module,
    recognizer: Recognizer | None,
    seconds: float,
    *,
    stage: str = "restorer",
    codes: Codes | None = None,
    teacher: nn.Module | None = None,
) -> bool:
    """Train a one-step restorer; False if the process must end first.

    The encoder of its `codes` is frozen afterwards, whether it was trained on or not.
    """
    if codes is not None:
        codes.encoder.to(place.device)
    task = RestorerTask(
        network,
        plan.sampler(sets),
        Terms(plan.weights, recognizer, plan.size_px),
        place.device,
        batch=plan.batch,
        seed=plan.seed,
        codes=codes,
        teacher=teacher,
        judge_width=8 if plan.toy else 48,
        lr=PHONE_LR if isinstance(network, PhoneRestorer) else plan.lr,
    )
    whole = place.run(task, stage, seconds)
    if codes is not None:
        codes.encoder.requires_grad_(False)
    return whole


def started(plan: Plan, base: UNet, form: Form) -> OneStep:
    """Return a one-step restorer with the weights of `base`."""
    return one_step(base.shape, base.state_dict(), form, seed=plan.seed)


def phone_of(plan: Plan) -> PhoneRestorer:
    """Return an untrained network for phones."""
    return fresh_phone(TOY_PHONE if plan.toy else PHONE, seed=plan.seed)
