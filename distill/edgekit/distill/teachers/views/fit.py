"""Train a views teacher: a bank of renders, denoising with text and camera, a folder at the end.

Shape key, used as name suffixes in this file:
    P prompts of a bank   K tokens of a prompt   B pictures of a batch
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.core.errors import BadInput
from edgekit.core.progress import Report, silent
from edgekit.core.store import complete, prepared_folder, read_manifest, value_sha256
from edgekit.distill.journal import Clock, Journal
from edgekit.distill.learning import Batch, Learner, Terms, learn
from edgekit.distill.render.views import cameras_at, random_backgrounds
from edgekit.distill.teachers.networks import channels_last, parameters_of, token_ids
from edgekit.distill.teachers.views.bank import Bank, mesh_bank, world_bank
from edgekit.distill.teachers.views.guide import ViewsGuide
from edgekit.distill.teachers.views.meshes import read_index
from edgekit.distill.teachers.views.networks import (
    KIND,
    TOY,
    Networks,
    Rounded,
    ViewSize,
    clean_pictures,
    fresh_networks,
    new_scheduler,
    write_networks,
)
from edgekit.distill.teachers.views.sampling import write_sheet
from edgekit.distill.teachers.views.world import every_prompt, split


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewsSettings:
    """Everything that decides a views teacher."""

    size: ViewSize = field(default_factory=ViewSize)
    seconds: float = 600
    """Time for training, over all calls; renders come on top."""
    steps: int | None = None
    """An end in steps, for a run that does not depend on the speed of the machine."""
    batch: int = 256
    toys: tuple[str, ...] = ()
    """Prompts of the toys to learn; all 320 if none are named."""
    seeds: int = 4
    """Variants of each toy."""
    views: int = 32
    """Pictures of each variant, and of each captioned mesh."""
    meshes: Path | None = None
    """A folder of captioned meshes; those of held-out captions are left out."""
    share_meshes: float = 0.5
    """Part of a batch that shows captioned meshes, if there are any."""
    peak_rate: float = 8e-4
    no_text: float = 0.1
    """Part of a batch that is not told what it shows, so that the text can be stressed later."""
    seed: int = 0
    save_every: float = 120
    log_every: float = 30

    def facts(self) -> dict[str, object]:
        """Return what decides the result, as JSON; `seconds` and `steps` do not count as such."""
        facts = asdict(self)
        for name in ("seconds", "steps", "save_every", "log_every"):
            del facts[name]
        return {**facts, "meshes": None if self.meshes is None else str(self.meshes)}


FORMAT = 2
"""Raised when the same settings would give another teacher than before."""
STAGE, WARMUP = "views", 200
LEAST_BLUR = 0.2
"""Standard deviation of noise below which a picture's errors are not weighted more."""

TOY_SETTINGS = ViewsSettings(
    size=TOY,
    toys=tuple(split()[1]),
    seconds=30,
    batch=32,
    seeds=1,
    views=48,
    peak_rate=1.5e-3,
    log_every=10,
)
"""To try the command; with half an hour of `seconds` on one core, it hears the words."""


def fit_views(
    settings: ViewsSettings,
    folder: Path,
    *,
    device: torch.device,
    stop_at: float = math.inf,
    report: Report = silent,
) -> dict[str, Any] | None:
    """Train a teacher into `folder` and return its manifest; if it is there already, only that.

    State is kept in `folder`/work on a timer. A call that was interrupted continues, and so does
    one that asks for more seconds than the last. None if `stop_at` (of `time.monotonic`) came
    before the budget was used up: then the same call continues.

    Raises BadInput if the folder holds the state of other settings.
    """
    recipe = value_sha256([settings.facts(), settings.seconds, settings.steps])
    if complete(folder, kind=KIND, recipe_sha256=recipe):
        return read_manifest(folder, kind=KIND)
    work = prepared_folder(folder / "work")
    journal = Journal(work)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    fingerprint = value_sha256([FORMAT, settings.facts()])
    _refuse_others(work, fingerprint)
    begun = time.monotonic()
    banks = _banks(settings, device, report)
    sizes = {f"pictures_{number}": len(bank) for number, bank in enumerate(banks)}
    journal.write("renders", {**sizes, "seconds": time.monotonic() - begun})
    prompts = sorted({"", *every_prompt(), *(p for bank in banks for p in bank.prompts)})
    networks = fresh_networks(settings.size, prompts, work, settings.seed)
    task = ViewsTask(networks, banks, settings, device, half=device.type == "cuda")
    clock = Clock(settings.seconds, settings.steps, stop_at=stop_at)
    done = learn(
        task,
        clock,
        stage=STAGE,
        folder=work,
        fingerprint=fingerprint,
        device=device,
        save_every=settings.save_every,
        log_every=settings.log_every,
        warmup=WARMUP if settings.steps is None else min(WARMUP, 1 + settings.steps // 20),
    )
    if not done:
        return None
    for module in (networks.unet, networks.text_encoder):
        module.eval().requires_grad_(False)
    guide = ViewsGuide(networks, identity="just trained")
    facts = {
        **settings.facts(),
        "steps": clock.step,
        "seconds": round(clock.spent, 1),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "parameters": parameters_of(networks.unet) + parameters_of(networks.text_encoder),
        "prompts": {"toys": len(banks[0].prompts), "captions": _captions(banks)},
        "pictures": sum(sizes.values()),
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")},
    }
    write_sheet(guide, split()[1], folder / "preview.png")
    write_networks(networks, folder, recipe, facts)
    return read_manifest(folder, kind=KIND)


def _refuse_others(work: Path, fingerprint: str) -> None:
    """Raise BadInput if an earlier call with other settings left its state in `work`."""
    file = work / f"{STAGE}.pt"
    if not file.exists():
        return
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if state["fingerprint"] != fingerprint:
        raise BadInput(
            f"{work.parent} holds a teacher of other settings, not yet finished or finished",
            hint="repeat the settings, or choose another --out",
        )


def _captions(banks: list[Bank]) -> int:
    return len(banks[1].prompts) if len(banks) > 1 else 0


def _banks(settings: ViewsSettings, device: torch.device, report: Report) -> list[Bank]:
    """Return the toys, then the captioned meshes if there are any; the same at every call."""
    generator = torch.Generator().manual_seed(settings.seed)
    common = {"views": settings.views, "size_px": settings.size.size_px}
    toys = world_bank(
        settings.toys or every_prompt(),
        seeds=range(settings.seeds),
        generator=generator,
        device=device,
        report=report,
        **common,
    )
    if settings.meshes is None:
        return [toys]
    known = [entry for entry in read_index(settings.meshes) if not entry.held_out]
    if not known:
        raise BadInput(
            f"{settings.meshes} has held-out captions only", hint="add meshes with other captions"
        )
    return [
        toys, mesh_bank(known, generator=generator, device=device, report=report, **common)
    ]  # fmt: skip


class ViewsTask:
    """What a step of training is: pictures of the banks, noise, and how far the guess is off.

    In a GPU's graph by itself: its batch is made outside, and nothing in `advance` depends on
    values on the host.
    """

    learners: dict[str, Learner]

    def __init__(
        self,
        networks: Networks,
        banks: list[Bank],
        settings: ViewsSettings,
        device: torch.device,
        *,
        half: bool,
    ) -> None:
        """Place everything on `device`; `half` computes in bfloat16, whatever the device."""
        self.networks, self.banks, self.settings, self.device = networks, banks, settings, device
        self.half = half
        channels_last(networks.unet).to(device).train()
        networks.text_encoder.to(device).train()
        both = nn.ModuleList([networks.unet, networks.text_encoder])
        self.learners = {"teacher": Learner(both, settings.peak_rate)}
        self.alphas = new_scheduler().alphas_cumprod.to(device)
        self.ids = [token_ids(networks.tokenizer, bank.prompts).to(device) for bank in banks]
        self.blank_K = token_ids(networks.tokenizer, [""])[0].to(device)
        self._generator = torch.Generator(device)

    def batch(self, step: int) -> Batch:
        """Return pictures in [-1, 1] over random colors, their tokens, their cameras and noise."""
        settings, device, dice = self.settings, self.device, self._generator
        dice.manual_seed(settings.seed * 1_000_003 + step)
        of_meshes = round(settings.batch * settings.share_meshes) if len(self.banks) > 1 else 0
        parts = []
        counts = (settings.batch - of_meshes, of_meshes)
        for bank, ids, count in zip(self.banks, self.ids, counts, strict=False):
            picks = torch.randint(len(bank), (count,), generator=dice, device=device)
            shown = bank.pictures(picks, random_backgrounds(count, dice, device))
            parts.append((shown, ids[bank.prompt_N[picks]], bank.yaw_N[picks], bank.pitch_N[picks]))
        shown, ids_BK, yaw, pitch = (torch.cat(each) for each in zip(*parts, strict=True))
        count = len(shown)
        untold = torch.rand(count, generator=dice, device=device) < settings.no_text
        return {
            "pictures": shown * 2 - 1,
            "ids": torch.where(untold[:, None], self.blank_K, ids_BK),
            "yaw": yaw,
            "pitch": pitch,
            "step": torch.randint(len(self.alphas), (count,), generator=dice, device=device),
            "noise": torch.randn(shown.shape, generator=dice, device=device),
        }

    def advance(self, batch: Batch, phase: Hashable) -> Terms:
        """Do one step."""
        loss = self.loss(batch)
        self.learners["teacher"].step(loss)
        return {"loss": loss.detach()}

    def phase(self, share: float) -> Hashable:
        """Return the same form for every step."""
        return None

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error of the velocity, which follows from the picture.

        Source: Salimans and Ho 2022 (arXiv:2202.00512), appendix D.
        """
        pictures, step = batch["pictures"], batch["step"]
        signal = self.alphas[step].sqrt()[:, None, None, None]
        blur = (1 - self.alphas[step]).sqrt()[:, None, None, None]
        noisy = signal * pictures + blur * batch["noise"]
        kind = self.device.type
        # A cached cast would belong to the graph in which it was made.
        with torch.autocast(kind, torch.bfloat16, enabled=self.half, cache_enabled=False):
            states = self.networks.text_encoder(batch["ids"]).last_hidden_state
        cameras = cameras_at(batch["yaw"], batch["pitch"])
        unet = Rounded(self.networks.unet) if self.half else self.networks.unet
        if self.half:
            noisy, states = noisy.bfloat16(), states.bfloat16()
        guess = clean_pictures(unet, noisy, step, states, cameras)
        weighted: Tensor = ((guess - pictures) / blur.clamp(min=LEAST_BLUR)).square()
        return weighted.mean()
