"""How fast pairs are made, beside a plain diffusers loop, and whether they are as good.

    python benchmarks/teacher_throughput.py --photos photos --out cpu.json
    python benchmarks/teacher_throughput.py --photos photos --device cuda --large --out gpu.json

The plain loop calls the teacher's diffusers pipeline in float32 for one photo after the other, with
the steps that its card recommends. Each arm adds one ingredient; the last is what `load_teacher`
gives `edgekit pairs make`. All arms take turns. Then whole sets of pairs are made: cut, edited,
scored, encoded and written, beside a plain loop that cuts, edits and saves.

Quality is measured for the first and the last arm on held-out photos against the exact operators
that the bundled teacher learned. `--large` repeats the arms with a pipeline of Stable Diffusion
1.5's size and random weights: equal steps in all arms, and how closely the pictures agree.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import PNDMScheduler, StableDiffusionInstructPix2PixPipeline
from PIL import Image
from transformers import CLIPTokenizer

from edgekit.benchmarks.host import load_average
from edgekit.cli.baselines import parts_of_sd15_size
from edgekit.core.assets import asset_folder
from edgekit.core.store import write_json
from edgekit.core.tensors import Photos
from edgekit.distill.fit_state import fast_bfloat16
from edgekit.distill.metrics import as_photos, as_tensor, perceptual_distance
from edgekit.distill.pairs.jobs import job_crop, jobs_of
from edgekit.distill.pairs.make import make_pairs
from edgekit.distill.pairs.settings import PairSettings
from edgekit.distill.pairs.sources import open_sources
from edgekit.distill.program import host
from edgekit.distill.teachers.corpus import read_corpus, test_bank
from edgekit.distill.teachers.folders import TeacherInfo, quiet
from edgekit.distill.teachers.loader import PAIR_STEPS, DiffusionTeacher, load_teacher
from edgekit.distill.teachers.measure import held_out, psnr_each
from edgekit.distill.teachers.pipelines import ADAPTERS, Sampling
from edgekit.distill.teachers.speed import batch_for_memory, tuned, weight_bytes
from edgekit.distill.teachers.tasks import performed, plain_task
from edgekit.distill.teachers.vocabulary import edit_named

PROMPTS = (
    "make it night",
    "make it snowy",
    "make it autumn",
    "turn it into a watercolor painting",
    "turn it into a pencil sketch",
    "make it neon",
)
PLAIN, OURS = "plain diffusers loop", "edgekit"
INSTRUCT = "StableDiffusionInstructPix2PixPipeline"
LARGE = Sampling(steps=20, guidance=7.5, image_guidance=1.5)
"""As InstructPix2Pix is used; the same steps in all arms."""
Edit = Callable[[Photos, str], Photos]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of editing, and how many photos it is given at once."""

    name: str
    edit: Edit
    photos: int


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True, help="a corpus with held-out photos")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=0, help="of a whole set; default: 16, GPU 512")
    parser.add_argument("--per-set", type=int, default=4, help="held-out photos of each set")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--large-size", type=int, default=512)
    parser.add_argument("--large-steps", type=int, default=LARGE.steps)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    images = held_out(
        test_bank(read_corpus(given.photos), size=given.size, device=device), given.per_set
    )
    photos = as_photos(images * 2 - 1)
    result: dict[str, Any] = {
        "what": "seconds a pair of ways to edit photos with a teacher, taking turns",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": host(),
        "load_average": load_average(),
        "device": given.device,
        "size_px": given.size,
    }

    def said(name: str, value: Any) -> None:
        result[name] = value
        write_json(given.out, result)
        print(name, _short(value), flush=True)

    arms = bundled_arms(given.device, given.size)
    warmup = 4 if device.type == "cuda" else 1  # a decoder is recorded at its third call
    said("bundled", timed_arms(arms, photos, given.rounds, device, warmup=warmup))
    said("quality", quality(arms[0], arms[-1], images, photos))
    count = given.pairs or (512 if device.type == "cuda" else 16)
    said("whole_sets", whole_sets(given.photos, arms[0], count, given))
    if given.large:
        del arms
        large = large_arms(device, given.large_size, given.large_steps)
        big = as_photos(
            torch.nn.functional.interpolate(images, size=(given.large_size,) * 2, mode="bicubic")
            * 2
            - 1
        )
        said("large", timed_arms(large, big, 2, device, warmup=2))
        said("large_agreement", agreement(large[0], large[-1], big[:4]))
    result["load_average_after"] = load_average()
    write_json(given.out, result)


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [{k: v for k, v in row.items() if not k.endswith("samples_s")} for row in value]
    return value


def bundled_arms(device: str, size_px: int) -> list[Arm]:
    """Return the arms of the bundled teacher, each with one ingredient more."""
    folder = asset_folder("teacher")
    half = torch.bfloat16 if fast_bfloat16(torch.device(device)) else torch.float32
    steps = int(load_teacher("bundled", device="cpu").sample.steps)
    fast = load_teacher("bundled", device=device, pairs_px=size_px)
    untuned = load_teacher("bundled", device=device, pairs_px=size_px, tune=False)
    one = replace(untuned, sample=replace(untuned.sample, batch_size=1))
    many = fast.sample.batch_size
    short = str(half).removeprefix("torch.")
    return [
        Arm(PLAIN, plain_edit(_plain_pipeline(folder, torch.float32, device), steps, 1.0, 1.0), 1),
        Arm(
            f"{PAIR_STEPS} instead of {steps} steps",
            plain_edit(_plain_pipeline(folder, torch.float32, device), PAIR_STEPS, 1.0, 1.0),
            1,
        ),
        Arm(f"+ {short}", plain_edit(_plain_pipeline(folder, half, device), PAIR_STEPS, 1.0, 1), 1),
        Arm("+ text encoded once", _teacher_edit(one), 1),
        Arm(f"+ {many} photos at once", _teacher_edit(untuned), many),
        Arm(OURS, _teacher_edit(fast), many),
    ]


def _plain_pipeline(folder: Path, dtype: torch.dtype, device: str) -> Any:
    with quiet():
        pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(
            folder, dtype=dtype, safety_checker=None, requires_safety_checker=False
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def plain_edit(pipeline: Any, steps: int, guidance: float, image_guidance: float) -> Edit:
    """Return the loop that a user of diffusers writes: one photo, one call."""

    def edit(photos: Photos, prompt: str) -> Photos:
        made = [
            pipeline(
                prompt,
                image=Image.fromarray(photo),
                num_inference_steps=steps,
                guidance_scale=guidance,
                image_guidance_scale=image_guidance,
                generator=torch.Generator("cpu").manual_seed(number),
            ).images[0]
            for number, photo in enumerate(photos)
        ]
        return np.stack([np.asarray(picture) for picture in made])

    return edit


def _teacher_edit(teacher: DiffusionTeacher) -> Edit:
    return lambda photos, prompt: teacher.edit(photos, prompt, seed=0)


def timed_arms(
    arms: Sequence[Arm], photos: Photos, rounds: int, device: torch.device, *, warmup: int
) -> list[dict[str, Any]]:
    """Let the arms take turns on as many photos as each takes at once; seconds a pair."""
    samples: list[list[float]] = [[] for _ in arms]
    worked: list[list[float]] = [[] for _ in arms]
    given = [photos[np.arange(arm.photos) % len(photos)] for arm in arms]
    for arm, batch in zip(arms, given, strict=True):
        for _ in range(warmup):  # kernels are chosen, graphs recorded
            arm.edit(batch, PROMPTS[0])
    for turn in range(rounds):
        for step in range(len(arms)):
            place = (turn + step) % len(arms)
            _settle(device)
            busy, started = time.process_time(), time.perf_counter()
            arms[place].edit(given[place], PROMPTS[0])
            _settle(device)
            samples[place].append((time.perf_counter() - started) / arms[place].photos)
            worked[place].append((time.process_time() - busy) / arms[place].photos)
    first, effort = float(np.median(samples[0])), float(np.median(worked[0]))
    return [
        {
            "arm": arm.name,
            "photos_at_once": arm.photos,
            "seconds_a_pair": round(float(np.median(taken)), 5),
            "times_plain": round(first / float(np.median(taken)), 3),
            "cpu_seconds_a_pair": round(float(np.median(busy)), 5),
            "times_plain_by_cpu": round(effort / float(np.median(busy)), 3),
            "samples_s": [round(value, 6) for value in taken],
            "cpu_samples_s": [round(value, 6) for value in busy],
        }
        for arm, taken, busy in zip(arms, samples, worked, strict=True)
    ]


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def quality(plain: Arm, ours: Arm, images: torch.Tensor, photos: Photos) -> dict[str, Any]:
    """Compare both arms' pictures of `photos` with the exact operators', and with each other."""
    sums: dict[str, list[float]] = {}
    for prompt in PROMPTS:
        exact = as_photos(performed(plain_task(edit_named(prompt).edits[0]), images) * 2 - 1)
        made = {"plain": plain.edit(photos, prompt), "edgekit": ours.edit(photos, prompt)}
        for name, pictures in {**made, "source": photos}.items():
            for key, value in _compared(exact, pictures).items():
                sums.setdefault(f"{name}_{key}", []).append(value)
        agreed = _compared(made["plain"], made["edgekit"])["psnr_db"]
        sums.setdefault("plain_to_edgekit_psnr_db", []).append(agreed)
    means = {name: round(float(np.mean(values)), 4) for name, values in sums.items()}
    return {"photos": len(photos), "prompts": list(PROMPTS), **means}


def _compared(exact: Photos, made: Photos) -> dict[str, float]:
    one, two = as_tensor(exact), as_tensor(made)
    with torch.no_grad():
        features = float(perceptual_distance()(one, two))
    return {
        "psnr_db": float(psnr_each((one + 1) / 2, (two + 1) / 2).mean()),
        "feature_distance": features,
    }


def whole_sets(
    photos: Path, plain: Arm, count: int, given: argparse.Namespace
) -> list[dict[str, Any]]:
    """Time `edgekit pairs make` from a loaded teacher to the manifest, beside a plain loop."""
    settings = PairSettings(
        prompt=PROMPTS[0], photos=photos, count=count, size_px=given.size, variation=0.0
    )
    teacher = load_teacher("bundled", device=given.device, pairs_px=given.size)
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        made = make_pairs(settings, teacher, Path(place) / "pairs")
        ours = (time.perf_counter() - started) / count
    few = max(4, count // 16)
    started = time.perf_counter()
    _plain_set(settings, plain, few)
    alone = (time.perf_counter() - started) / few
    facts = {"size_px": given.size, "pairs": few, "seconds_a_pair": round(alone, 5)}
    return [
        {"arm": "plain loop: cut, edit, save as PNG, no scores", **facts, "times_plain": 1.0},
        {
            "arm": "edgekit pairs make: cut, edit, score, encode, write",
            "size_px": given.size,
            "pairs": count,
            "kept": made.manifest["pairs"],
            "photos_at_once": teacher.sample.batch_size,
            "seconds_a_pair": round(ours, 5),
            "times_plain": round(alone / ours, 3),
        },
    ]


def _plain_set(settings: PairSettings, plain: Arm, count: int) -> None:
    sources = open_sources(
        settings.photos,
        size_px=settings.size_px,
        limit=settings.count,
        seed=settings.seed,
        heldout=settings.heldout,
    )
    for job in jobs_of(settings, sources, lambda *_: None)[:count]:
        _, picture = job_crop(job, settings, sources)
        edited = plain.edit(picture[None], settings.prompt)[0]
        for photo in (picture, edited):
            Image.fromarray(photo).save(io.BytesIO(), "PNG")


def large_arms(device: torch.device, size_px: int, steps: int) -> list[Arm]:
    """Return the arms of a random pipeline of Stable Diffusion 1.5's size, at equal steps."""
    alone = _large_pipeline(device, torch.float32)
    half = _large_pipeline(device, torch.bfloat16)
    total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    many = batch_for_memory(total, weight_bytes(half), size_px**2) if total else 2
    info = TeacherInfo(
        name="random",
        folder=Path(),
        class_name=INSTRUCT,
        identity="random@0",
        parameters=0,
        size_bytes=weight_bytes(half),
        sampling=LARGE,
        concepts=(),
        card={},
    )

    def teacher(batch: int) -> DiffusionTeacher:
        return DiffusionTeacher(
            info=info,
            pipeline=half,
            adapter=ADAPTERS[INSTRUCT],
            sample=replace(LARGE, steps=steps, batch_size=batch),
            device=device.type,
            dtype="bfloat16",
            smallest_px=size_px,
            largest_px=size_px,
        )

    tuned(half)
    return [
        Arm(PLAIN, plain_edit(alone, steps, LARGE.guidance, 1.5), 1),
        Arm("bfloat16, tuned", _teacher_edit(teacher(1)), 1),
        Arm(OURS, _teacher_edit(teacher(many)), many),
    ]


def _large_pipeline(device: torch.device, dtype: torch.dtype) -> Any:
    """Build it on the device from one seed: both precisions hold the same numbers, rounded."""
    parts: dict[str, Any] = parts_of_sd15_size()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for part in parts.values():
            part.to_empty(device=device).eval()
            for module in part.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
            for name, buffer in part.named_buffers():
                if name.endswith("position_ids"):
                    buffer.copy_(torch.arange(buffer.shape[-1]))
            part.to(dtype)
    with quiet():
        pipeline = StableDiffusionInstructPix2PixPipeline(
            **parts,
            tokenizer=CLIPTokenizer.from_pretrained(
                asset_folder("teacher") / "tokenizer", model_max_length=77
            ),
            scheduler=PNDMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                skip_prk_steps=True,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def agreement(plain: Arm, ours: Arm, photos: Photos) -> dict[str, Any]:
    """Return how closely both arms' pictures of the same photos and seeds agree."""
    one, two = plain.edit(photos, PROMPTS[0]), ours.edit(photos, PROMPTS[0])
    error = max(float(np.mean((one.astype(np.float64) - two) ** 2)), 1e-9)
    signal = float(np.mean([picture.std() ** 2 for picture in one]))
    return {
        "photos": len(photos),
        "psnr_db": round(10 * float(np.log10(255**2 / error)), 2),
        "contrast_of_255": round(signal**0.5, 2),
        "contrast_to_difference_db": round(10 * float(np.log10(signal / error)), 2),
    }


if __name__ == "__main__":
    main()
