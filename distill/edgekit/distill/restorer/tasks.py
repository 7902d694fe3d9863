"""The stages of training, each a `learning.Task`: base, recognizer, restorer, sampled baseline."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.faces.sets import FaceBatch, Faces, FaceSampler, made_together
from edgekit.distill.fit_state import fast_bfloat16, placed
from edgekit.distill.graphs import bfloat16
from edgekit.distill.learning import Batch, Learner, Terms
from edgekit.distill.losses.adversarial import discriminator_loss
from edgekit.distill.restorer.attention import Memory, Seen
from edgekit.distill.restorer.diffusion import noised, velocity_of
from edgekit.distill.restorer.landmarks import landmark_loss
from edgekit.distill.restorer.one_step import OneStep, Restorer
from edgekit.distill.restorer.recognizer import EMBEDDING, Recognizer, cosface_loss
from edgekit.distill.restorer.terms import Terms as PictureTerms
from edgekit.distill.restorer.terms import fooled
from edgekit.distill.restorer.unet import UNet
from edgekit.distill.students.discriminator import fresh_discriminator

BASE_LR, RESTORER_LR, RECOGNIZER_LR, RIVAL_LR = 6e-4, 3e-4, 2e-3, 2e-4
ENCODER_LR = 5e-5
"""Of an identity encoder that is trained on: it knows something, and the restorer little yet."""
RIVAL_BETA = 0.5
SETTLED = 0.6
"""Share of the budget after which batch norms keep their statistics."""


def half(device: torch.device) -> torch.autocast:
    """Return the context in which products run in bfloat16 where that is faster."""
    return bfloat16(device, enabled=fast_bfloat16(device))


def generator_of(seed: int, step: int, device: torch.device) -> torch.Generator:
    """Return a generator that follows from seed and step alone."""
    mixed = (seed * 1_000_003 + step) * 6364136223846793005 + 1442695040888963407
    return torch.Generator(device).manual_seed(mixed % 2**63)


class Draws(Protocol):
    """Anything that makes the batch of a training step from its number."""

    def at(self, step: int, count: int, *, seed: int) -> FaceBatch:
        """Return the batch of one step; it follows from seed and number alone."""
        ...


class InTurns:
    """Several sets of faces in turns, each as often as any other whatever its size."""

    def __init__(self, samplers: Sequence[FaceSampler], *, together: int = 1) -> None:
        """All have pictures of one size and as many places.

        Batches of `together` steps are made at once and kept until they are asked for; they are
        the same for every number.
        """
        self.samplers, self.together = tuple(samplers), together
        self._kept: tuple[tuple[int, int, int], list[FaceBatch]] | None = None

    def at(self, step: int, count: int, *, seed: int) -> FaceBatch:
        """Return the batch of one step."""
        first = step - step % self.together
        wanted = (first, count, seed)
        if self._kept is None or self._kept[0] != wanted:
            due = [self.samplers[n % len(self.samplers)] for n in self._steps(first)]
            draws = [
                (sampler, sampler.drawn_at(n, count, seed=seed))
                for n, sampler in zip(self._steps(first), due, strict=True)
            ]
            self._kept = wanted, made_together(draws)
        return self._kept[1][step - first]

    def _steps(self, first: int) -> range:
        return range(first, first + self.together)


class Pictures:
    """Clean faces of training, some mirrored, drawn by step, each set as often as any other."""

    def __init__(self, sets: Sequence[Faces], count: int, seed: int) -> None:
        """Draw `count` a step, every person of a set as often as any other of it."""
        self.sets, self.count, self.seed = tuple(sets), count, seed
        self.num_people = sum(len(faces.people) for faces in sets)
        self.shares = []
        for faces in sets:
            owner = faces.identities.cpu()
            share = 1.0 / torch.bincount(owner, minlength=len(faces.people)).clamp(min=1)
            self.shares.append(share[owner].double())

    def drawn(self, step: int) -> tuple[Tensor, Tensor]:
        """Return faces (B x 3 x S x S in [-1, 1]) and whose they are, counted over all sets."""
        turn = step % len(self.sets)
        faces = self.sets[turn]
        device = faces.images.device
        dice = generator_of(self.seed, step, torch.device("cpu"))
        rows = torch.multinomial(self.shares[turn], self.count, replacement=True, generator=dice)
        flips = (torch.rand(self.count, 1, 1, 1, generator=dice) < 0.5).to(device)
        rows = rows.to(device)
        images = faces.images[rows].float() / 127.5 - 1
        others = sum(len(earlier.people) for earlier in self.sets[:turn])
        owners = faces.identities[rows] + others
        return torch.where(flips, images.flip(-1), images), owners


class BaseTask:
    """Pretraining: the U-Net learns to denoise faces."""

    def __init__(self, network: UNet, pictures: Pictures, device: torch.device) -> None:
        """Place the network on `device`."""
        self.device, self.pictures = device, pictures
        self.network = cast(UNet, placed(network, device).train())
        self.learners = {"network": Learner(self.network, BASE_LR)}

    def batch(self, step: int) -> Batch:
        """Return faces, noise and noise levels; half of the levels are low, where the work is."""
        faces, _ = self.pictures.drawn(step)
        dice = generator_of(self.pictures.seed + 1, step, self.device)
        noise = torch.randn(faces.shape, generator=dice, device=self.device)
        level = torch.rand(len(faces), generator=dice, device=self.device) ** 1.5
        return {"faces": faces.to(self.device), "noise": noise, "level": level}

    def phase(self, share: float) -> Hashable:
        """There is one."""
        return None

    def advance(self, batch: Batch, phase: Hashable) -> Terms:
        """Do one step on the squared error of the velocity."""
        wanted = velocity_of(batch["faces"], batch["noise"], batch["level"])
        with half(self.device):
            answer = self.network(
                noised(batch["faces"], batch["noise"], batch["level"]), batch["level"]
            )
        loss = F.mse_loss(answer.float(), wanted)
        self.learners["network"].step(loss)
        return {"loss": loss.detach()}


class RecognizerTask:
    """The net of the identity term learns to tell the people of the training split apart."""

    def __init__(self, network: Recognizer, pictures: Pictures, device: torch.device) -> None:
        """Place the network on `device`; one centre a person is trained with it."""
        self.device, self.pictures = device, pictures
        self.network = cast(Recognizer, placed(network, device))
        people = pictures.num_people
        dice = torch.Generator().manual_seed(pictures.seed)
        centres = nn.Parameter(torch.randn(people, EMBEDDING, generator=dice).to(device))
        self.both = nn.ModuleDict({"network": self.network})
        self.both.register_parameter("centres", centres)
        self.learners = {"network": Learner(self.both, RECOGNIZER_LR)}

    def batch(self, step: int) -> Batch:
        """Return faces and whose they are."""
        faces, identity = self.pictures.drawn(step)
        return {"faces": faces.to(self.device), "identity": identity.to(self.device)}

    def phase(self, share: float) -> Hashable:
        """Return whether the norms are settled."""
        return share >= SETTLED

    def advance(self, batch: Batch, phase: Hashable) -> Terms:
        """Do one step on the large-margin loss."""
        self.network.train(not phase)
        with half(self.device):
            embedded = self.network(batch["faces"])
        centres = cast(Tensor, self.both.centres)
        loss = cosface_loss(embedded, centres, batch["identity"])
        self.learners["network"].step(loss)
        with torch.no_grad():
            guess = (embedded @ F.normalize(centres, dim=1).T).argmax(1)
            right = (guess == batch["identity"]).float().mean()
        return {"loss": loss.detach(), "right": right}


def as_batch(drawn: FaceBatch, device: torch.device) -> Batch:
    """Return what training needs of a batch of faces."""
    return {
        "target": drawn.target.to(device),
        "degraded": drawn.degraded.to(device),
        "references": drawn.references.to(device),
        "mask": drawn.reference_mask.to(device),
        "target_landmarks": drawn.target_landmarks.to(device),
        "reference_landmarks": drawn.reference_landmarks.to(device),
    }


@dataclass(frozen=True, slots=True)
class Codes:
    """Where the codes of a restorer come from, and whether training moves that too."""

    encoder: nn.Module
    """References (B x R x 3 x S x S in [-1, 1]) and their mask (B x R) to codes (B x 32 x 256)."""
    tuned: bool = False
    """The encoder is trained on with the restorer, and fits no other one afterwards."""

    def of(self, batch: Batch) -> Tensor:
        """Return the codes of a batch, in float32."""
        code: Tensor = self.encoder(batch["references"], batch["mask"])
        return code.float()


class RestorerTask:
    """A one-step network learns to restore; a judge of patches learns beside it."""

    def __init__(
        self,
        network: nn.Module,
        sampler: Draws,
        terms: PictureTerms,
        device: torch.device,
        *,
        batch: int,
        seed: int,
        codes: Codes | None = None,
        teacher: nn.Module | None = None,
        lr: float = RESTORER_LR,
        judge_width: int = 48,
    ) -> None:
        """`network` is a `Restorer`, and `codes` are for one that takes a code.

        A `teacher`, another `Restorer`, adds the distance to its pictures of the same portraits.
        """
        self.device, self.sampler, self.seed, self.count = device, sampler, seed, batch
        self.network = placed(network, device)
        self.codes = codes
        self.teacher = None if teacher is None else placed(teacher, device).requires_grad_(False)
        self.norms = any(isinstance(part, nn.BatchNorm2d) for part in self.network.modules())
        self.terms = terms.to(device)
        learns = self.network
        self.before: nn.Module | None = None
        if codes is not None and codes.tuned:
            self.before = deepcopy(codes.encoder).requires_grad_(False)
            both = {"network": self.network, "encoder": codes.encoder.requires_grad_(True)}
            learns = nn.ModuleDict(both)
        self.learners = {"network": Learner(learns, lr, slower={"encoder": ENCODER_LR / lr})}
        self.judge: nn.Module | None = None
        if terms.weights.adversarial:
            self.judge = placed(fresh_discriminator(judge_width, seed=seed), device)
            self.learners["judge"] = Learner(self.judge, RIVAL_LR, beta=RIVAL_BETA)

    def batch(self, step: int) -> Batch:
        """Return targets, degraded forms, references, and codes if they stay what they are."""
        batch = as_batch(self.sampler.at(step, self.count, seed=self.seed), self.device)
        if self.codes is not None and not self.codes.tuned:
            with torch.no_grad():
                batch["code"] = self.codes.of(batch)
        return batch

    def phase(self, share: float) -> Hashable:
        """Return whether batch norms, where there are any, are settled."""
        return self.norms and share >= SETTLED

    def advance(self, batch: Batch, phase: Hashable) -> Terms:
        """Do one step of the judge and one of the restorer."""
        if self.norms:
            self.network.train(not phase)
        restorer = cast(Restorer, self.network)
        watched = self.terms.weights.landmark > 0 and restorer.conditioning == "memory"
        seen = Seen() if watched else None
        code = batch.get("code")
        with half(self.device):
            if self.codes is not None and self.codes.tuned:
                code = self.codes.of(batch)
            given = restorer.given(batch["references"], batch["mask"], code)
            made = restorer.restored(batch["degraded"], given, seen)
        made = made.float()
        found: Terms = {}
        if self.judge is not None:
            found["judge"] = self._judged(batch, made.detach())
            with half(self.device):
                found["adversarial"] = fooled(self.judge, batch["degraded"], made)
        with half(self.device):
            found |= self.terms(made, batch["target"])
        if self.before is not None and code is not None:
            found["code"] = self._moved(batch, code)
        if self.teacher is not None:
            found["taught"] = self._taught(batch, None if code is None else code.detach(), made)
        if seen is not None and given.memory is not None:
            found["landmark"] = self._landmarks(restorer, batch, seen, given.memory)
        loss = self.terms.total(found)
        self.learners["network"].step(loss)
        return {name: value.detach() for name, value in {**found, "loss": loss}.items()}

    def _moved(self, batch: Batch, code: Tensor) -> Tensor:
        """Return how far codes are from those of the encoder before, where somebody is known.

        Both are taken from the mean before: what is common to all people must not hide that codes
        lose what tells people apart.
        """
        with torch.no_grad(), half(self.device):
            before = Codes(cast(nn.Module, self.before)).of(batch)
        known_B1 = batch["mask"].any(1, keepdim=True).float()
        count = known_B1.sum().clamp(min=1.0)
        now_BC, before_BC = code.flatten(1), before.flatten(1)
        mean_C = (before_BC * known_B1).sum(0) / count
        alike_B = F.cosine_similarity(now_BC - mean_C, before_BC - mean_C, dim=1)
        return ((1 - alike_B) * known_B1[:, 0]).sum() / count

    def _taught(self, batch: Batch, code: Tensor | None, made: Tensor) -> Tensor:
        teacher = cast(Restorer, self.teacher)
        with torch.no_grad(), half(self.device):
            given = teacher.given(batch["references"], batch["mask"], code)
            wanted = teacher.restored(batch["degraded"], given).float().clamp(-1, 1)
        far = F.l1_loss(made, wanted)
        if self.terms.features is not None:
            with half(self.device):
                far = far + 2 * self.terms.features(made.clamp(-1, 1), wanted).float()
        return far

    def _landmarks(self, restorer: Restorer, batch: Batch, seen: Seen, memory: Memory) -> Tensor:
        size_px = batch["target"].shape[-1]
        return landmark_loss(
            seen.queries,
            [keys for keys, _ in memory.layers],
            head_dims=restorer.head_dims,
            size_px=size_px,
            target_points=batch["target_landmarks"],
            reference_points=batch["reference_landmarks"],
            mask=batch["mask"],
        )

    def _judged(self, batch: Batch, made: Tensor) -> Tensor:
        assert self.judge is not None
        source = torch.cat((batch["degraded"], batch["degraded"]))
        with half(self.device):
            scores = self.judge(source, torch.cat((batch["target"], made))).float()
        loss = discriminator_loss(*scores.chunk(2))
        self.learners["judge"].step(loss)
        return loss.detach()


class SampledTask:
    """The baseline: a diffusion model of portraits that sees the degraded one and references."""

    def __init__(
        self, network: OneStep, sampler: Draws, device: torch.device, *, batch: int, seed: int
    ) -> None:
        """`network` has three extra channels for the degraded portrait."""
        self.device, self.sampler, self.seed, self.count = device, sampler, seed, batch
        self.network = cast(OneStep, placed(network, device))
        self.learners = {"network": Learner(self.network, RESTORER_LR)}

    def batch(self, step: int) -> Batch:
        """Return a batch of faces with noise."""
        batch = as_batch(self.sampler.at(step, self.count, seed=self.seed), self.device)
        dice = generator_of(self.seed + 2, step, self.device)
        shape = batch["target"].shape
        batch["noise"] = torch.randn(shape, generator=dice, device=self.device)
        batch["level"] = torch.rand(shape[0], generator=dice, device=self.device)
        return batch

    def phase(self, share: float) -> Hashable:
        """There is one."""
        return None

    def advance(self, batch: Batch, phase: Hashable) -> Terms:
        """Do one step on the squared error of the velocity."""
        wanted = velocity_of(batch["target"], batch["noise"], batch["level"])
        noisy = noised(batch["target"], batch["noise"], batch["level"])
        with half(self.device):
            given = self.network.given(batch["references"], batch["mask"])
            answer = self.network.network(
                noisy, batch["level"], given.memory, batch["degraded"], None
            )
        loss = F.mse_loss(answer.float(), wanted)
        self.learners["network"].step(loss)
        return {"loss": loss.detach()}


def state_of(network: nn.Module) -> dict[str, Any]:
    """Return a network's weights on the processor."""
    return {name: value.detach().cpu() for name, value in network.state_dict().items()}
