"""An independent judge: which shape, theme and accessory a picture shows, and if eyes are seen.

It shares nothing with the teacher but the world: its toys have other seeds, its cameras other dice,
and it is a classifier, not a generator. It is what R-precision of meshes is measured with.

Shape key, used as name suffixes in this file:
    B pictures   P prompts   S side of a picture
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.core.errors import BadInput
from edgekit.core.progress import Report, silent
from edgekit.core.store import complete, finish_folder, prepared_folder, read_manifest, value_sha256
from edgekit.distill.journal import Clock, Journal, learning_rate
from edgekit.distill.render.views import random_backgrounds
from edgekit.distill.teachers.networks import parameters_of
from edgekit.distill.teachers.views.bank import Bank, world_bank
from edgekit.distill.teachers.views.world import ACCESSORIES, SHAPES, THEMES, every_prompt, parse

KIND = "views-judge"
SIZE_PX = 64
"""Pictures of other sizes are resized."""
WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "shape": SHAPES,
        "theme": THEMES,
        "accessory": ("none", *ACCESSORIES),
        "eyes": ("hidden", "seen"),
    }
)
"""What is asked of a picture, and the answers in the order of the numbers."""
TRAINED_FROM, TESTED_FROM = 10_000, 20_000
"""First seeds of the toys that it learns from and is tested on; teachers use those from 0."""


class Judge(nn.Module):
    """A small convolutional classifier with one head a question."""

    words = WORDS

    def __init__(self, width: int = 32) -> None:
        """Start untrained; draws from the global generator, as its layers do."""
        super().__init__()
        widths = (width, 2 * width, 3 * width, 4 * width)
        layers: list[nn.Module] = []
        for before, after in zip((3, *widths[:-1]), widths, strict=True):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.Conv2d(after, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers)
        features = widths[-1] * 4
        self.heads = nn.ModuleDict({k: nn.Linear(features, len(w)) for k, w in WORDS.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return log-probabilities, B x answers a question, of pictures in [0, 1]."""
        if pictures.shape[-1] != SIZE_PX:
            size = (SIZE_PX, SIZE_PX)
            pictures = F.interpolate(pictures, size, mode="bilinear", antialias=True)
        found = F.adaptive_avg_pool2d(self.body(pictures * 2 - 1), 2).flatten(1)
        return {name: head(found).log_softmax(1) for name, head in self.heads.items()}

    @torch.no_grad()
    def log_probs(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return what `forward` does, without gradients."""
        answers: dict[str, Tensor] = self(pictures)
        return answers

    def scores(self, pictures: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return B x P: the log-probability that a picture shows what a prompt asks for.

        The prompt with the largest score is the one that R-precision retrieves.
        """
        answers = self.log_probs(pictures)
        wanted = labels_of(prompts)
        score = pictures.new_zeros(len(pictures), len(prompts))
        for name, numbers in wanted.items():
            score += answers[name][:, numbers.to(pictures.device)]
        return score


def labels_of(prompts: Sequence[str]) -> dict[str, Tensor]:
    """Return the right answers about shape, theme and accessory, P numbers each."""
    things = [parse(prompt) for prompt in prompts]
    said = {
        "shape": [thing.shape for thing in things],
        "theme": [thing.theme for thing in things],
        "accessory": [thing.accessory or "none" for thing in things],
    }
    return {name: torch.tensor([WORDS[name].index(w) for w in all_]) for name, all_ in said.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """Everything that decides a judge."""

    width: int = 32
    seconds: float = 120
    steps: int | None = None
    batch: int = 128
    toys: tuple[str, ...] = ()
    """Prompts of the toys to learn; all 320 if none are named."""
    seeds: int = 6
    views: int = 24
    peak_rate: float = 2e-3
    seed: int = 0

    def facts(self) -> dict[str, object]:
        """Return what decides the result, as JSON; `seconds` and `steps` do not count as such."""
        facts = asdict(self)
        return {name: facts[name] for name in facts if name not in ("seconds", "steps")}


TOY_SETTINGS = JudgeSettings(width=16, seconds=30, batch=48, seeds=2, views=6)
"""To try the command; some minutes of `seconds` on one core make a judge of use."""


def fit_judge(
    settings: JudgeSettings, folder: Path, *, device: torch.device, report: Report = silent
) -> dict[str, float]:
    """Train a judge into `folder` and return its accuracies on toys and views it never saw.

    A finished folder of the same settings is left as it is. A judge takes minutes: an interrupted
    call starts anew.
    """
    recipe = value_sha256(settings.facts())
    if complete(folder, kind=KIND, recipe_sha256=recipe):
        return dict(read_manifest(folder, kind=KIND)["accuracy"])
    prepared_folder(folder)
    journal = Journal(folder)
    with torch.random.fork_rng(devices=[]):  # the layers know no generator
        torch.manual_seed(settings.seed)
        judge = Judge(settings.width)
    judge.to(device).train()
    generator = torch.Generator(device).manual_seed(settings.seed + 1)
    bank = _bank(settings, TRAINED_FROM, settings.seeds, device, report)
    answers = _answers(bank)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=settings.peak_rate, weight_decay=0.05)
    clock = Clock(settings.seconds, settings.steps)
    last = time.monotonic()
    while not clock.over:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(clock.share, clock.step, peak=settings.peak_rate)
        picks = torch.randint(len(bank), (settings.batch,), generator=generator, device=device)
        backgrounds = random_backgrounds(len(picks), generator, device)
        said = judge(disturbed(bank.pictures(picks, backgrounds), generator))
        losses = [F.nll_loss(said[name], answers[name][picks]) for name in said]
        optimizer.zero_grad(set_to_none=True)
        loss = torch.stack(losses).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        clock.step += 1
        if time.monotonic() - last > 30:
            last = time.monotonic()
            journal.write("judge", {"step": clock.step, "loss": float(loss.detach())})
    judge.eval()
    accuracy = measured(judge, _bank(settings, TESTED_FROM, 1, device, report), generator)
    journal.write("judge", {"step": clock.step, **accuracy})
    weights = {name: value.contiguous().cpu() for name, value in judge.state_dict().items()}
    save_file(weights, folder / "judge.safetensors")
    facts = {
        **settings.facts(),
        "steps": clock.step,
        "parameters": parameters_of(judge),
        "accuracy": accuracy,
    }
    finish_folder(folder, kind=KIND, recipe_sha256=recipe, facts=facts)
    return accuracy


def load_judge(folder: Path, device: torch.device | str = "cpu") -> Judge:
    """Return a trained judge; raises BadInput if the folder is missing, unfinished or damaged."""
    manifest = read_manifest(folder, kind=KIND)
    judge = Judge(manifest["width"])
    try:
        judge.load_state_dict(load_file(folder / "judge.safetensors"))
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{folder} holds no judge: {error}", hint="train it again") from error
    return judge.to(device).eval().requires_grad_(False)


@torch.no_grad()
def measured(judge: Judge, bank: Bank, generator: torch.Generator) -> dict[str, float]:
    """Return the share of a bank's pictures that is answered rightly, a question and all three."""
    answers = _answers(bank)
    right: dict[str, list[Tensor]] = {name: [] for name in WORDS}
    for start in range(0, len(bank), 256):
        end = min(start + 256, len(bank))
        picks = torch.arange(start, end, device=bank.yaw_N.device)
        backgrounds = random_backgrounds(len(picks), generator, picks.device)
        said = judge.log_probs(bank.pictures(picks, backgrounds))
        for name, found in said.items():
            right[name].append(found.argmax(1) == answers[name][picks])
    whole = {name: torch.cat(parts) for name, parts in right.items()}
    together = whole["shape"] & whole["theme"] & whole["accessory"]
    return {
        **{name: float(each.float().mean()) for name, each in whole.items()},
        "prompt": float(together.float().mean()),
    }


def disturbed(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures as a worse renderer might have made them: moved, blurred, tinted, noisy."""
    count, device = len(pictures), pictures.device
    dice = torch.rand(7, count, generator=generator, device=device)
    scale, blur = 0.85 + 0.35 * dice[0], (dice[1] * 1.5).clamp(max=1)[:, None, None, None]
    zero = torch.zeros_like(scale)
    moved = (dice[2:4] - 0.5) * 0.16
    turn = torch.stack([torch.stack([scale, zero, moved[0]], 1),
                        torch.stack([zero, scale, moved[1]], 1)], 1)  # fmt: skip
    grid = F.affine_grid(turn, list(pictures.shape), align_corners=False)
    placed = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    soft = F.avg_pool2d(F.pad(placed, (2, 2, 2, 2), mode="replicate"), 5, 1)
    mixed = torch.lerp(placed, soft, blur * (dice[6] < 0.5)[:, None, None, None])
    gain, lift = (0.8 + 0.4 * dice[4])[:, None, None, None], (dice[5] - 0.5)[:, None, None, None]
    noise = torch.randn(pictures.shape, generator=generator, device=device)
    return (mixed * gain + lift * 0.2 + noise * 0.03).clamp(0, 1)


def _bank(
    settings: JudgeSettings, first: int, seeds: int, device: torch.device, report: Report
) -> Bank:
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + first)
    return world_bank(
        settings.toys or every_prompt(),
        seeds=range(first, first + seeds),
        views=settings.views,
        size_px=SIZE_PX,
        generator=generator,
        device=device,
        report=report,
    )


def _answers(bank: Bank) -> dict[str, Tensor]:
    """Return the right answers about every picture of a bank, N numbers a question."""
    shown = {name: of.to(bank.prompt_N.device) for name, of in labels_of(bank.prompts).items()}
    answers = {name: numbers[bank.prompt_N] for name, numbers in shown.items()}
    return {**answers, "eyes": bank.eyes_N.long()}
