"""Sampling of the bundled teacher without the pipeline's overhead, for measuring it in batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from edgekit.distill.teachers.networks import new_scheduler, token_ids


@dataclass(frozen=True, slots=True)
class Editor:
    """The networks of a teacher, on one device."""

    autoencoder: AutoencoderTiny
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer


@torch.no_grad()
def sampled_edits(
    editor: Editor,
    images: Tensor,
    prompts: Sequence[str],
    *,
    steps: int,
    guidance: float,
    seed: int,
) -> Tensor:
    """Edits of `images`, float (n, 3, h, w) in [0, 1], one prompt each, in [0, 1].

    `guidance` above 1 costs a second pass a step for the empty prompt. With image guidance 1 this
    is what StableDiffusionInstructPix2PixPipeline computes in three passes.
    """
    device = images.device
    scheduler = new_scheduler()
    scheduler.set_timesteps(steps, device=device)
    generator = torch.Generator("cpu").manual_seed(seed)
    empty = token_ids(editor.tokenizer, [""]).to(device)
    ids = token_ids(editor.tokenizer, prompts).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=images.is_cuda):
        source = editor.autoencoder.encoder(images * 2 - 1).float()
        states = editor.text_encoder(ids).last_hidden_state
        blank = editor.text_encoder(empty).last_hidden_state.expand_as(states)
        latents = torch.randn(source.shape, generator=generator).to(device)
        for time in scheduler.timesteps:
            both = torch.cat((latents, source), 1)
            guess = editor.unet(both, time, states, return_dict=False)[0].float()
            if guidance > 1:
                plain = editor.unet(both, time, blank, return_dict=False)[0].float()
                guess = plain + guidance * (guess - plain)
            latents = scheduler.step(guess, time, latents, return_dict=False)[0]
        made: Tensor = editor.autoencoder.decoder(latents).float()
    return ((made + 1) / 2).clamp(0, 1)
