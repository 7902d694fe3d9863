"""How each diffusers pipeline class is loaded, what size it works at, and how it is called.

`ADAPTERS` is the whole difference between teachers: a class name of ``model_index.json`` leads to
one row. Everything else (photos, padding, seeds, batches, errors) is the same for all, in `loader`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image

from edgekit.core.errors import EdgekitError
from edgekit.core.store import read_json
from edgekit.core.tensors import Batch
from edgekit.distill.teachers.speed import remembered

Pipeline: TypeAlias = Any
"""A diffusers pipeline; diffusers ships no types."""
Component: TypeAlias = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a teacher samples; None means that its class has no such setting."""

    steps: int
    guidance: float
    image_guidance: float | None = None
    """How closely InstructPix2Pix keeps to the photo; 1 is off."""
    strength: float | None = None
    """Share of the noise schedule that SDEdit runs through: 0 keeps the photo, 1 forgets it."""
    batch_size: int = 4

    def __post_init__(self) -> None:
        """Reject settings that diffusers would fail on, or silently round to nothing."""
        if self.steps < 1:
            raise EdgekitError(f"steps = {self.steps}", hint="sample with at least 1 step")
        if self.batch_size < 1:
            raise EdgekitError(
                f"batch size = {self.batch_size}", hint="edit at least 1 photo at once"
            )
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise EdgekitError(f"guidance = {self.guidance}", hint="choose 0 or more")
        if self.image_guidance is not None and self.image_guidance < 1:
            raise EdgekitError(f"image guidance = {self.image_guidance}", hint="choose 1 or more")
        if self.strength is not None:
            if not 0 < self.strength <= 1:
                raise EdgekitError(
                    f"strength = {self.strength}", hint="choose a share above 0 and up to 1"
                )
            if int(self.steps * self.strength) < 1:
                raise EdgekitError(
                    f"{self.steps} steps at strength {self.strength} leave no step to run",
                    hint=f"use at least {math.ceil(1 / self.strength)} steps",
                )

    def facts(self) -> dict[str, float]:
        """Return what is set, as JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


Call: TypeAlias = Callable[
    [Pipeline, list[Image.Image], str, list[torch.Generator], Sampling], Batch
]
"""Edits PIL photos of one size, one generator each; returns float pixels in [0, 1], NHWC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One row: what to do with one pipeline class."""

    load_as: str
    """The diffusers class that edits; for a text-to-image folder, its image-to-image sibling."""
    sampling: Callable[[Path], Sampling]
    """Default sampling, from the folder's own configuration."""
    call: Call
    multiple: Callable[[Pipeline], int]
    """Sides must be multiples of this many pixels."""
    native_px: Callable[[Pipeline], int]
    """The square that the model was trained on."""
    fit: Literal["side", "area", "own"]
    """`side`: the shorter side is brought near `native_px`; `area`: the area is brought to its
    square, with padding; `own`: the pipeline itself resizes to that area, without padding."""
    without: tuple[str, ...] = ()
    """Components that are not loaded: the safety checker judges, it does not edit."""
    extra: Callable[[Path], dict[str, Component]] = lambda folder: {}
    """Components that have to be built by hand."""


def _instruct(
    pipeline: Pipeline,
    photos: list[Image.Image],
    prompt: str,
    generators: list[torch.Generator],
    sampling: Sampling,
) -> Batch:
    return _pixels(
        pipeline(
            **_texts(pipeline, pipeline._encode_prompt, prompt, len(photos), sampling),
            image=photos,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            image_guidance_scale=sampling.image_guidance,
            generator=generators,
            output_type="np",
        )
    )


def _texts(
    pipeline: Pipeline, encode: Callable[..., Any], prompt: str, count: int, sampling: Sampling
) -> dict[str, Any]:
    """Return the states of the prompt, and of none if guidance needs them, encoded only once."""

    def states() -> dict[str, torch.Tensor]:
        guided = sampling.guidance > 1
        wanted = {"prompt_embeds": prompt, "negative_prompt_embeds": ""}
        return {
            name: encode([text], pipeline.device, 1, False)
            for name, text in wanted.items()
            if guided or text == prompt
        }

    found = remembered(pipeline, (prompt, sampling.guidance > 1), states)
    return {name: value.expand(count, -1, -1) for name, value in found.items()}


def _image_to_image(
    pipeline: Pipeline,
    photos: list[Image.Image],
    prompt: str,
    generators: list[torch.Generator],
    sampling: Sampling,
) -> Batch:
    return _pixels(
        pipeline(
            prompt=[prompt] * len(photos),
            image=photos,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            strength=sampling.strength,
            generator=generators,
            output_type="np",
        )
    )


def _kontext(
    pipeline: Pipeline,
    photos: list[Image.Image],
    prompt: str,
    generators: list[torch.Generator],
    sampling: Sampling,
) -> Batch:
    width, height = photos[0].size
    return _pixels(
        pipeline(
            prompt=[prompt] * len(photos),
            image=photos,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            height=height,
            width=width,
            max_area=height * width,
            _auto_resize=False,  # the photo already has about the trained area, and its own shape
            generator=generators,
            output_type="np",
        )
    )


def _qwen(
    pipeline: Pipeline,
    photos: list[Image.Image],
    prompt: str,
    generators: list[torch.Generator],
    sampling: Sampling,
) -> Batch:
    """One photo a call: a list of photos means one edit with several references to this class."""
    outputs = [
        _pixels(
            pipeline(
                prompt=prompt,
                # Guidance needs something to steer away from; the model card uses one blank.
                negative_prompt=" " if sampling.guidance > 1 else None,
                image=photo,
                num_inference_steps=sampling.steps,
                true_cfg_scale=sampling.guidance,
                generator=[generator],
                output_type="np",
            )
        )
        for photo, generator in zip(photos, generators, strict=True)
    ]
    return np.concatenate(outputs)


def _pixels(result: Any) -> Batch:
    images: Batch = result.images
    return images


def _unet_side(pipeline: Pipeline) -> int:
    sample = pipeline.unet.config.sample_size
    side = sample if isinstance(sample, int) else min(sample)
    return int(side * pipeline.vae_scale_factor)


def _unet_multiple(pipeline: Pipeline) -> int:
    halvings = len(pipeline.unet.config.down_block_types) - 1
    return int(pipeline.vae_scale_factor * 2**halvings)


def _transformer_side(pipeline: Pipeline) -> int:
    return int(pipeline.default_sample_size * pipeline.vae_scale_factor)


def _transformer_multiple(pipeline: Pipeline) -> int:
    return int(pipeline.vae_scale_factor * 2)  # latents are packed in 2 x 2 patches


def _fixed(sampling: Sampling) -> Callable[[Path], Sampling]:
    return lambda folder: sampling


def _turbo_or(sampling: Sampling) -> Callable[[Path], Sampling]:
    """Recognize a few-step model by its scheduler and sample it as its authors say.

    Source: model cards of stabilityai/sd-turbo and sdxl-turbo: guidance 0 and steps x strength of
    at least 1. Both ship a scheduler with trailing timesteps; consistency models ship LCM's.
    """

    def chosen(folder: Path) -> Sampling:
        file = folder / "scheduler" / "scheduler_config.json"
        scheduler = read_json(file) if file.is_file() else {}
        few = scheduler.get("_class_name") in ("LCMScheduler", "TCDScheduler")
        if few or scheduler.get("timestep_spacing") == "trailing":
            return replace(sampling, steps=4, guidance=0.0, strength=0.5)
        return sampling

    return chosen


def _qwen_processor(folder: Path) -> dict[str, Component]:
    """Build the processor with its PIL image processor.

    Loading it whole would also load a video processor, and that imports torchvision.
    """
    from transformers import Qwen2Tokenizer, Qwen2VLImageProcessorPil, Qwen2VLProcessor

    class PhotoProcessor(Qwen2VLProcessor):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            """Accept that there is no video processor: an edit never passes a video."""
            if argument_name == "video_processor" and argument is None:
                return type(None)
            return super().check_argument_for_proper_class(argument_name, argument)

    place = folder / "processor"
    return {
        "processor": PhotoProcessor(
            image_processor=Qwen2VLImageProcessorPil.from_pretrained(place),
            tokenizer=Qwen2Tokenizer.from_pretrained(place),
            video_processor=None,
        )
    }


_SD = Sampling(steps=30, guidance=7.5, strength=0.6)
_SDXL = Sampling(steps=30, guidance=6.0, strength=0.6, batch_size=2)


def _sdedit(load_as: str, sampling: Sampling, without: tuple[str, ...]) -> Adapter:
    return Adapter(
        load_as=load_as,
        sampling=_turbo_or(sampling),
        call=_image_to_image,
        multiple=_unet_multiple,
        native_px=_unet_side,
        fit="side",
        without=without,
    )


def _qwen_edit(load_as: str) -> Adapter:
    return Adapter(
        load_as=load_as,
        sampling=_fixed(Sampling(steps=40, guidance=4.0, batch_size=1)),
        call=_qwen,
        multiple=_transformer_multiple,
        native_px=_transformer_side,
        fit="own",
        extra=_qwen_processor,
    )


_CHECKER = ("safety_checker", "feature_extractor")
ADAPTERS: dict[str, Adapter] = {
    "StableDiffusionInstructPix2PixPipeline": Adapter(
        load_as="StableDiffusionInstructPix2PixPipeline",
        sampling=_fixed(Sampling(steps=20, guidance=7.5, image_guidance=1.5)),
        call=_instruct,
        multiple=_unet_multiple,
        native_px=_unet_side,
        fit="side",
        without=_CHECKER,
    ),
    "StableDiffusionImg2ImgPipeline": _sdedit("StableDiffusionImg2ImgPipeline", _SD, _CHECKER),
    "StableDiffusionPipeline": _sdedit("StableDiffusionImg2ImgPipeline", _SD, _CHECKER),
    "StableDiffusionXLImg2ImgPipeline": _sdedit("StableDiffusionXLImg2ImgPipeline", _SDXL, ()),
    "StableDiffusionXLPipeline": _sdedit("StableDiffusionXLImg2ImgPipeline", _SDXL, ()),
    "FluxKontextPipeline": Adapter(
        load_as="FluxKontextPipeline",
        sampling=_fixed(Sampling(steps=28, guidance=2.5, batch_size=1)),
        call=_kontext,
        multiple=_transformer_multiple,
        native_px=_transformer_side,
        fit="area",
    ),
    "QwenImageEditPipeline": _qwen_edit("QwenImageEditPipeline"),
    "QwenImageEditPlusPipeline": _qwen_edit("QwenImageEditPlusPipeline"),
}
"""Class name in ``model_index.json`` -> how edgekit uses it."""


def changed(
    sampling: Sampling,
    class_name: str,
    *,
    steps: int | None,
    guidance: float | None,
    image_guidance: float | None,
    strength: float | None,
    batch_size: int | None,
) -> Sampling:
    """Return `sampling` with what the user asked for.

    Raises EdgekitError for a setting that this class does not have: dropping it silently would
    give pictures that nobody asked for.
    """
    for name, value, has in (
        ("image guidance", image_guidance, sampling.image_guidance),
        ("strength", strength, sampling.strength),
    ):
        if value is not None and has is None:
            raise EdgekitError(f"{class_name} has no {name}", hint=f"leave the {name} out")
    asked: dict[str, Any] = {
        "steps": steps,
        "guidance": guidance,
        "image_guidance": image_guidance,
        "strength": strength,
        "batch_size": batch_size,
    }
    return replace(sampling, **{name: value for name, value in asked.items() if value is not None})


def work_size(
    height: int,
    width: int,
    *,
    fit: Literal["side", "area", "own"],
    smallest: int,
    largest: int,
    multiple: int,
) -> tuple[int, int, int, int]:
    """Return the size to which a photo is scaled, then the size to which it is padded.

    With ``side`` the shorter side ends between `smallest` and `largest`, and the longer one at no
    more than twice `largest`; with ``area`` the area is that of a square of `largest`; with ``own``
    the photo is left as it is.

    >>> work_size(128, 128, fit="side", smallest=512, largest=768, multiple=64)
    (512, 512, 512, 512)
    >>> work_size(500, 333, fit="side", smallest=256, largest=768, multiple=64)
    (500, 333, 512, 384)
    """
    if fit == "own":
        return height, width, height, width
    short, long = min(height, width), max(height, width)
    if fit == "area":
        scale = largest / math.sqrt(height * width)
    else:
        scale = max(1.0, smallest / short) if short < largest else largest / short
        scale = min(scale, 2 * largest / long)
    scaled = max(1, round(height * scale)), max(1, round(width * scale))
    padded = tuple(math.ceil(side / multiple) * multiple for side in scaled)
    return scaled[0], scaled[1], padded[0], padded[1]


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return one CPU generator a photo: its noise depends on neither device nor neighbours."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
