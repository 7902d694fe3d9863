"""What is learned: four unseen edits of the bundled teacher, and one task without any teacher."""

from __future__ import annotations

import csv
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from edgekit.core.images import resized
from edgekit.core.tensors import Photo, Photos
from edgekit.distill.base_pairs import BasePairs, BaseSettings, Sample, sampler
from edgekit.distill.students.text_context import text_context
from edgekit.distill.teachers.corpus import (
    center_crops,
    read_corpus,
    read_photo,
    sampled,
    train_bank,
)
from edgekit.distill.teachers.loader import load_teacher
from edgekit.distill.teachers.sampling import Editor
from edgekit.distill.teachers.vocabulary import BASE_CONCEPTS

SIZE_PX = 128
TEACHER_PX = 256
TEACHER_STEPS = 4
POOL = 1000
"""Training pairs of a concept; the arms take 800 of them unless they say otherwise."""
CONCEPTS = {
    "turn it into a comic": "global style",
    "make it golden hour": "colour",
    "make it frosty": "texture",
    "make it cherry blossom season": "local",
}
"""Held out: the base has never seen them, and the ranks were searched on others."""
SEARCHED_ON = "make it snowy"
EMOJI = "turn the flat icon into fluent 3d"
"""A task with exact answers: pairs of drawings of the same icon in two styles."""
EMOJI_STYLES = {
    "fluent_flat": "flat",
    "fluent_modern": "modern",
    "fluent_highcontrast": "high contrast",
    "fluent_3d": "fluent 3d",
    "noto": "noto",
    "twemoji": "twemoji",
}
EMOJI_HELD_OUT = 100
"""Icons in the validation and in the test split."""

Split = tuple[Photos, Photos]
"""Sources and answers, uint8 (n, 128, 128, 3)."""


@dataclass(frozen=True, slots=True)
class Task:
    """Pairs of one concept, divided, and the words for it."""

    prompt: str
    kind: str
    train: Split
    val: Split
    test: Split
    context: Tensor
    teacher_s: float
    """Seconds that the teacher took for all pairs; 0 where there is none."""

    @property
    def sha256(self) -> str:
        """A hash over all training pairs: two machines that agree trained on the same."""
        return hashlib.sha256(self.train[0].tobytes() + self.train[1].tobytes()).hexdigest()


def photo_tasks(
    folder: Path, prompts: Sequence[str], *, device: str, pool: int = POOL, judged: int = 100
) -> list[Task]:
    """Return one task a prompt: crops of the photos in `folder`, edited by the bundled teacher."""
    assert not set(prompts) & set(BASE_CONCEPTS), "a concept of the experiment was in the base"
    place = torch.device(device)
    corpus = read_corpus(folder)
    bank = train_bank(corpus, size=TEACHER_PX, per_set=pool, seed=0, device=place)
    sample = teacher_sample(device)
    squares = {name: _judged(folder / name, judged, place) for name in ("val", "test")}
    tasks = []
    for prompt in prompts:
        number = [*CONCEPTS, SEARCHED_ON].index(prompt)  # the same pairs in whatever company
        started = time.monotonic()
        images = sampled(bank, pool, torch.Generator(place).manual_seed(number + 11))
        train, val, test = (
            _edited(some, sample, prompt, 1000 * number + place_)
            for place_, some in enumerate((images, squares["val"], squares["test"]))
        )
        kind = CONCEPTS.get(prompt, "searched on")
        seconds = time.monotonic() - started
        tasks.append(Task(prompt, kind, train, val, test, text_context(prompt), seconds))
    return tasks


def _judged(folder: Path, count: int, device: torch.device) -> Tensor:
    """Return the middle of every photo, evenly over the sets, float (n, 3, 256, 256)."""
    sets = sorted(path for path in folder.iterdir() if path.is_dir())
    crops = [
        center_crops(read_photo(file), TEACHER_PX, 1)[0]
        for place in sets
        for file in sorted(place.iterdir())[: count // len(sets)]
    ]
    return torch.stack(crops).to(device).float() / 255


def teacher_sample(device: str) -> Sample:
    """Return the bundled teacher as a function of images in [0, 1], a prompt and a seed."""
    parts = load_teacher("bundled", device=device, dtype="float32").pipeline
    editor = Editor(parts.vae.eval(), parts.unet.eval(), parts.text_encoder.eval(), parts.tokenizer)
    how = {"steps": TEACHER_STEPS, "guidance": 1.0}
    return sampler(editor, BaseSettings(teacher_batch=100), how)


def _edited(images: Tensor, sample: Sample, prompt: str, seed: int) -> Split:
    images = (images * 255).round() / 255
    edits = sample(images, prompt, 7_000_000 + seed)
    return _small(images), _small(edits)


def _small(images: Tensor) -> Photos:
    soft = torch.nn.functional.interpolate(
        images, size=(SIZE_PX, SIZE_PX), mode="bilinear", antialias=True
    )
    made: Photos = (soft.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return made


def emoji_task(folder: Path) -> Task:
    """Return the task flat to 3D; icons that differ in skin tone alone share a split."""
    names = emoji_names(folder)
    styles = ("fluent_flat", "fluent_3d")
    splits = [_icons(folder, part, styles) for part in names]
    flat, solid = zip(*splits, strict=True)
    train, val, test = zip(flat, solid, strict=True)
    return Task(EMOJI, "exact pairs, no teacher", train, val, test, text_context(EMOJI), 0.0)


def emoji_base_pairs(folder: Path) -> tuple[tuple[str, ...], BasePairs]:
    """Return the concepts of the icons' base, and their pairs: all directions but those to 3D."""
    names = emoji_names(folder)[0]
    styles = list(EMOJI_STYLES)
    banks = dict(zip(styles, _icons(folder, names, styles), strict=True))
    directions = [(a, b) for a in styles for b in styles if a != b and b != "fluent_3d"]
    prompts = tuple(
        f"turn the {EMOJI_STYLES[a]} icon into {EMOJI_STYLES[b]}" for a, b in directions
    )
    assert EMOJI not in prompts

    def stacked(place: Callable[[tuple[str, str]], str]) -> Tensor:
        bank = np.stack([banks[place(direction)] for direction in directions])
        return torch.from_numpy(np.ascontiguousarray(bank.transpose(0, 1, 4, 2, 3)))

    return prompts, BasePairs(stacked(lambda d: d[0]), stacked(lambda d: d[1]))


def emoji_names(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Return the names of the icons to train on, to choose with, and to test on."""
    with (folder / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    families: dict[str, list[str]] = {}
    for row in rows:
        families.setdefault(row["label"].split(":")[0], []).append(row["hex"])
    ordered = sorted(families, key=lambda label: hashlib.sha256(label.encode()).hexdigest())
    splits: tuple[list[str], list[str], list[str]] = ([], [], [])
    for label in ordered:
        place = next((i for i in (2, 1) if len(splits[i]) < EMOJI_HELD_OUT), 0)
        room = EMOJI_HELD_OUT - len(splits[place]) if place else len(families[label])
        splits[place].extend(families[label][:room])
    return splits


def _icons(folder: Path, names: Sequence[str], styles: Sequence[str]) -> list[Photos]:
    files = {
        style: {file.stem: file for file in sorted((folder / style).iterdir())} for style in styles
    }
    return [np.stack([_icon(files[style][name]) for name in names]) for style in styles]


def _icon(file: Path) -> Photo:
    with Image.open(file) as opened:
        icon = opened.convert("RGBA")
        page = Image.new("RGBA", icon.size, "white")
        pixels = np.asarray(Image.alpha_composite(page, icon).convert("RGB"))
    small: Photo = resized(pixels, SIZE_PX, SIZE_PX)
    return small
