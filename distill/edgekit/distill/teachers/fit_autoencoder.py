"""Stage 1: the autoencoder, on photos and on edited photos.

First encoder and decoder together on pixel, gradient and perceptual terms; then, in the last part,
the decoder alone with an adversarial term besides, which restores texture while the latents, on
which the second stage builds, stay put.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.journal import Clock, Journal, averaged, learning_rate, weights
from edgekit.distill.teachers.corpus import Bank, sampled
from edgekit.distill.teachers.features import Distance, PerceptualDistance
from edgekit.distill.teachers.networks import channels_last
from edgekit.distill.teachers.tasks import performed, random_task


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderSettings:
    """Knobs of stage 1."""

    seconds: float = 270
    steps: int | None = None
    """An end in steps, for a run that does not depend on the speed of the machine."""
    batch: int = 96
    crop: int = 128
    pool: int = 6144
    """Edited and plain images held in memory; a few are replaced at each step."""
    fresh: int = 16
    share_plain: float = 0.4
    peak_rate: float = 8e-4
    decoder_share: float = 0.30
    """Last part of the time, in which the decoder learns alone, with the adversarial term."""
    adversarial: float = 0.12
    """Size of the adversarial gradient relative to that of all other terms."""
    latent_noise: float = 0.03
    compile: bool = True
    save_every: float = 120
    log_every: float = 20


class PatchCritic(nn.Module):
    """Judges overlapping patches of about 34 pixels.

    Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks".
    """

    def __init__(self, width: int = 64) -> None:
        """`width` channels in the first layer."""
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [nn.utils.parametrizations.spectral_norm(nn.Conv2d(narrow, wide, 4, 2, 1))]
            layers += [nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """One score a patch, higher is more real."""
        scores: Tensor = self.layers(images)
        return scores


def gradient_distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean difference of the horizontal and vertical steps."""
    across = (first.diff(dim=-1) - second.diff(dim=-1)).abs().mean()
    return across + (first.diff(dim=-2) - second.diff(dim=-2)).abs().mean()


class _Pool:
    """Images for training, edited by random tasks, as bytes on the device."""

    def __init__(
        self, bank: Bank, settings: AutoencoderSettings, generator: torch.Generator
    ) -> None:
        self.bank, self.settings, self.generator = bank, settings, generator
        device = next(iter(bank.sets.values())).device
        self.dice = torch.Generator().manual_seed(generator.initial_seed() + 1)
        self.images = torch.empty(
            (settings.pool, 3, bank.size, bank.size), dtype=torch.uint8, device=device
        )
        self.place = 0
        for _ in range(-(-settings.pool // (2 * settings.fresh))):
            self.refresh(2 * settings.fresh)

    def refresh(self, count: int) -> None:
        """Replace the oldest images by new ones that share one task."""
        count = min(count, self.settings.pool - self.place)
        images = sampled(self.bank, count, self.generator)
        if float(torch.rand(1, generator=self.dice)) > self.settings.share_plain:
            images = performed(random_task(self.dice), images)
        self.images[self.place : self.place + count] = (images * 255).round().to(torch.uint8)
        self.place = (self.place + count) % self.settings.pool

    def drawn(self) -> Tensor:
        """A batch of crops in [-1, 1], their corners on the grid of 8 pixels."""
        count, crop = self.settings.batch, self.settings.crop
        rows = torch.randint(
            self.settings.pool, (count,), generator=self.generator, device=self.images.device
        )
        room = (self.bank.size - crop) // 8 + 1
        parts = []
        for part in torch.split(rows, 8):
            y, x = (8 * int(v) for v in torch.randint(room, (2,), generator=self.dice))
            parts.append(self.images[part, :, y : y + crop, x : x + crop])
        batch = torch.cat(parts).float() / 127.5 - 1
        return batch.contiguous(memory_format=torch.channels_last)


def fit_autoencoder(
    model: AutoencoderTiny,
    bank: Bank,
    *,
    settings: AutoencoderSettings,
    seed: int,
    folder: Path,
    journal: Journal,
    stop_at: float,
) -> bool:
    """Train `model` in place, ending with its averaged weights; False if `stop_at` came first.

    State is saved in `folder` on a timer and at the end, and taken up again from there.
    """
    device = next(model.parameters()).device
    channels_last(model)
    critic = channels_last(PatchCritic().to(device))
    perceptual = channels_last(PerceptualDistance().to(device))
    smooth = [w.clone() for w in weights(model)]
    fused = device.type == "cuda"
    rates = {"lr": settings.peak_rate, "fused": fused}
    both = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=1e-4, **rates)
    judge = torch.optim.AdamW(critic.parameters(), lr=2e-4, betas=(0.5, 0.99), fused=fused)
    state_file = folder / "autoencoder.pt"
    clock = Clock(settings.seconds, settings.steps, stop_at=stop_at)
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        critic.load_state_dict(state["critic"])
        both.load_state_dict(state["both"])
        judge.load_state_dict(state["judge"])
        smooth, clock.step = state["smooth"], state["step"]
        clock.spent_before = state["spent"]

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "critic": critic.state_dict(),
            "both": both.state_dict(),
            "judge": judge.state_dict(),
            "smooth": smooth,
            "step": clock.step,
            "spent": clock.spent,
        }
        torch.save(state, state_file.with_suffix(".tmp"))
        state_file.with_suffix(".tmp").replace(state_file)

    generator = torch.Generator(device).manual_seed(seed + clock.step)
    pool = None if clock.over else _Pool(bank, settings, generator)
    encode, decode = model.encoder, model.decoder
    perceptual_of: Distance = perceptual
    if settings.compile:
        encode = torch.compile(encode, dynamic=False)
        decode = torch.compile(decode, dynamic=False)
        perceptual_of = torch.compile(perceptual, dynamic=False)
    last_save = last_log = clock.spent
    while pool is not None and not clock.over:
        alone = clock.share > 1 - settings.decoder_share
        rate = learning_rate(clock.share, clock.step, peak=settings.peak_rate)
        for group in both.param_groups:
            group["lr"] = rate
        pool.refresh(settings.fresh)
        real = pool.drawn()
        both.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=fused):
            with torch.set_grad_enabled(not alone):
                latents = encode(real)
            noise = torch.randn(latents.shape, generator=generator, device=device)
            noisy = latents + settings.latent_noise * noise.to(latents.dtype)
            made = decode(noisy).float()
            perceived = perceptual_of(made, real)
        pixel = (made - real).abs().mean() + 2 * ((made - real) ** 2).mean()
        loss = pixel + 0.5 * gradient_distance(made, real) + 0.15 * perceived
        if alone:
            _backward_against(critic, judge, made, real, loss, settings.adversarial, fused)
        else:
            spread = latents.float().permute(1, 0, 2, 3).flatten(1)
            drift = (spread.mean(1) ** 2 + (spread.std(1) - 1) ** 2).sum()
            (loss + 0.02 * drift).backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        both.step()
        averaged(smooth, weights(model), clock.step)
        clock.step += 1
        if clock.spent - last_log > settings.log_every:
            last_log = clock.spent
            error = float(((made.detach().clamp(-1, 1) - real) ** 2).mean())
            journal.write(
                "autoencoder",
                {
                    "step": clock.step,
                    "seconds": clock.spent,
                    "loss": float(loss.detach()),
                    "perceptual": float(perceived.detach()),
                    "psnr_db": -10 * float(torch.tensor(error / 4).log10()),
                    "gradient": float(norm),
                    "latent_std": float(latents.detach().float().std()),
                    "phase": "decoder" if alone else "both",
                },
            )
        if clock.spent - last_save > settings.save_every:
            last_save = clock.spent
            save()
    save()
    _load(model, smooth)
    journal.write(
        "autoencoder", {"step": clock.step, "seconds": clock.spent, "done": str(clock.share >= 1)}
    )
    return clock.share >= 1


def _backward_against(
    critic: nn.Module,
    judge: torch.optim.Optimizer,
    made: Tensor,
    real: Tensor,
    loss: Tensor,
    adversarial: float,
    autocast: bool,
) -> None:
    """Backward through the decoder with the critic's gradient scaled to a share of the others'."""
    device = made.device.type
    with torch.autocast(device, torch.bfloat16, enabled=autocast):
        opinion = -critic(made).mean()
    pull = torch.autograd.grad(loss, made)[0]
    push = torch.autograd.grad(opinion, made)[0]
    share = adversarial * pull.norm() / (push.norm() + 1e-8)
    made.backward(pull + share * push)  # type: ignore[no-untyped-call]
    judge.zero_grad(set_to_none=True)
    with torch.autocast(device, torch.bfloat16, enabled=autocast):
        hinge = F.relu(1 - critic(real)).mean() + F.relu(1 + critic(made.detach())).mean()
    hinge.backward()  # type: ignore[no-untyped-call]
    judge.step()


@torch.no_grad()
def _load(module: nn.Module, values: Sequence[Tensor]) -> None:
    for parameter, value in zip(module.parameters(), values, strict=True):
        parameter.copy_(value)
