"""What both ways of rendering can teach a field when its pictures are known.

    python benchmarks/rendering_fit.py --out benchmarks/results/rendering/fit.json --sheet FILE.png

Free planes under the generator's head start as a sphere and are fitted to pictures of a thing of
the world of toys: by volumes (stage one), then by the mesh itself (stage two), or by stage two
alone. No guide is in the way, so what is missing at the end is missing in the rendering, the field
or the lattice. Every score is of the *mesh*, cut from the field on the lattice that ships, in views
that were not trained on, against the thing's own pictures.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from edgekit.benchmarks.host import cpu_model, load_average
from edgekit.core.store import write_bytes
from edgekit.distill.mesh.baselines import FreePlanes, fresh_planes
from edgekit.distill.mesh.generator import lattice_points
from edgekit.distill.mesh.regularity import regularity
from edgekit.distill.mesh.shape import MeshShape
from edgekit.distill.render.marching import cut_of, meshes_of
from edgekit.distill.render.mesh_views import mesh_views
from edgekit.distill.render.views import Cameras, over, random_backgrounds, random_cameras, ring
from edgekit.distill.render.volume import BETA, eikonal_loss, volume_views
from edgekit.distill.teachers.views.renders import cutouts
from edgekit.distill.teachers.views.world import world_mesh

PROMPTS = ("a red striped cone with a hat",)
ARMS = ("both", "stage two only")
VIEWS = 64
"""Pictures that a field is fitted to."""
HELD_OUT = 8
VOLUME_PX, MESH_PX, BATCH = 24, 48, 4
SAMPLES = 16
"""Samples of a ray in each of two rounds."""
LATTICE = 24
"""Cells a side on which the field is kept in order."""
FINE_PX = 96
"""Side of the pictures that scores are of."""
GREY = 0.5


class Target:
    """A thing of the world in many views, known and held out."""

    def __init__(self, prompt: str, device: torch.device) -> None:
        """Render it at the sizes of both stages."""
        mesh = world_mesh(prompt, 0)
        generator = torch.Generator().manual_seed(1)
        self.cameras = random_cameras(VIEWS, generator, device)
        self.known = {size: cutouts(mesh, self.cameras, size) for size in (VOLUME_PX, MESH_PX)}
        self.others = random_cameras(HELD_OUT, generator, device)
        self.unseen = cutouts(mesh, self.others, FINE_PX)
        self.shown = cutouts(mesh, ring(4, device), FINE_PX)


def laid(cutout: Tensor, backgrounds: Tensor) -> Tensor:
    """Return B x S x S x 3 of cutouts B x 4 x S x S over one colour a picture."""
    pixels = cutout.permute(0, 2, 3, 1)
    return over(pixels[..., :3], pixels[..., 3:], backgrounds)


def through_space(
    network: FreePlanes, cameras: Cameras, grounds: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """Return pictures of stage one, B x S x S x 3, and how far slopes are from one."""
    codes = network.codes(torch.zeros(1, 1)).expand(len(cameras), -1, -1, -1)
    views = volume_views(
        lambda points: network.field(codes, points)[::2],
        cameras,
        VOLUME_PX,
        grounds,
        distance=lambda points: network.distance(codes, points),
        coarse=SAMPLES,
        fine=SAMPLES,
        beta=beta,
    )
    return views.picture, eikonal_loss(views.slopes)


def as_mesh(network: FreePlanes, cameras: Cameras, grounds: Tensor, size_px: int) -> Tensor:
    """Return pictures of the mesh, B x S x S x 3."""
    codes, cells = network.codes(torch.zeros(1, 1)), network.shape.cells
    with torch.no_grad():
        cut = cut_of(network.on_lattice(codes, cells).sdf, cells)
    field = network.field(codes, lattice_points(cells, codes.device)[cut.corners.numbers])
    made = meshes_of(cut, field.sdf, field.deformation, deform=network.shape.deform)
    return mesh_views(
        made,
        cameras,
        size_px,
        grounds,
        paint=lambda points: network.field(codes, points).colors,
        which=torch.zeros(len(cameras), dtype=torch.int64, device=codes.device),
    ).picture


@torch.no_grad()
def psnr_db(network: FreePlanes, target: Target) -> float:
    """Return how near the mesh comes to the thing in views it was not fitted to."""
    grounds = torch.full((HELD_OUT, 3), GREY, device=target.others.yaw.device)
    made = as_mesh(network, target.others, grounds, FINE_PX)
    error = (made - laid(target.unseen, grounds)).square().mean()
    return round(float(-10 * error.log10()), 2)


def fitted(network: FreePlanes, target: Target, stage: int, steps: int, lr: float) -> float:
    """Fit for `steps` of a stage and return the processor's seconds."""
    optimizer = torch.optim.Adam(network.parameters(), lr)
    generator = torch.Generator().manual_seed(stage)
    known = target.known[VOLUME_PX if stage == 1 else MESH_PX]
    begun = time.process_time()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - 0.9 * step / steps)
        rows = torch.randint(VIEWS, (BATCH,), generator=generator).to(known.device)
        cameras = target.cameras[rows]
        grounds = random_backgrounds(BATCH, generator, known.device)
        shape = regularity(
            network.on_lattice(network.codes(torch.zeros(1, 1)), LATTICE).sdf, LATTICE
        )
        loss = 0.05 * shape.eikonal + 10 * shape.empty + 0.002 * shape.bend
        if stage == 1:
            beta = BETA * 0.3 ** (step / steps)
            picture, slopes = through_space(network, cameras, grounds, beta)
            loss = loss + 0.05 * slopes
        else:
            picture = as_mesh(network, cameras, grounds, MESH_PX)
        error = (picture - laid(known[rows], grounds)).abs().mean()
        optimizer.zero_grad()
        (error + loss).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 25 == 24:
            print(f"stage {stage}, step {step + 1}: {float(error.detach()):.4f}", flush=True)
    return round(time.process_time() - begun, 1)


def row(pictures: Tensor) -> np.ndarray:
    """Return pictures side by side as bytes."""
    wide = torch.cat(list(pictures.detach().clamp(0, 1)), 1)
    return (wide * 255 + 0.5).byte().cpu().numpy()


def main() -> None:
    """Fit, score, draw and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prompt", nargs="+", default=PROMPTS)
    parser.add_argument("--steps", type=int, nargs=2, default=(200, 120), help="of each stage")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["both"])
    parser.add_argument("--lr", type=float, default=2e-2)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, help="where to draw four views of each state")
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    grey = torch.full((4, 3), GREY, device=device)
    lines: list[dict[str, Any]] = []
    sheet = []
    for prompt in given.prompt:
        target = Target(prompt, device)
        sheet.append(row(laid(target.shown, grey)))
        for arm in given.arms:
            counts = given.steps if arm == "both" else (0, sum(given.steps))
            network = fresh_planes(MeshShape(), seed=0).to(device)
            line: dict[str, Any] = {"prompt": prompt, "arm": arm, "steps": list(counts)}
            line["start_db"] = psnr_db(network, target)
            for stage, count in enumerate(counts, 1):
                if not count:
                    continue
                spent = fitted(network, target, stage, count, given.lr / stage)
                line[f"stage_{stage}_cpu_s"] = spent
                line[f"stage_{stage}_db"] = psnr_db(network, target)
                sheet.append(row(as_mesh(network, ring(4, device), grey, FINE_PX)))
            print(json.dumps(line), flush=True)
            lines.append(line)
    result = {
        "device": given.device,
        "machine": cpu_model() if device.type == "cpu" else torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        "load_average": load_average(),
        "pictures": {
            "volume_px": VOLUME_PX,
            "mesh_px": MESH_PX,
            "batch": BATCH,
            "samples": SAMPLES,
        },
        "shape": asdict(MeshShape()),
        "fits": lines,
    }
    write_bytes(given.out, (json.dumps(result, indent=1) + "\n").encode())
    if given.sheet:
        Image.fromarray(np.concatenate(sheet)).save(given.sheet)


if __name__ == "__main__":
    main()
