"""The views teacher: a text encoder and a U-Net of pixels that is told where the camera stands.

Both are stock classes of transformers and diffusers.

Shape key, used as name suffixes in this file:
    B pictures   F features of a camera
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from edgekit.core.errors import BadInput
from edgekit.core.store import MANIFEST, finish_folder, read_manifest
from edgekit.distill.render.views import Cameras
from edgekit.distill.teachers import networks

KIND = "views-teacher"
YAW_WAVES, PITCH_WAVES = 6, 2
CAMERA_FEATURES = 2 * (YAW_WAVES + PITCH_WAVES)
LOUDNESS = 2.5
"""Size of the features. After 260 steps of a toy, this and six waves in place of three at size 1
had made a wrong camera cost at least 1.6 times as much error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSize:
    """Widths of both networks; the default has 14 M weights and is meant for 64 pixels."""

    size_px: int = 64
    unet: tuple[int, ...] = (80, 128, 192)
    """Channels of each level; all but the first attend to the text."""
    patch: int = 2
    """Pixels a side that the U-Net sees as one, with that many more channels."""
    layers: int = 1
    time: int = 256
    text: int = 192
    text_layers: int = 3
    heads: int = 8
    groups: int = 16
    vocabulary: int = 2048

    def __post_init__(self) -> None:
        """Refuse what no U-Net can halve."""
        if self.size_px % (self.patch * 2 ** (len(self.unet) - 1)):
            raise ValueError(
                f"{self.size_px} pixels in patches of {self.patch} cannot be halved "
                f"{len(self.unet) - 1} times"
            )


TOY = ViewSize(
    size_px=24,
    unet=(64, 96),
    patch=4,
    layers=1,
    time=128,
    text=64,
    text_layers=1,
    heads=4,
    groups=8,
    vocabulary=640,
)
"""Learns a few toys, coarsely, in some tens of minutes on one core."""
TINY = ViewSize(
    size_px=16, unet=(8, 16), patch=1, layers=1, time=16, text=16, text_layers=1, heads=2, groups=4,
    vocabulary=600,
)  # fmt: skip
"""Learns nothing in no time: for tests."""


def camera_features(cameras: Cameras) -> Tensor:
    """Return B x F: sines and cosines of multiples of yaw and pitch.

    Distance and field are left out: all pictures are taken with the usual ones.
    """
    turns = [number * cameras.yaw for number in range(1, YAW_WAVES + 1)]
    # Pitches span a radian: stretch them over the circle.
    heights = [1.5 * number * cameras.pitch for number in range(1, PITCH_WAVES + 1)]
    angles = torch.stack([*turns, *heights], 1)
    return LOUDNESS * torch.cat([angles.sin(), angles.cos()], 1)


def new_unet(size: ViewSize) -> UNet2DConditionModel:
    """An untrained U-Net: noisy picture in, clean picture out.

    The camera enters as a class embedding, added to that of the time; the text by attention, and
    pooled, added to the time as well.
    """
    levels = len(size.unet)
    return UNet2DConditionModel(
        sample_size=size.size_px // size.patch,
        in_channels=3 * size.patch**2,
        out_channels=3 * size.patch**2,
        layers_per_block=size.layers,
        block_out_channels=size.unet,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (levels - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (levels - 1) + ("UpBlock2D",),
        cross_attention_dim=size.text,
        attention_head_dim=size.heads,
        time_embedding_dim=size.time,
        norm_num_groups=size.groups,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="projection",
        projection_class_embeddings_input_dim=CAMERA_FEATURES,
        addition_embed_type="text",
        addition_embed_type_num_heads=size.heads,
    )


def new_text_encoder(size: ViewSize, tokens: int) -> CLIPTextModel:
    """An untrained CLIP-type text encoder."""
    return networks.new_text_encoder(
        networks.Size(text=size.text, text_layers=size.text_layers, heads=size.heads), tokens
    )


def new_scheduler() -> DDIMScheduler:
    """A cosine schedule, because pixels of this size drown late in a linear one.

    The networks predict the clean picture: noise in patches has more dimensions than they have
    channels to pass it through, and a picture has few.

    Source: Nichol and Dhariwal 2021 (arXiv:2102.09672), section 3.2; Li and He 2025, "Back to
    Basics: Let Denoising Generative Models Denoise" (arXiv:2511.13720).
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        timestep_spacing="trailing",
        clip_sample=True,
        set_alpha_to_one=True,
    )


def clean_pictures(
    unet: Callable[..., Any], noisy: Tensor, step: Tensor, text: Tensor, cameras: Cameras
) -> Tensor:
    """Return what `unet` (or a compiled one) takes B x 3 x S x S for without noise, as float32."""
    patch = math.isqrt(unet.config.in_channels // 3)  # type: ignore[attr-defined]
    cells = F.pixel_unshuffle(noisy, patch) if patch > 1 else noisy
    cells = cells.contiguous(memory_format=torch.channels_last)
    where = camera_features(cameras).to(cells.dtype)
    guess = unet(cells, step, text, class_labels=where, return_dict=False)[0]
    guess = guess.float()
    return F.pixel_shuffle(guess, patch) if patch > 1 else guess


class Rounded:
    """A U-Net that computes in bfloat16 throughout, with gradients for its weights in float32.

    Autocast keeps norms, and with them most of what a U-Net of pixels reads and writes, in float32:
    by count of bytes nearly three times as much.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        """Round anew at every call: weights change from step to step."""
        self.unet, self.config = unet, unet.config

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Return what the U-Net does."""
        rounded = {name: value.bfloat16() for name, value in self.unet.named_parameters()}
        return functional_call(self.unet, rounded, given, named)


@dataclass(frozen=True, slots=True)
class Networks:
    """What a views teacher consists of, on one device."""

    size: ViewSize
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer

    def clean(self, noisy: Tensor, step: Tensor, text: Tensor, cameras: Cameras) -> Tensor:
        """Return the pictures that are seen in `noisy` ones, as float32."""
        with torch.autocast(noisy.device.type, torch.bfloat16, enabled=noisy.is_cuda):
            return clean_pictures(self.unet, noisy, step, text, cameras)


def fresh_networks(size: ViewSize, prompts: list[str], folder: Path, seed: int) -> Networks:
    """Return untrained networks; the tokenizer learns the spelling of `prompts` in `folder`."""
    tokenizer = networks.new_tokenizer(
        prompts, networks.Size(vocabulary=size.vocabulary), folder / "tokenizer"
    )
    with torch.random.fork_rng(devices=[]):  # the constructors know no generator
        torch.manual_seed(seed)
        unet, text_encoder = new_unet(size), new_text_encoder(size, len(tokenizer))
    return Networks(size, unet, text_encoder, tokenizer)


def write_networks(made: Networks, folder: Path, recipe_sha256: str, facts: dict[str, Any]) -> None:
    """Write a folder that `read_networks` reads; float16 safetensors, the manifest last."""
    networks.half_copy(made.unet).save_pretrained(folder / "unet")
    networks.half_copy(made.text_encoder).save_pretrained(folder / "text_encoder")
    new_scheduler().save_pretrained(folder / "scheduler")
    made.tokenizer.save_pretrained(folder / "tokenizer")
    finish_folder(
        folder,
        kind=KIND,
        recipe_sha256=recipe_sha256,
        facts={**facts, "size": asdict(made.size)},
    )


def read_networks(folder: Path, device: torch.device) -> Networks:
    """Load a views teacher for use, without gradients.

    Raises BadInput if the folder is missing, unfinished or damaged.
    """
    size = read_manifest(folder, kind=KIND)["size"]
    try:
        unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
        text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"{folder / MANIFEST} names a teacher that cannot be read: {error}",
            hint="train it again, or copy the folder anew",
        ) from error
    known = ViewSize(**{**size, "unet": tuple(size["unet"])})
    for module in (unet, text):
        module.to(device).eval().requires_grad_(False)
    return Networks(known, unet, text, tokenizer)
