"""Train the base: one generator for many concepts of the bundled teacher, told apart by text.

Run on a GPU, it samples its pairs from the teacher itself, at 256 pixels, trains on them at that
size and reduced to 128 for a given number of seconds, measures every concept on held-out photos,
and writes weights and card:

    python -m edgekit.distill.fit_base --photos corpus --out assets/edgekit/assets/base
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.core.store import file_sha256, prepared_folder, write_bytes, write_json
from edgekit.core.tensors import Photo, Photos
from edgekit.distill.base import CARD, WEIGHTS
from edgekit.distill.base_pairs import (
    BasePairs,
    BaseSettings,
    Batch,
    at_all_sizes,
    contexts_of,
    drawn_batch,
    heldout_pairs,
    sampled_pairs,
    sampler,
)
from edgekit.distill.fit_state import use_fast_products
from edgekit.distill.losses.adversarial import discriminator_loss, generator_loss
from edgekit.distill.metrics import as_photos, as_tensor, perceptual_distance, quality
from edgekit.distill.preview import write_preview
from edgekit.distill.students.cost import count_macs, count_parameters
from edgekit.distill.students.discriminator import PatchGAN, fresh_discriminator
from edgekit.distill.students.gan import Generator, fresh_generator, specialized
from edgekit.distill.students.shape import Shape
from edgekit.distill.teachers.corpus import (
    Bank,
    Corpus,
    read_corpus,
    test_bank,
    train_bank,
)
from edgekit.distill.teachers.folders import describe_teacher
from edgekit.distill.teachers.loader import load_teacher
from edgekit.distill.teachers.sampling import Editor

BETAS = (0.5, 0.99)
EMA = 0.999
SETTLED = 0.6
"""Share of the time after which batch norms keep their statistics."""
ADVERSARY_FROM = 0.15
"""Share of the time before which no adversarial term acts: a fresh generator is too easy prey."""
SAVE_S = 60.0


Log = Callable[..., None]
Network = TypeVar("Network", bound=nn.Module)
Measured = tuple[dict[str, Any], tuple[Photos, Photos, Photos]]


def fit_base(
    settings: BaseSettings,
    *,
    photos: Path,
    out: Path,
    teacher: Path | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train a base on `photos` (a corpus folder), write it to `out`, and return its card."""
    started = time.monotonic()
    prepared_folder(out)
    place = torch.device(device)
    use_fast_products(place)
    if place.type == "cuda":
        torch._dynamo.config.suppress_errors = True  # a failed compile falls back to eager
    log = _logger(out, started)
    contexts = contexts_of(settings.concepts, teacher)
    folder = teacher or "bundled"
    info = describe_teacher(folder)
    loaded = load_teacher(folder, device="cuda" if place.type == "cuda" else "cpu", dtype="float32")
    parts = loaded.pipeline
    editor = Editor(parts.vae.eval(), parts.unet.eval(), parts.text_encoder.eval(), parts.tokenizer)
    how = {
        "steps": settings.teacher_steps or int(loaded.sampling.get("steps", 8)),
        "guidance": settings.teacher_guidance
        if settings.teacher_guidance is not None
        else float(loaded.sampling.get("guidance", 1.0)),
    }
    log("teacher", identity=info.identity, **how)
    corpus = read_corpus(photos)
    size = settings.sizes_px[0]
    bank = train_bank(corpus, size=size, per_set=settings.crops, seed=settings.seed, device=place)
    sample = sampler(editor, settings, how)
    pairs = at_all_sizes(sampled_pairs(bank, settings, sample), settings)
    log("pairs", size=size, concepts=len(settings.concepts), each=settings.pairs)
    shape = replace(settings.shape, context_dim=contexts[0].shape[-1])
    generator, steps = trained_generator(
        fresh_generator(shape, seed=settings.seed), settings, pairs, contexts, place, out, log
    )
    photos_held = test_bank(corpus, size=size, device=place)
    held = at_all_sizes(heldout_pairs(photos_held, settings, sample), settings)
    log("held-out pairs", photos=len(held[0].sources[0]))
    card = _card(settings, generator, contexts, held, out, log)
    card |= {
        "teacher": info.identity,
        "text_encoder_sha256": file_sha256(info.folder / "text_encoder"),
        "sampling": how,
        "steps": steps,
        "training_s": round(settings.seconds, 1),
        "total_s": round(time.monotonic() - started, 1),
        "host": torch.cuda.get_device_name(0) if place.type == "cuda" else "cpu",
        "data": _data_facts(photos, corpus, bank),
    }
    write_json(out / CARD, card)
    log("done", sha256=card["sha256"][:12])
    return card


def _logger(out: Path, started: float) -> Log:
    def log(stage: str, **values: Any) -> None:
        row = {"stage": stage, "seconds": round(time.monotonic() - started, 1), **values}
        print(json.dumps(row), file=sys.stderr, flush=True)
        with (out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    return log


@dataclass(frozen=True, slots=True)
class _Networks:
    generator: nn.Module
    judge: PatchGAN
    paint: Callable[[Tensor, Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], Tensor]


def _networks(
    generator: nn.Module, settings: BaseSettings, context_dim: int, device: torch.device
) -> _Networks:
    judge = fresh_discriminator(
        settings.discriminator_width, seed=settings.seed, context_dim=context_dim
    )
    generator = generator.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    judge = judge.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    features = copy.deepcopy(perceptual_distance()).to(device)
    if device.type == "cuda" and settings.compile:
        paint = torch.compile(cast(Any, generator).painted, dynamic=False)
        return _Networks(generator, judge, paint, torch.compile(features, dynamic=False))
    return _Networks(generator, judge, cast(Any, generator).painted, features)


def trained_generator(
    generator: Network,
    settings: BaseSettings,
    pairs: Sequence[BasePairs],
    contexts: Sequence[Tensor],
    device: torch.device,
    out: Path,
    log: Log,
) -> tuple[Network, int]:
    """Train `generator` for the given seconds; return its average and the number of steps.

    It has a method ``painted(image, context)``; `contexts` are the wordings of each concept of
    `pairs`, which hold one bank for each of the settings' sizes.
    """
    nets = _networks(generator, settings, contexts[0].shape[-1], device)
    average = copy.deepcopy(generator)
    fused = device.type == "cuda"
    optimizer = torch.optim.Adam(generator.parameters(), settings.lr, BETAS, fused=fused)
    rival = torch.optim.Adam(nets.judge.parameters(), 2e-4, BETAS, fused=fused)
    wordings = [context.to(device) for context in contexts]
    random = torch.Generator(device).manual_seed(settings.seed)
    started = logged = saved = time.monotonic()
    step, share = 0, 0.0
    while share < 1:
        share = (time.monotonic() - started) / settings.seconds
        generator.train(share < SETTLED)
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * _schedule(step, share)
        place = step % len(pairs)
        batch = drawn_batch(pairs[place], wordings, settings.batches[place], random)
        fights = settings.adversarial > 0 and share >= ADVERSARY_FROM
        terms = _base_step(nets, settings, batch, optimizer, rival if fights else None)
        _follow(average, generator, min(EMA, (1 + step) / (10 + step)))
        step += 1
        now = time.monotonic()
        if now - logged > 15 or step in (1, 10, 100):
            logged = now
            values = {name: round(float(value), 4) for name, value in terms.items()}
            log("train", step=step, share=round(share, 3), size=batch[0].shape[-1], **values)
        if now - saved > SAVE_S:
            saved = now
            _save(average, out)
    _save(average, out)
    return average.eval(), step


def _base_step(
    nets: _Networks,
    settings: BaseSettings,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    rival: torch.optim.Optimizer | None,
) -> dict[str, Tensor]:
    source, edit, context = batch
    half = torch.autocast(source.device.type, torch.bfloat16, enabled=source.is_cuda)
    with half:
        made = nets.paint(source, context)
    made = made.float()
    terms: dict[str, Tensor] = {}
    if rival is not None:
        with half:
            real = nets.judge(source, edit, context).float()
            fake = nets.judge(source, made.detach(), context).float()
        terms["discriminator"] = discriminator_loss(real, fake)
        rival.zero_grad(set_to_none=True)
        terms["discriminator"].backward()  # type: ignore[no-untyped-call]
        rival.step()
        nets.judge.requires_grad_(False)
        with half:
            terms["adversarial"] = generator_loss(nets.judge(source, made, context).float())
        nets.judge.requires_grad_(True)
    terms["l1"] = F.l1_loss(made, edit)
    with half:
        terms["perceptual"] = nets.distance(made.clamp(-1, 1), edit).float()
    loss = settings.l1 * terms["l1"] + settings.perceptual * terms["perceptual"]
    if rival is not None:
        loss = loss + settings.adversarial * terms["adversarial"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(nets.generator.parameters(), 1.0)
    optimizer.step()
    return {name: value.detach() for name, value in terms.items()}


def _schedule(step: int, share: float) -> float:
    ramp = min(1.0, (step + 1) / 100)
    return ramp * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


@torch.no_grad()
def _follow(average: nn.Module, module: nn.Module, keep: float) -> None:
    mine: list[Tensor] = list(average.parameters())
    theirs: list[Tensor] = list(module.parameters())
    torch._foreach_lerp_(mine, theirs, 1 - keep)
    for old, new in zip(average.buffers(), module.buffers(), strict=True):
        if new.is_floating_point():
            old.lerp_(new, 1 - keep)


def _save(generator: nn.Module, out: Path) -> str:
    """Write the weights, matrices at float16 and the rest at float32, and return their sha256."""
    state = {
        name: (value.half() if value.ndim > 1 else value.float()).cpu().contiguous()
        for name, value in generator.state_dict().items()
        if value.is_floating_point()
    }
    state |= {
        name: value.cpu()
        for name, value in generator.state_dict().items()
        if not value.is_floating_point()
    }
    write_bytes(out / WEIGHTS, safetensors_bytes(state))
    return file_sha256(out / WEIGHTS)


def _card(
    settings: BaseSettings,
    generator: Generator,
    contexts: Sequence[Tensor],
    held: Sequence[BasePairs],
    out: Path,
    log: Log,
) -> dict[str, Any]:
    jobs = [
        (number, size, pairs)
        for number in range(len(settings.concepts))
        for pairs, size in zip(held, settings.sizes_px, strict=True)
    ]

    def one(
        job: tuple[int, int, BasePairs],
    ) -> tuple[dict[str, Any], tuple[Photos, Photos, Photos]]:
        number, size, pairs = job
        sources, edits = (
            bank[number].permute(0, 2, 3, 1).cpu().numpy() for bank in (pairs.sources, pairs.edits)
        )
        student = specialized(generator, contexts[number][0], size_px=size)
        with torch.no_grad():
            made = as_photos(student(as_tensor(sources)))
        return quality(sources, edits, made), (sources, edits, made)

    perceptual_distance()  # loaded before the threads that share it
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = list(pool.map(one, jobs))
    measured: dict[str, dict[str, Any]] = {concept: {} for concept in settings.concepts}
    sheets: list[list[Photo]] = []
    for (number, size, _), (scores, photos) in zip(jobs, results, strict=True):
        concept = settings.concepts[number]
        measured[concept][f"{size}px"] = scores
        log("measured", concept=concept, size=size, **scores["student"])
        if size == min(settings.sizes_px):
            count = len(photos[0])
            picks = (number % count, (number + count // 2) % count)
            sheets.append([bank[i] for i in picks for bank in photos])
    columns = [np.stack([row[i] for row in sheets]) for i in range(6)]
    write_preview(out / "preview.png", columns)
    shape = generator.shape
    student = specialized(generator, contexts[0][0], size_px=settings.sizes_px[0])
    image = torch.zeros(1, 3, settings.sizes_px[0], settings.sizes_px[0])
    return {
        "name": "edgekit base",
        "licence": "Apache-2.0; trained on openly licensed photos, see data",
        "sha256": _save(generator, out),
        "shape": asdict(shape),
        "concepts": list(settings.concepts),
        "parameters": count_parameters(generator),
        "parameters_of_a_student": count_parameters(student),
        "gmac_of_a_student": round(count_macs(student, image) / 1e9, 4),
        "settings": asdict(settings),
        "quality": measured,
    }


def _data_facts(photos: Path, corpus: Corpus, bank: Bank) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "photos_trained_on": {name: len(files) for name, files in corpus.train.items()},
        "crops": {name: len(rows) for name, rows in bank.sets.items()},
    }
    if (photos / "corpus.json").is_file():
        facts |= json.loads((photos / "corpus.json").read_text(encoding="utf-8"))
    return facts


def main() -> None:
    """Train the base from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="corpus folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, help="pipeline folder; default: the bundled one")
    parser.add_argument("--seconds", type=float, default=280.0)
    parser.add_argument("--pairs", type=int, default=BaseSettings().pairs)
    parser.add_argument("--teacher-steps", type=int)
    parser.add_argument("--teacher-guidance", type=float)
    parser.add_argument("--shape", type=json.loads, default={}, help="dials of the generator, JSON")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="worth it from ten minutes on")
    given = parser.parse_args()
    settings = BaseSettings(
        seconds=given.seconds,
        pairs=given.pairs,
        teacher_steps=given.teacher_steps,
        teacher_guidance=given.teacher_guidance,
        compile=given.compile,
        shape=Shape(**given.shape),
    )
    fit_base(
        settings, photos=given.photos, out=given.out, teacher=given.teacher, device=given.device
    )


if __name__ == "__main__":
    main()
