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
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.core.store import file_sha256, prepared_folder, write_bytes, write_json
from edgekit.core.tensors import Photo, Photos
from edgekit.distill.base import CARD, WEIGHTS
from edgekit.distill.losses.adversarial import discriminator_loss, generator_loss
from edgekit.distill.metrics import as_photos, as_tensor, perceptual_distance, quality
from edgekit.distill.preview import write_preview
from edgekit.distill.students.cost import count_macs, count_parameters
from edgekit.distill.students.discriminator import PatchGAN, fresh_discriminator
from edgekit.distill.students.gan import Generator, Shape, fresh_generator, specialized
from edgekit.distill.students.text_context import text_context
from edgekit.distill.teachers.corpus import (
    Bank,
    Corpus,
    read_corpus,
    sampled,
    test_bank,
    train_bank,
)
from edgekit.distill.teachers.folders import describe_teacher
from edgekit.distill.teachers.loader import load_teacher
from edgekit.distill.teachers.sampling import Editor, sampled_edits
from edgekit.distill.teachers.vocabulary import BASE_CONCEPTS, EDITS, edit_named

BETAS = (0.5, 0.99)
EMA = 0.999
SETTLED = 0.6
"""Share of the time after which batch norms keep their statistics."""
ADVERSARY_FROM = 0.15
"""Share of the time before which no adversarial term acts: a fresh generator is too easy prey."""
SAVE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSettings:
    """What decides the base, besides the teacher and the photos."""

    concepts: tuple[str, ...] = BASE_CONCEPTS
    seconds: float = 280.0
    """Training time; sampling and measuring come on top."""
    sizes_px: tuple[int, ...] = (256, 128)
    """Sizes trained on, in turn; the teacher works at the first, the others are reduced from it."""
    pairs: int = 2048
    """Pairs a concept."""
    batches: tuple[int, ...] = (48, 128)
    crops: int = 2500
    """Crops of each set of photos from which sources are drawn."""
    heldout: int = 6
    """Held-out photos of each set on which every concept is measured."""
    width: int = 64
    discriminator_width: int = 48
    lr: float = 1.5e-3
    l1: float = 1.0
    perceptual: float = 1.0
    adversarial: float = 0.01
    teacher_steps: int | None = None
    """Sampling steps and guidance; None takes what the teacher's card recommends."""
    teacher_guidance: float | None = None
    teacher_batch: int = 128
    seed: int = 0
    compile: bool = False
    """Compile the networks; it took half of a run of five minutes, so only for long ones."""


@dataclass(frozen=True, slots=True)
class _Pairs:
    """All pairs of one size on the device, uint8 (concepts, n, 3, h, w)."""

    sources: Tensor
    edits: Tensor


Log = Callable[..., None]


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
    if place.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        torch._dynamo.config.suppress_errors = True  # a failed compile falls back to eager
    log = _logger(out, started)
    contexts = _contexts(settings.concepts, teacher)
    warm = _warm_compiler(settings, contexts[0].shape, place)
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
    sample = _sampler(editor, settings, how)
    pairs = _at_all_sizes(_sampled_pairs(bank, settings, sample), settings)
    log("pairs", size=size, concepts=len(settings.concepts), each=settings.pairs)
    if warm is not None:
        log("compiler", exit=_ended(warm))
    generator, steps = _trained(settings, pairs, contexts, place, out, log)
    photos_held = test_bank(corpus, size=size, device=place)
    held = _at_all_sizes(_heldout(photos_held, settings, sample), settings)
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


def _contexts(concepts: Sequence[str], teacher: Path | None) -> list[Tensor]:
    """Return for each concept the contexts (wordings, tokens, dim) of all its wordings.

    The first is the concept itself. Seeing several wordings, the base learns what they share.
    """
    contexts = []
    for concept in concepts:
        names = edit_named(concept).edits
        others = EDITS[names[0]].wordings if len(names) == 1 else ()
        prompts = dict.fromkeys((concept, *others))
        contexts.append(torch.stack([text_context(prompt, teacher) for prompt in prompts]))
    return contexts


Sample = Callable[[Tensor, str, int], Tensor]


def _sampler(editor: Editor, settings: BaseSettings, how: Mapping[str, Any]) -> Sample:
    """Return the function that edits images in [0, 1] as the teacher's pipeline does."""

    def sample(images: Tensor, prompt: str, seed: int) -> Tensor:
        made = []
        for start in range(0, len(images), settings.teacher_batch):
            part = images[start : start + settings.teacher_batch]
            made.append(
                sampled_edits(
                    editor,
                    part,
                    [prompt] * len(part),
                    steps=how["steps"],
                    guidance=how["guidance"],
                    seed=seed + start,
                )
            )
        return torch.cat(made)

    return sample


def _sampled_pairs(bank: Bank, settings: BaseSettings, sample: Sample) -> _Pairs:
    device = next(iter(bank.sets.values())).device
    sources, edits = [], []
    for number, concept in enumerate(settings.concepts):
        seed = settings.seed * 1_000_003 + number * 10_007 + bank.size
        images = sampled(bank, settings.pairs, torch.Generator(device).manual_seed(seed))
        images = (images * 255).round() / 255  # the teacher edits the very bytes that are kept
        edits.append(_bytes(sample(images, concept, seed)))
        sources.append(_bytes(images))
    return _Pairs(torch.stack(sources), torch.stack(edits))


def _heldout(bank: Bank, settings: BaseSettings, sample: Sample) -> _Pairs:
    """Return the pairs of held-out photos, the same photos for every concept."""
    images = torch.cat([squares[: settings.heldout] for squares in bank.sets.values()])
    images = images.float() / 255
    edits = [
        _bytes(sample(images, concept, 77_000 + 1000 * number))
        for number, concept in enumerate(settings.concepts)
    ]
    return _Pairs(torch.stack([_bytes(images)] * len(edits)), torch.stack(edits))


def _at_all_sizes(pairs: _Pairs, settings: BaseSettings) -> list[_Pairs]:
    """Return the pairs at every size of the settings, the first one's as they are."""

    def reduced(bank: Tensor, size: int) -> Tensor:
        if bank.shape[-1] == size:
            return bank
        return torch.stack([_bytes(_shrunk(images / 255, size)) for images in bank])

    return [
        _Pairs(reduced(pairs.sources, size), reduced(pairs.edits, size))
        for size in settings.sizes_px
    ]


def _shrunk(images: Tensor, size: int) -> Tensor:
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def _bytes(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


@dataclass(frozen=True, slots=True)
class _Networks:
    generator: Generator
    judge: PatchGAN
    paint: Callable[[Tensor, Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], Tensor]


def _networks(settings: BaseSettings, context_dim: int, device: torch.device) -> _Networks:
    shape = Shape(width=settings.width, context_dim=context_dim)
    generator = fresh_generator(shape, seed=settings.seed)
    judge = fresh_discriminator(
        settings.discriminator_width, seed=settings.seed, context_dim=context_dim
    )
    generator = generator.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    judge = judge.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    features = copy.deepcopy(perceptual_distance()).to(device)
    if device.type == "cuda" and settings.compile:
        paint = torch.compile(generator.painted, dynamic=False)
        return _Networks(generator, judge, paint, torch.compile(features, dynamic=False))
    return _Networks(generator, judge, generator.painted, features)


def _trained(
    settings: BaseSettings,
    pairs: Sequence[_Pairs],
    contexts: Sequence[Tensor],
    device: torch.device,
    out: Path,
    log: Log,
) -> tuple[Generator, int]:
    """Train for the given seconds and return the averaged generator and the number of steps."""
    nets = _networks(settings, contexts[0].shape[-1], device)
    generator = nets.generator
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
        batch = _drawn(pairs[place], wordings, settings.batches[place], random)
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


Batch = tuple[Tensor, Tensor, Tensor]


def _drawn(pairs: _Pairs, wordings: Sequence[Tensor], batch: int, random: torch.Generator) -> Batch:
    """Return sources, edits in [-1, 1] and contexts of random pairs of random concepts."""
    device = pairs.sources.device
    concepts = torch.randint(len(wordings), (batch,), generator=random, device=device)
    rows = torch.randint(pairs.sources.shape[1], (batch,), generator=random, device=device)
    flips = torch.rand(batch, 1, 1, 1, generator=random, device=device) < 0.5
    images = []
    for bank in (pairs.sources, pairs.edits):
        drawn = bank[concepts, rows].float().div_(127.5).sub_(1)
        drawn = torch.where(flips, drawn.flip(-1), drawn)
        images.append(drawn.contiguous(memory_format=torch.channels_last))
    picks = torch.rand(batch, generator=random, device=device)
    most = max(len(words) for words in wordings)
    table = torch.stack([words[torch.arange(most) % len(words)] for words in wordings])
    counts = torch.tensor([len(words) for words in wordings], device=device)
    return images[0], images[1], table[concepts, (picks * counts[concepts]).long()]


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


def _save(generator: Generator, out: Path) -> str:
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
    held: Sequence[_Pairs],
    out: Path,
    log: Log,
) -> dict[str, Any]:
    jobs = [
        (number, size, pairs)
        for number in range(len(settings.concepts))
        for pairs, size in zip(held, settings.sizes_px, strict=True)
    ]

    def one(job: tuple[int, int, _Pairs]) -> tuple[dict[str, Any], tuple[Photos, Photos, Photos]]:
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


def _warm_compiler(
    settings: BaseSettings, context: torch.Size, device: torch.device
) -> subprocess.Popen[bytes] | None:
    """Fill the compiler's disk cache in a second process while the teacher samples."""
    if device.type != "cuda" or not settings.compile:
        return None
    code = (
        "from edgekit.distill import fit_base as f; "
        f"f.warm_up(f.BaseSettings(sizes_px={settings.sizes_px!r}, batches={settings.batches!r}, "
        f"width={settings.width}), {tuple(context[1:])!r})"
    )
    return subprocess.Popen([sys.executable, "-c", code])


def warm_up(settings: BaseSettings, context: tuple[int, int]) -> None:
    """Run one step of each size, with moving and with settled norms, on zeros."""
    device = torch.device("cuda")
    nets = _networks(settings, context[1], device)
    optimizer = torch.optim.Adam(nets.generator.parameters(), 0.0)
    for training in (True, False):
        nets.generator.train(training)
        for size, batch in zip(settings.sizes_px, settings.batches, strict=True):
            image = torch.zeros(batch, 3, size, size, device=device)
            image = image.contiguous(memory_format=torch.channels_last)
            words = torch.zeros(batch, *context, device=device)
            _base_step(nets, settings, (image, image, words), optimizer, None)


def _ended(process: subprocess.Popen[bytes], patience_s: float = 45) -> int:
    try:
        return process.wait(timeout=patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def main() -> None:
    """Train the base from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="corpus folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, help="pipeline folder; default: the bundled one")
    parser.add_argument("--seconds", type=float, default=280.0)
    parser.add_argument("--pairs", type=int, default=2048)
    parser.add_argument("--teacher-steps", type=int)
    parser.add_argument("--teacher-guidance", type=float)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="worth it from ten minutes on")
    given = parser.parse_args()
    settings = BaseSettings(
        seconds=given.seconds,
        pairs=given.pairs,
        teacher_steps=given.teacher_steps,
        teacher_guidance=given.teacher_guidance,
        compile=given.compile,
    )
    fit_base(
        settings, photos=given.photos, out=given.out, teacher=given.teacher, device=given.device
    )


if __name__ == "__main__":
    main()
