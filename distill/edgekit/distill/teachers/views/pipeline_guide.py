"""Large text-to-image pipelines as guides: Stable Diffusion, DeepFloyd-IF, MVDream's U-Net.

A pipeline that knows no camera is told in words which side it sees; one whose U-Net takes a camera
gets its matrix.

Shape key, used as name suffixes in this file:
    B pictures   n prompts   V views in words   L tokens   C channels
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from edgekit.core.errors import BadInput, unknown_name
from edgekit.distill.render.views import Cameras
from edgekit.distill.teachers.folders import (
    digest_of,
    first_line,
    found_folder,
    index_of,
    quiet,
    variant_of,
    weights_of,
)

VIEWS = ("front view", "side view", "back view", "overhead view")
OVERHEAD_DEG = 60.0
"""Pitch from which a view counts as overhead."""
CLASSES = ("StableDiffusionPipeline", "IFPipeline")
WITHOUT = ("safety_checker", "feature_extractor", "watermarker", "image_encoder")
"""Components that a guide does not need."""
LONGEST = 77
"""Tokens of a prompt: what CLIP was trained with, and where DeepFloyd-IF cuts as well."""


def view_of(cameras: Cameras) -> Tensor:
    """Return which of `VIEWS` each camera has, B int64.

    Source: Poole et al. 2022, DreamFusion (arXiv:2209.14988), section 3.2.
    """
    from_front = torch.remainder(cameras.yaw + math.pi, 2 * math.pi) - math.pi
    side = torch.where(from_front.abs() > math.pi * 3 / 4, 2, 1)
    view = torch.where(from_front.abs() < math.pi / 4, 0, side)
    return torch.where(cameras.pitch > math.radians(OVERHEAD_DEG), 3, view)


def camera_matrices(cameras: Cameras) -> Tensor:
    """Return B x 16: camera to world at distance 1, z up, as MVDream was trained with.

    Source: Shi et al. 2023, MVDream (arXiv:2308.16512), section 3.2 (distances are normalized).
    """
    axes = cameras.axes
    upright = axes.new_tensor([[1, 0, 0], [0, 0, -1], [0, 1, 0]]) @ axes
    matrices = torch.eye(4, device=axes.device, dtype=axes.dtype).repeat(len(axes), 1, 1)
    matrices[:, :3, :3], matrices[:, :3, 3] = upright, upright[:, :, 2]
    return matrices.flatten(1)


class PipelineGuide:
    """A guide made of a loaded diffusers pipeline; see `mesh.guide.Guide`."""

    def __init__(self, pipeline: Any, *, identity: str) -> None:
        """Take a pipeline with `unet`, `scheduler`, `tokenizer`, `text_encoder`, perhaps `vae`."""
        self.identity = identity
        self._unet, self._vae = pipeline.unet, getattr(pipeline, "vae", None)
        self._tokenizer, self._text_encoder = pipeline.tokenizer, pipeline.text_encoder
        for module in (self._unet, self._vae, self._text_encoder):
            if module is not None:
                module.eval().requires_grad_(False)
        self._takes_camera = "camera" in inspect.signature(self._unet.forward).parameters
        self._velocity = pipeline.scheduler.config.prediction_type == "v_prediction"
        device = next(self._unet.parameters()).device
        self.alphas: Tensor = pipeline.scheduler.alphas_cumprod.to(device)
        factor = 1 if self._vae is None else 2 ** (len(self._vae.config.block_out_channels) - 1)
        self.size_px = int(self._unet.config.sample_size) * factor

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return n x (V L) x C: each prompt once a view, in the order of `VIEWS`.

        For a U-Net that takes a camera, V is 1. The empty prompt has no view.
        """
        views = ("",) if self._takes_camera else VIEWS
        said = [f"{p}, {view}" if p and view else p for p in prompts for view in views]
        tokens = self._tokenizer(
            said,
            padding="max_length",
            max_length=min(self._tokenizer.model_max_length, LONGEST),
            truncation=True,
            return_tensors="pt",
        ).to(self._unet.device)
        kind = self._text_encoder.config
        masked = kind.model_type == "t5" or getattr(kind, "use_attention_mask", False)
        mask = tokens.attention_mask if masked else None
        states: Tensor = self._text_encoder(tokens.input_ids, attention_mask=mask)[0]
        return states.reshape(len(prompts), -1, states.shape[-1])

    def latents(self, pictures: Tensor) -> Tensor:
        """Return the autoencoder's latents of B x 3 x S x S in [-1, 1], or these if there is none.

        Gradients reach the pictures. Of a distribution, the middle is taken.
        """
        if self._vae is None:
            return pictures
        made = self._vae.encode(pictures.to(self._vae.dtype))
        middle = made.latent_dist.mode() if hasattr(made, "latent_dist") else made.latents
        config = self._vae.config
        shift = getattr(config, "shift_factor", None) or 0.0
        scaled: Tensor = (middle.float() - shift) * config.scaling_factor
        return scaled

    @torch.no_grad()
    def noise(self, noisy: Tensor, step: Tensor, text: Tensor, cameras: Cameras) -> Tensor:
        """Return the noise seen in `noisy` at `step` (B, int64); each picture counts by itself."""
        half = self._unet.dtype
        if self._takes_camera:
            matrices = camera_matrices(cameras).to(half)
            answer = self._unet(noisy.to(half), step, text.to(half), num_frames=1, camera=matrices)
        else:
            by_view = text.view(len(text), len(VIEWS), -1, text.shape[-1])
            chosen = by_view[torch.arange(len(text), device=text.device), view_of(cameras)]
            answer = self._unet(noisy.to(half), step, chosen.to(half), return_dict=False)[0]
        # DeepFloyd-IF answers with variances after the noise.
        found: Tensor = answer.float()[:, : noisy.shape[1]]
        if not self._velocity:
            return found
        share = self.alphas[step][:, None, None, None]
        return share.sqrt() * found + (1 - share).sqrt() * noisy


def load_pipeline(where: str, device: torch.device | str = "cpu") -> PipelineGuide:
    """Return the guide of a diffusers folder or hub id; 16-bit weights on a GPU.

    A hub id is looked for in the cache before the network. Nothing but safetensors is read, and no
    code of the folder is run, so that MVDream, which brings its own classes, is handed to
    `PipelineGuide` by the caller. Raises BadInput for a folder that cannot be used, EdgekitError
    for a class that draws no pictures from text.
    """
    name, folder = found_folder(where)
    index = index_of(folder)
    if index["_class_name"] not in CLASSES:
        raise unknown_name("text-to-image pipeline class", str(index["_class_name"]), CLASSES)
    weights = weights_of(folder, index, WITHOUT)
    left_out: dict[str, Any] = {part: None for part in WITHOUT if part in index}
    if "safety_checker" in left_out:
        left_out["requires_safety_checker"] = False
    number = torch.float16 if torch.device(device).type == "cuda" else torch.float32
    with quiet():
        kind = getattr(import_module("diffusers"), index["_class_name"])
        try:
            pipeline = kind.from_pretrained(
                folder,
                torch_dtype=number,
                use_safetensors=True,
                local_files_only=True,
                variant=variant_of(weights),
                **left_out,
            )
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
            raise BadInput(
                f"{folder} cannot be loaded as {index['_class_name']}: {first_line(error)}",
                hint="compare it with a folder that pipeline.save_pretrained wrote",
            ) from error
        guide = pipeline.to(device)
    return PipelineGuide(guide, identity=f"{name}@{digest_of(folder, weights)[:12]}")
