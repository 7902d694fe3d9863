"""Train a views teacher: a bank of renders, denoising with text and camera, a folder at the end.

Shape key, used as name suffixes in this file:
    P prompts of a bank   K tokens of a prompt   B pictures of a batch
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn

from edgekit.core.errors import BadInput
from edgekit.core.progress import Report, silent
from edgekit.core.store import complete, prepared_folder, read_manifest, value_sha256
from edgekit.distill.render.views import Cameras, random_backgrounds
from edgekit.distill.teachers.journal import Clock, Journal, averaged, learning_rate, weights
from edgekit.distill.teachers.networks import channels_last, parameters_of, token_ids
from edgekit.distill.teachers.views.bank import Bank, mesh_bank, world_bank
from edgekit.distill.teachers.views.guide import ViewsGuide
from edgekit.distill.teachers.views.meshes import read_index
from edgekit.distill.teachers.views.networks import (
    KIND,
    TOY,
    Networks,
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
        torch._dynamo.config.suppress_errors = True  # a failed compile falls back to eager
    state = _state(work, settings, device)
    begun = time.monotonic()
    banks = _banks(settings, device, report)
    sizes = {f"pictures_{number}": len(bank) for number, bank in enumerate(banks)}
    journal.write("renders", {**sizes, "seconds": time.monotonic() - begun})
    prompts = sorted({"", *every_prompt(), *(p for bank in banks for p in bank.prompts)})
    networks = fresh_networks(settings.size, prompts, work, settings.seed)
    trainer = _Trainer(networks, banks, settings, device)
    if state is not None:
        trainer.resume(state)
    if not trainer.run(work, journal, stop_at):
        return None
    trainer.settle()
    guide = ViewsGuide(networks, identity="just trained")
    facts = {
        **settings.facts(),
        "steps": trainer.clock.step,
        "seconds": round(trainer.clock.spent, 1),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "parameters": parameters_of(networks.unet) + parameters_of(networks.text_encoder),
        "prompts": {"toys": len(banks[0].prompts), "captions": _captions(banks)},
        "pictures": sum(sizes.values()),
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")},
    }
    write_sheet(guide, split()[1], folder / "preview.png")
    write_networks(networks, folder, recipe, facts)
    return read_manifest(folder, kind=KIND)


def _state(work: Path, settings: ViewsSettings, device: torch.device) -> dict[str, Any] | None:
    """Return what an earlier call left in `work`; raises BadInput if its settings were others."""
    file = work / "state.pt"
    if not file.exists():
        return None
    state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    if state["settings"] != value_sha256(settings.facts()):
        raise BadInput(
            f"{work.parent} holds a teacher of other settings, not yet finished or finished",
            hint="repeat the settings, or choose another --out",
        )
    return state


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


class _Trainer:
    """Networks, their optimizer and running average, and where the training stands."""

    def __init__(
        self, networks: Networks, banks: list[Bank], settings: ViewsSettings, device: torch.device
    ) -> None:
        """Place everything on `device`."""
        self.networks, self.banks, self.settings, self.device = networks, banks, settings, device
        channels_last(networks.unet).to(device).train()
        networks.text_encoder.to(device).train()
        self.trained = [*networks.unet.parameters(), *networks.text_encoder.parameters()]
        self.smooth = [w.clone() for w in weights(networks.unet, networks.text_encoder)]
        self.optimizer = torch.optim.AdamW(
            self.trained,
            lr=settings.peak_rate,
            betas=(0.9, 0.99),
            weight_decay=0.01,
            fused=device.type == "cuda",
        )
        self.clock = Clock(settings.seconds, settings.steps)
        self.alphas = new_scheduler().alphas_cumprod.to(device)
        self.ids = [token_ids(networks.tokenizer, bank.prompts).to(device) for bank in banks]
        self.blank_K = token_ids(networks.tokenizer, [""])[0].to(device)
        cuda = device.type == "cuda"
        self.unet = torch.compile(networks.unet, dynamic=False) if cuda else networks.unet

    def resume(self, state: dict[str, Any]) -> None:
        """Continue from the state that an earlier call saved."""
        self.networks.unet.load_state_dict(state["unet"])
        self.networks.text_encoder.load_state_dict(state["text"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.smooth, self.clock.step = state["smooth"], state["step"]
        self.clock.spent_before = state["spent"]

    def save(self, work: Path) -> None:
        """Write the state to `work`, at once or not at all."""
        file = work / "state.pt"
        state = {
            "settings": value_sha256(self.settings.facts()),
            "unet": self.networks.unet.state_dict(),
            "text": self.networks.text_encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "smooth": self.smooth,
            "step": self.clock.step,
            "spent": self.clock.spent,
        }
        torch.save(state, file.with_suffix(".tmp"))
        file.with_suffix(".tmp").replace(file)

    def run(self, work: Path, journal: Journal, stop_at: float) -> bool:
        """Train until the budget is used up (True) or `stop_at` has come."""
        clock, settings = self.clock, self.settings
        clock.stop_at, clock.started = stop_at, time.monotonic()
        generator = torch.Generator(self.device).manual_seed(settings.seed * 1_000_003 + clock.step)
        last_save = last_log = clock.spent
        logged, total = clock.step, torch.zeros((), device=self.device)
        while not clock.over:
            rate = learning_rate(clock.share, clock.step, peak=settings.peak_rate)
            total += self.step(rate, generator)
            clock.step += 1
            if clock.spent - last_log > settings.log_every:
                count = clock.step - logged
                speed = count * settings.batch / (clock.spent - last_log)
                values = {
                    "step": clock.step,
                    "seconds": clock.spent,
                    "loss": float(total) / count,
                    "pictures_per_second": speed,
                }
                journal.write("views", values)
                logged, last_log = clock.step, clock.spent
                total.zero_()
            if clock.spent - last_save > settings.save_every:
                last_save = clock.spent
                self.save(work)
        self.save(work)
        journal.write("views", {"step": clock.step, "seconds": clock.spent, "share": clock.share})
        return clock.share >= 1

    def step(self, rate: float, generator: torch.Generator) -> Tensor:
        """Take one step; returns the loss, still on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        pictures, ids_BK, cameras = self.batch(generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(pictures, ids_BK, cameras, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        averaged(
            self.smooth, weights(self.networks.unet, self.networks.text_encoder), self.clock.step
        )
        return loss.detach()

    def batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Cameras]:
        """Return pictures in [-1, 1] over random colors, their tokens and their cameras."""
        settings = self.settings
        of_meshes = round(settings.batch * settings.share_meshes) if len(self.banks) > 1 else 0
        parts = []
        counts = (settings.batch - of_meshes, of_meshes)
        for bank, ids, count in zip(self.banks, self.ids, counts, strict=False):
            picks = torch.randint(len(bank), (count,), generator=generator, device=self.device)
            backgrounds = random_backgrounds(count, generator, self.device)
            cameras = bank.cameras(picks)
            shown = bank.pictures(picks, backgrounds)
            parts.append((shown, ids[bank.prompt_N[picks]], cameras.yaw, cameras.pitch,
                          cameras.distance, cameras.field_deg))  # fmt: skip
        shown, ids_BK, *where = (torch.cat(each) for each in zip(*parts, strict=True))
        return shown * 2 - 1, ids_BK, Cameras(*where)

    def loss(
        self, pictures: Tensor, ids_BK: Tensor, cameras: Cameras, generator: torch.Generator
    ) -> Tensor:
        """Mean squared error of the velocity, which follows from the picture; some texts left out.

        Source: Salimans and Ho 2022 (arXiv:2202.00512), appendix D.
        """
        count, device = len(pictures), self.device
        drop = torch.rand(count, generator=generator, device=device) < self.settings.no_text
        ids_BK = torch.where(drop[:, None], self.blank_K, ids_BK)
        step = torch.randint(len(self.alphas), (count,), generator=generator, device=device)
        noise = torch.randn(pictures.shape, generator=generator, device=device)
        signal = self.alphas[step].sqrt()[:, None, None, None]
        blur = (1 - self.alphas[step]).sqrt()[:, None, None, None]
        noisy = signal * pictures + blur * noise
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            states = self.networks.text_encoder(ids_BK).last_hidden_state
            guess = clean_pictures(self.unet, noisy, step, states, cameras)
        weighted: Tensor = ((guess - pictures) / blur.clamp(min=LEAST_BLUR)).square()
        return weighted.mean()

    @torch.no_grad()
    def settle(self) -> None:
        """Put the averaged weights in the place of the trained ones."""
        for parameter, value in zip(self.trained, self.smooth, strict=True):
            parameter.copy_(value)
        self.networks.unet.eval().requires_grad_(False)
        self.networks.text_encoder.eval().requires_grad_(False)
