"""Stage 2: the text encoder and the U-Net, on latent pairs that are made as training goes on.

Shape key, used as name suffixes in this file:
    N pairs in the pool   B batch   K tokens of a prompt
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from edgekit.distill.journal import Clock, Journal, averaged, learning_rate, weights
from edgekit.distill.teachers.corpus import Bank, sampled
from edgekit.distill.teachers.networks import LATENT_CHANNELS, channels_last, new_scheduler
from edgekit.distill.teachers.tasks import performed, random_task

Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(noisy and source latents, timesteps, text states) -> velocity."""

SAMPLER_STEPS = 8
"""Half of the training timesteps are those that a sampler with this many steps visits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorSettings:
    """Knobs of stage 2."""

    seconds: float = 640
    steps: int | None = None
    """An end in steps, for a run that does not depend on the speed of the machine."""
    batch: int = 256
    pool: int = 16384
    """Latent pairs held in memory at each of the two sizes; a few are replaced at each step."""
    fresh: int = 32
    share_small: float = 0.2
    """Steps on images of half the side, so that the teacher also works there."""
    peak_rate: float = 6e-4
    no_text: float = 0.05
    no_image: float = 0.05
    neither: float = 0.05
    compile: bool = True
    save_every: float = 120
    log_every: float = 20


class _Pairs:
    """A ring of latent pairs of one size: source, edit and the row of a prompt that asks for it."""

    def __init__(
        self,
        bank: Bank,
        model: AutoencoderTiny,
        rows: dict[str, int],
        settings: EditorSettings,
        side: int,
        generator: torch.Generator,
    ) -> None:
        self.bank, self.model, self.rows, self.settings = bank, model, rows, settings
        self.side, self.generator = side, generator
        self.dice = torch.Generator().manual_seed(generator.initial_seed() + side)
        device = next(iter(bank.sets.values())).device
        shape = (settings.pool, LATENT_CHANNELS, side // 8, side // 8)
        self.source = torch.empty(shape, dtype=torch.float16, device=device)
        self.target = torch.empty(shape, dtype=torch.float16, device=device)
        self.prompt_N = torch.empty(settings.pool, dtype=torch.long, device=device)
        self.place = 0

    def fill(self) -> None:
        """Make every pair anew."""
        for _ in range(-(-self.settings.pool // (2 * self.settings.fresh))):
            self.refresh(2 * self.settings.fresh)

    @torch.no_grad()
    def refresh(self, count: int) -> None:
        """Replace the oldest pairs by new ones that share one task, each in words of its own."""
        count = min(count, self.settings.pool - self.place)
        images = sampled(self.bank, count, self.generator)
        if self.side < self.bank.size:
            images = F.interpolate(images, size=(self.side, self.side), mode="area")
        task = random_task(self.dice)
        both = torch.cat((images, performed(task, images))) * 2 - 1
        with torch.autocast(both.device.type, torch.bfloat16, enabled=both.is_cuda):
            latents = self.model.encoder(both.contiguous(memory_format=torch.channels_last))
        spot = slice(self.place, self.place + count)
        self.source[spot], self.target[spot] = latents.half().chunk(2)
        words = torch.randint(len(task.prompts), (count,), generator=self.dice).tolist()
        chosen = [self.rows[task.prompts[w]] for w in words]
        self.prompt_N[spot] = torch.tensor(chosen, device=both.device)
        self.place = (self.place + count) % self.settings.pool

    def drawn(self) -> tuple[Tensor, Tensor, Tensor]:
        """Source latents, target latents and prompt rows of one batch."""
        picks = torch.randint(
            self.settings.pool,
            (self.settings.batch,),
            generator=self.generator,
            device=self.source.device,
        )
        return self.source[picks].float(), self.target[picks].float(), self.prompt_N[picks]


def velocity_loss(
    velocity: Velocity,
    text_encoder: nn.Module,
    ids_BK: Tensor,
    empty_K: Tensor,
    source: Tensor,
    target: Tensor,
    alphas: Tensor,
    settings: EditorSettings,
    generator: torch.Generator,
) -> Tensor:
    """Mean squared error of the predicted velocity, with text and image dropped now and then.

    Source: Salimans and Ho 2022, "Progressive Distillation", appendix D (velocity); Brooks et al.
    2023, "InstructPix2Pix", section 3.2.1 (which conditions are dropped).
    """
    count, device = len(source), source.device
    steps = len(alphas)
    chance = torch.rand(2, count, generator=generator, device=device)
    grid = (
        steps
        - 1
        - torch.randint(SAMPLER_STEPS, (count,), generator=generator, device=device)
        * (steps // SAMPLER_STEPS)
    )
    anywhere = torch.randint(steps, (count,), generator=generator, device=device)
    times = torch.where(chance[0] < 0.5, grid, anywhere)
    without_text = chance[1] < settings.no_text + settings.neither
    without_image = (chance[1] >= settings.no_text) & (
        chance[1] < settings.no_text + settings.neither + settings.no_image
    )
    ids_BK = torch.where(without_text[:, None], empty_K, ids_BK)
    source = torch.where(without_image[:, None, None, None], torch.zeros_like(source), source)
    noise = torch.randn(target.shape, generator=generator, device=device)
    signal = alphas[times].sqrt()[:, None, None, None]
    blur = (1 - alphas[times]).sqrt()[:, None, None, None]
    noisy = torch.cat((signal * target + blur * noise, source), 1)
    with torch.autocast(device.type, torch.bfloat16, enabled=source.is_cuda):
        states = text_encoder(ids_BK).last_hidden_state
        guess = velocity(noisy.contiguous(memory_format=torch.channels_last), times, states)
    return F.mse_loss(guess.float(), signal * noise - blur * target)


def compiled_velocity(unet: UNet2DConditionModel, *, enabled: bool) -> Velocity:
    """The U-Net as a plain function, compiled if asked for."""
    network = torch.compile(unet, dynamic=False) if enabled else unet

    def velocity(latents: Tensor, times: Tensor, states: Tensor) -> Tensor:
        guess: Tensor = network(latents, times, states, return_dict=False)[0]
        return guess

    return velocity


def fit_editor(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    autoencoder: AutoencoderTiny,
    bank: Bank,
    *,
    prompts: dict[str, int],
    ids_PK: Tensor,
    settings: EditorSettings,
    seed: int,
    folder: Path,
    journal: Journal,
    stop_at: float,
) -> bool:
    """Train the U-Net and the text encoder in place, ending with their averaged weights.

    `ids_PK` holds the tokens of every training prompt, `prompts` the row of each; row 0 is the
    empty prompt. State is saved in `folder` on a timer and at the end, and taken up again from
    there. False if `stop_at` came before the end of the budget.
    """
    device = next(unet.parameters()).device
    cuda = device.type == "cuda"
    channels_last(unet).train()
    text_encoder.train()
    autoencoder.eval().requires_grad_(False)
    trained = [*unet.parameters(), *text_encoder.parameters()]
    smooth = [w.clone() for w in weights(unet, text_encoder)]
    optimizer = torch.optim.AdamW(
        trained, lr=settings.peak_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=cuda
    )
    state_file = folder / "editor.pt"
    clock = Clock(settings.seconds, settings.steps, stop_at=stop_at)
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        unet.load_state_dict(state["unet"])
        text_encoder.load_state_dict(state["text"])
        optimizer.load_state_dict(state["optimizer"])
        smooth, clock.step = state["smooth"], state["step"]
        clock.spent_before = state["spent"]

    def save() -> None:
        state = {
            "unet": unet.state_dict(),
            "text": text_encoder.state_dict(),
            "smooth": smooth,
            "optimizer": optimizer.state_dict(),
            "step": clock.step,
            "spent": clock.spent,
        }
        torch.save(state, state_file.with_suffix(".tmp"))
        state_file.with_suffix(".tmp").replace(state_file)

    generator = torch.Generator(device).manual_seed(seed + clock.step)
    pools = {
        side: _Pairs(bank, autoencoder, prompts, settings, side, generator)
        for side in (bank.size, bank.size // 2)
    }
    if not clock.over:
        for pool in pools.values():
            pool.fill()
        journal.write("editor", {"step": clock.step, "seconds": clock.spent, "pool": "filled"})
    ids_PK = ids_PK.to(device)
    alphas = new_scheduler().alphas_cumprod.to(device)
    velocity = compiled_velocity(unet, enabled=settings.compile)
    dice = torch.Generator().manual_seed(seed + 17 + clock.step)
    last_save = last_log = clock.spent
    logged_step, total = clock.step, torch.zeros((), device=device)
    while not clock.over:
        small = float(torch.rand(1, generator=dice)) < settings.share_small
        pool = pools[bank.size // 2 if small else bank.size]
        pool.refresh(settings.fresh)
        rate = learning_rate(clock.share, clock.step, peak=settings.peak_rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        source, target, rows = pool.drawn()
        optimizer.zero_grad(set_to_none=True)
        loss = velocity_loss(
            velocity,
            text_encoder,
            ids_PK[rows],
            ids_PK[0],
            source,
            target,
            alphas,
            settings,
            generator,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        averaged(smooth, weights(unet, text_encoder), clock.step)
        total += loss.detach()
        clock.step += 1
        if clock.spent - last_log > settings.log_every:
            mean = float(total) / (clock.step - logged_step)
            speed = (clock.step - logged_step) * settings.batch / (clock.spent - last_log)
            total.zero_()
            logged_step, last_log = clock.step, clock.spent
            journal.write(
                "editor",
                {
                    "step": clock.step,
                    "seconds": clock.spent,
                    "loss": mean,
                    "images_per_second": speed,
                    "rate": rate,
                },
            )
        if clock.spent - last_save > settings.save_every:
            last_save = clock.spent
            save()
    save()
    with torch.no_grad():
        for parameter, value in zip(trained, smooth, strict=True):
            parameter.copy_(value)
    journal.write(
        "editor", {"step": clock.step, "seconds": clock.spent, "done": str(clock.share >= 1)}
    )
    return clock.share >= 1
