"""What the generator makes of some prompts while it learns: turntables as a sheet and as a film."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from edgekit.core.images import to_bytes
from edgekit.core.store import write_bytes
from edgekit.core.tensors import Batch
from edgekit.distill.mesh.generator import MeshNetwork
from edgekit.distill.mesh.stages import Renderer
from edgekit.distill.mesh.student import Prompts
from edgekit.distill.mesh.words import tokens
from edgekit.distill.preview import write_preview
from edgekit.distill.render.views import ring

SHEET, FILM = "preview.png", "preview.gif"
VIEWS = 8
SEEN, UNSEEN = 5, 3
"""Prompts of a preview, at most, that are trained on and that are not."""
FRAME_MS = 200
GREY = 0.85


def preview_prompts(prompts: Prompts) -> list[str]:
    """Return prompts spread over those trained on, then over the unseen ones."""
    chosen = []
    for some, most in ((prompts.train, SEEN), (prompts.unseen, UNSEEN)):
        if some:
            picks = np.linspace(0, len(some) - 1, min(most, len(some))).round().astype(int)
            chosen += [some[i] for i in picks]
    return chosen


def write_previews(
    folder: Path,
    network: MeshNetwork,
    prompts: Prompts,
    look: Renderer,
    device: torch.device,
) -> None:
    """Write ``preview.png`` (a row a prompt, eight views) and ``preview.gif`` (all turning)."""
    shown = preview_prompts(prompts)
    pictures = turned(network, shown, prompts.words, look, device)
    write_preview(folder / SHEET, [pictures[:, view] for view in range(VIEWS)])
    frames = [Image.fromarray(np.concatenate(list(pictures[:, view]), 1)) for view in range(VIEWS)]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0
    )
    write_bytes(folder / FILM, buffer.getvalue())


@torch.no_grad()
def turned(
    network: MeshNetwork,
    shown: list[str],
    words: tuple[str, ...],
    look: Renderer,
    device: torch.device,
) -> Batch:
    """Return prompts x views x S x S x 3, uint8: each prompt from `VIEWS` sides, front first."""
    rows = []
    cameras = ring(VIEWS, device)
    background = torch.full((1, 3), GREY, device=device)
    for row in tokens(shown, words, network.shape.length).to(device):
        code = network.codes(row[None])
        views = [
            look(network, code, cameras[view : view + 1], background).pictures
            for view in range(VIEWS)
        ]
        rows.append(torch.cat(views).permute(0, 2, 3, 1))
    return to_bytes(torch.stack(rows).cpu().numpy(), low=0.0, high=1.0)
