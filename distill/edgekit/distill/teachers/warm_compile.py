"""Fill the compiler's disk cache with the U-Net's training step, beside stage 1.

`python -m edgekit.distill.teachers.warm_compile BATCH SIDE` compiles the step for both latent
sizes and exits; stage 2 then finds its kernels ready.
"""

import sys

import torch

from edgekit.distill.teachers.fit_editor import EditorSettings, compiled_velocity, velocity_loss
from edgekit.distill.teachers.networks import (
    LATENT_CHANNELS,
    MAX_TOKENS,
    Size,
    channels_last,
    new_scheduler,
    new_text_encoder,
    new_unet,
)


def main(batch: int, side: int) -> None:
    """One training step at each of the two sizes, on noise."""
    device = torch.device("cuda")
    size, settings = Size(), EditorSettings(batch=batch)
    unet = channels_last(new_unet(size).to(device)).train()
    text = new_text_encoder(size, size.vocabulary).to(device).train()
    velocity = compiled_velocity(unet, enabled=True)
    ids = torch.zeros(batch, MAX_TOKENS, dtype=torch.long, device=device)
    alphas = new_scheduler().alphas_cumprod.to(device)
    generator = torch.Generator(device).manual_seed(0)
    for cells in (side // 8, side // 16):
        latents = torch.zeros(batch, LATENT_CHANNELS, cells, cells, device=device)
        velocity_loss(
            velocity, text, ids, ids[0], latents, latents, alphas, settings, generator
        ).backward()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
