"""Pictures that a guide draws, and sheets of them."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch import Tensor

from edgekit.core.store import write_bytes
from edgekit.distill.render.views import Cameras, cameras_at, ring
from edgekit.distill.teachers.views.guide import ViewsGuide
from edgekit.distill.teachers.views.networks import new_scheduler

STEPS = 25
GUIDANCE = 2.0


@torch.no_grad()
def drawn(
    guide: ViewsGuide,
    prompts: Sequence[str],
    cameras: Cameras,
    *,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    seed: int = 0,
) -> Tensor:
    """Draw one picture a prompt and camera, B x 3 x S x S in [0, 1].

    `guidance` 1 is the plain model; above it, the text is stressed at the cost of a second pass.
    """
    scheduler: DDIMScheduler = new_scheduler()
    scheduler.set_timesteps(steps, device=guide.device)
    generator = torch.Generator().manual_seed(seed)
    shape = (len(prompts), 3, guide.size_px, guide.size_px)
    noisy = torch.randn(shape, generator=generator).to(guide.device)
    text = guide.encode(prompts)
    empty = guide.encode([""]).expand_as(text)
    for time in scheduler.timesteps:
        step = time.expand(len(prompts))
        clean = guide.networks.clean(noisy, step, text, cameras)
        if guidance != 1:
            plain = guide.networks.clean(noisy, step, empty, cameras)
            clean = plain + guidance * (clean - plain)
        noisy = scheduler.step(clean, time, noisy, return_dict=False)[0]
    return ((noisy + 1) / 2).clamp(0, 1)


def sheet(rows: Tensor) -> Image.Image:
    """Return R x C pictures (R x C x 3 x S x S in [0, 1]) side by side, a row a thing."""
    high, wide, _, size, _ = rows.shape
    pixels = rows.permute(0, 3, 1, 4, 2).reshape(high * size, wide * size, 3)
    return Image.fromarray(np.asarray((pixels * 255).round().byte().cpu()))


def write_sheet(
    guide: ViewsGuide,
    prompts: Sequence[str],
    path: Path,
    *,
    views: int = 4,
    guidance: float = GUIDANCE,
    seed: int = 0,
) -> None:
    """Draw each prompt from `views` sides, the front first, and write a picture of all.

    Raises OutputError if `path` cannot be written.
    """
    around = ring(views, guide.device)
    cameras = cameras_at(around.yaw.repeat(len(prompts)), around.pitch.repeat(len(prompts)))
    said = [prompt for prompt in prompts for _ in range(views)]
    pictures = drawn(guide, said, cameras, guidance=guidance, seed=seed)
    write_bytes(path, _png(sheet(pictures.view(len(prompts), views, *pictures.shape[1:]))))


def _png(picture: Image.Image) -> bytes:
    stream = BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
