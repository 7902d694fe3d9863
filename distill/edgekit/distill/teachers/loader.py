"""One loader for every teacher: a diffusers pipeline folder, or an id on the hub.

The class named in ``model_index.json`` decides how a pipeline is called (see `pipelines`); where
its files are found is the matter of `folders`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image

from edgekit.core.errors import BadInput, EdgekitError, unknown_name
from edgekit.core.images import MIN_SIDE, resized, to_bytes
from edgekit.core.tensors import Photos
from edgekit.distill.fit_state import fast_bfloat16
from edgekit.distill.teachers.folders import (
    BUNDLED,
    TeacherInfo,
    card_sampling,
    check_concept,
    describe_teacher,
    first_line,
    index_of,
    quiet,
    variant_of,
    weights_of,
)
from edgekit.distill.teachers.pipelines import (
    ADAPTERS,
    Adapter,
    Pipeline,
    Sampling,
    changed,
    generators,
    work_size,
)
from edgekit.distill.teachers.speed import batch_for_memory, tuned, weight_bytes

Device = Literal["auto", "cpu", "cuda", "mps"]
PAIR_STEPS = 4
"""Sampling steps of the bundled teacher for pairs. Its edits at 4 and 8 steps are hard to tell
apart; its autoencoder takes most of the time, and at half of its largest size it loses lines."""
DTypeName = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionTeacher:
    """A loaded diffusers pipeline; the `edgekit.core.seams.Teacher` of every class."""

    info: TeacherInfo
    pipeline: Pipeline = field(repr=False)
    adapter: Adapter = field(repr=False)
    sample: Sampling
    device: str
    dtype: DTypeName
    smallest_px: int
    largest_px: int

    @property
    def identity(self) -> str:
        """Name and sha256 prefix of the weights and configurations."""
        return self.info.identity

    @property
    def sampling(self) -> dict[str, float | str]:
        """What else decides the pixels: steps, guidance, batch and working size, number format."""
        return {**self.sample.facts(), "dtype": self.dtype, "smallest_px": self.smallest_px}

    def edit(self, images: Photos, prompt: str, *, seed: int | Sequence[int]) -> Photos:
        """Return `images` edited as `prompt` says, at the same size.

        Photos are scaled to a size that the model was trained on, padded to its multiple, and
        brought back. An int seeds image i with ``seed + i``, a sequence gives one seed an image.
        Raises BadInput for a prompt that the teacher does not know or photos below 16 pixels,
        ValueError for anything but uint8 photos n x h x w x 3 and one seed each.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise ValueError(
                f"expected uint8 photos n x h x w x 3, got {images.dtype} {images.shape}"
            )
        seeds = [seed + i for i in range(len(images))] if isinstance(seed, int) else list(seed)
        if len(seeds) != len(images):
            raise ValueError(f"{len(seeds)} seeds for {len(images)} images")
        self.check_prompt(prompt)
        if min(images.shape[1:3]) < MIN_SIDE:
            raise BadInput(
                f"photos of {images.shape[2]}x{images.shape[1]} pixels are too small for a teacher",
                hint=f"use photos with sides of at least {MIN_SIDE} pixels",
            )
        edited = np.empty_like(images)
        for start in range(0, len(images), self.sample.batch_size):
            part = slice(start, start + self.sample.batch_size)
            edited[part] = self._edited(images[part], prompt, seeds[part])
        return edited

    def check_prompt(self, prompt: str) -> None:
        """Raise BadInput if this teacher cannot know what `prompt` means."""
        if not prompt.strip():
            raise BadInput("the prompt is empty", hint="name the edit, for example 'make it night'")
        if self.info.concepts:
            check_concept(prompt)

    def worked_size(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the size to which a photo is scaled for the model, then that with padding."""
        return work_size(
            height,
            width,
            fit=self.adapter.fit,
            smallest=self.smallest_px,
            largest=self.largest_px,
            multiple=self.adapter.multiple(self.pipeline),
        )

    def _edited(self, images: Photos, prompt: str, seeds: Sequence[int]) -> Photos:
        height, width = images.shape[1:3]
        scaled_height, scaled_width, padded_height, padded_width = self.worked_size(height, width)
        below, right = padded_height - scaled_height, padded_width - scaled_width
        pad = ((0, below), (0, right), (0, 0))
        photos = [
            Image.fromarray(np.pad(resized(image, scaled_height, scaled_width), pad, "symmetric"))
            for image in images
        ]
        try:
            with torch.inference_mode(), quiet():
                pixels = self.adapter.call(
                    self.pipeline, photos, prompt, generators(seeds), self.sample
                )
        except torch.OutOfMemoryError as error:
            raise EdgekitError(
                f"the {self.device} has too little memory for {len(images)} photos at once",
                hint="use a smaller --batch-size, or --device cpu",
            ) from error
        whole = to_bytes(pixels, low=0.0, high=1.0)
        if self.adapter.fit != "own":
            whole = whole[:, :scaled_height, :scaled_width]
        return np.stack([resized(picture, height, width) for picture in whole])


def load_teacher(
    where: str | Path = BUNDLED,
    *,
    device: str = "auto",
    dtype: DTypeName | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    image_guidance: float | None = None,
    strength: float | None = None,
    batch_size: int | None = None,
    work_px: int | None = None,
    pairs_px: int | None = None,
    tune: bool = True,
) -> DiffusionTeacher:
    """Load a teacher: "bundled", a diffusers folder, or a hub id (timbrooks/instruct-pix2pix).

    `dtype` is float32 on a CPU and a 16-bit format on a GPU unless given. `work_px` replaces the
    side at which the model works (smaller is faster and worse). `pairs_px` says that pairs of that
    side are to be made: the bundled teacher then takes `PAIR_STEPS` steps, and bfloat16 on a CPU
    that multiplies it in hardware; one whose card names its sizes works at the largest; and on CUDA
    as many photos are edited at once as its memory surely holds. `tune` False leaves the networks
    as diffusers loads them (see `speed`).

    Raises BadInput for a folder that is no pipeline, lacks a component or holds pickled weights,
    and for an id that cannot be fetched; EdgekitError for an unknown pipeline class or a setting
    that this class does not have.
    """
    info = describe_teacher(where)
    adapter = ADAPTERS[info.class_name]
    sizes = [int(size) for size in card_sampling(info.card).get("sizes_px", [])]
    if pairs_px is not None:
        if steps is None and info.concepts:
            steps = PAIR_STEPS
        if work_px is None and sizes and pairs_px < max(sizes):
            work_px = max(sizes)
    sampling = changed(
        info.sampling,
        info.class_name,
        steps=steps,
        guidance=guidance,
        image_guidance=image_guidance,
        strength=strength,
        batch_size=batch_size,
    )
    if work_px is not None and (work_px < MIN_SIDE or adapter.fit == "own"):
        raise EdgekitError(
            f"{info.class_name} cannot work at {work_px} pixels", hint="leave the work size out"
        )
    place = device_named(device)
    half_pairs = pairs_px is not None and bool(info.concepts)
    number = _number_format(place, dtype, half_pairs=half_pairs)
    pipeline = _pipeline(info, adapter, place, number)
    if tune:
        tuned(pipeline)
    native = work_px or adapter.native_px(pipeline)
    teacher = DiffusionTeacher(
        info=info,
        pipeline=pipeline,
        adapter=adapter,
        sample=sampling,
        device=place,
        dtype=number,
        smallest_px=native if work_px or not sizes else min(sizes),
        largest_px=native if work_px or adapter.fit == "area" else max([native * 3 // 2, *sizes]),
    )
    if pairs_px is not None and batch_size is None and place == "cuda":
        return _in_large_batches(teacher, pairs_px)
    return teacher


def _in_large_batches(teacher: DiffusionTeacher, side: int) -> DiffusionTeacher:
    """Return `teacher` with the batch that this GPU's memory holds for photos of `side`.

    Classes that edit one photo at a time keep doing so.
    """
    if teacher.sample.batch_size == 1:
        return teacher
    height, width = teacher.worked_size(side, side)[2:]
    total = torch.cuda.get_device_properties(teacher.pipeline.device).total_memory
    count = batch_for_memory(total, weight_bytes(teacher.pipeline), height * width)
    return replace(teacher, sample=replace(teacher.sample, batch_size=count))


def _pipeline(info: TeacherInfo, adapter: Adapter, device: str, number: DTypeName) -> Pipeline:
    index = index_of(info.folder)
    weights = weights_of(info.folder, index, adapter.without)
    left_out: dict[str, Any] = {name: None for name in adapter.without if name in index}
    if "safety_checker" in left_out:
        left_out["requires_safety_checker"] = False
    with quiet():
        kind = getattr(import_module("diffusers"), adapter.load_as)
        try:
            pipeline = kind.from_pretrained(
                info.folder,
                dtype=getattr(torch, number),
                use_safetensors=True,
                local_files_only=True,
                variant=variant_of(weights),
                **left_out,
                **adapter.extra(info.folder),
            )
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
            raise BadInput(
                f"{info.folder} cannot be loaded as {adapter.load_as}: {first_line(error)}",
                hint="compare it with a folder that pipeline.save_pretrained wrote",
            ) from error
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)


def device_named(asked: str) -> str:
    """Return the device that `asked` (auto, cpu, cuda, mps) means here; raises EdgekitError."""
    if asked not in get_args(Device):
        raise unknown_name("device", asked, get_args(Device))
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if asked == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if here[name])
    if not here[asked]:
        raise EdgekitError(f"this machine offers no {asked}", hint="use --device auto or cpu")
    return asked


def _number_format(device: str, asked: DTypeName | None, *, half_pairs: bool) -> DTypeName:
    if asked is not None:
        if asked not in get_args(DTypeName):
            raise unknown_name("number format", asked, get_args(DTypeName))
        return asked
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if device == "mps":
        return "float16"
    # Half the time, and 0.3 of 255 gray levels apart; only measured for the bundled teacher.
    return "bfloat16" if half_pairs and fast_bfloat16(torch.device(device)) else "float32"
