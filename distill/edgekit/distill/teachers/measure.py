"""Stage 3: what the teacher is worth on held-out photos."""

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from edgekit.distill.teachers.corpus import Bank
from edgekit.distill.teachers.sampling import Editor, sampled_edits
from edgekit.distill.teachers.tasks import Task, performed, plain_task
from edgekit.distill.teachers.vocabulary import COMPOSITIONS, EDITS, composed

LARGEST_BATCH = 256
"""Images that are sampled together."""


def psnr_each(first: Tensor, second: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image of two batches in [0, 1], in decibels."""
    error = ((first - second) ** 2).flatten(1).mean(1).clamp(min=1e-10)
    return -10 * error.log10()


@torch.no_grad()
def reconstruction(editor: Editor, bank: Bank, *, batch: int = 32) -> dict[str, float]:
    """Mean PSNR of the autoencoder on every set of held-out crops, and over all of them."""
    scores = {}
    everything = []
    for name, squares in bank.sets.items():
        values = []
        for part in torch.split(squares, batch):
            real = part.float() / 255
            latents = editor.autoencoder.encoder(real * 2 - 1)
            made = ((editor.autoencoder.decoder(latents) + 1) / 2).clamp(0, 1)
            values.append(psnr_each(made, real))
        scores[name] = float(torch.cat(values).mean())
        everything += values
    return {**scores, "all": float(torch.cat(everything).mean())}


@torch.no_grad()
def edited_reconstruction(editor: Editor, images: Tensor) -> dict[str, float]:
    """Mean PSNR of the autoencoder on the operators' own output: the ceiling of each edit."""
    scores = {}
    for name in EDITS:
        real = performed(plain_task(name), images)
        made = editor.autoencoder.decoder(editor.autoencoder.encoder(real * 2 - 1))
        scores[name] = float(psnr_each(((made + 1) / 2).clamp(0, 1), real).mean())
    return scores


def held_out(bank: Bank, per_set: int) -> Tensor:
    """`per_set` photos of every held-out set, evenly spread, float in [0, 1]."""
    parts = []
    for squares in bank.sets.values():
        rows = torch.linspace(0, len(squares) - 1, min(per_set, len(squares))).round().long()
        parts.append(squares[rows.to(squares.device)])
    return torch.cat(parts).float() / 255


def measured_tasks(compositions: Sequence[tuple[str, str]]) -> dict[str, Task]:
    """Every edit under its first wording, and the given compositions."""
    tasks = {EDITS[name].wordings[0]: plain_task(name) for name in EDITS}
    for first, second in compositions:
        assert (first, second) in COMPOSITIONS
        words = composed(first, second)
        tasks[words[0]] = Task((first, second), plain_task(first).strength, words)
    return tasks


@torch.no_grad()
def edit_scores(
    editor: Editor,
    images: Tensor,
    tasks: Mapping[str, Task],
    *,
    steps: int,
    guidance: float,
    seed: int,
) -> dict[str, float]:
    """Mean PSNR against the operator for each prompt of `tasks`."""
    scores: dict[str, float] = {}
    together = max(1, LARGEST_BATCH // len(images))
    names = list(tasks)
    for start in range(0, len(names), together):
        chunk = names[start : start + together]
        prompts = [name for name in chunk for _ in images]
        sources = images.repeat(len(chunk), 1, 1, 1)
        made = sampled_edits(editor, sources, prompts, steps=steps, guidance=guidance, seed=seed)
        for name, edits in zip(chunk, torch.split(made, len(images)), strict=True):
            scores[name] = float(psnr_each(edits, performed(tasks[name], images)).mean())
    return scores


def throughput(editor: Editor, image: Tensor, *, steps: int, guidance: float, batch: int) -> float:
    """Images a second at one batch size, after one warm-up run."""
    images = image.expand(batch, -1, -1, -1)
    prompts = ["make it night"] * batch
    sampled_edits(editor, images, prompts, steps=steps, guidance=guidance, seed=0)
    _wait(images)
    start = time.perf_counter()
    sampled_edits(editor, images, prompts, steps=steps, guidance=guidance, seed=0)
    _wait(images)
    return batch / (time.perf_counter() - start)


def _wait(images: Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize()
