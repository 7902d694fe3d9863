"""How fast the generator learns from a guide without faults: what its settings are good for.

    python benchmarks/mesh/oracle.py --out benchmarks/results/mesh/oracle.jsonl \
        lr=0.001 lr=0.003 lr=0.003,guidance=3

Each setting is one training of the full network by an ideal diffusion model of four toys, in small
pictures of stage one, on a processor; a line each. The guide knows 160 views of every toy and says
noise alone. A mesh is scored by six views of 48 pixels: how much of two outlines is common, and the
squared error of colors over grey. A teacher that has to be trained is slower to learn from.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any, cast

import torch
from torch import Tensor

from edgekit.benchmarks.host import host_facts, load_average
from edgekit.distill.mesh.fit import fit_mesh
from edgekit.distill.mesh.generator import fresh_generator
from edgekit.distill.mesh.recipe import MeshRecipe, mesh_recipe
from edgekit.distill.mesh.stages import meshes
from edgekit.distill.mesh.student import Prompts
from edgekit.distill.mesh.words import tokens, vocabulary
from edgekit.distill.render.views import Cameras, random_cameras, ring
from edgekit.distill.teachers.views.networks import new_scheduler
from edgekit.distill.teachers.views.renders import cutouts
from edgekit.distill.teachers.views.world import prompts, world_mesh

SIZE_PX, VIEWS, JUDGED_PX, GREY = 20, 160, 48, 0.5
SMALL = {"profile": "gpu", "seconds": 0.0, "batch": 4, "volume_px": 20, "coarse": 12, "fine": 10,
         "mesh_px": 40, "stage_one": 1.0, "guidance": 1.0}  # fmt: skip
COARSE_ORDER = 12
"""Cells of the lattice of regularity: 24 would take half of the time."""


class Ideal:
    """All that a diffusion model could know of some toys, from `VIEWS` cameras, over one color."""

    size_px = SIZE_PX

    def __init__(self, names: Sequence[str]) -> None:
        """Render every toy from every camera."""
        self.names = list(names)
        self.cameras = random_cameras(VIEWS, torch.Generator().manual_seed(5))
        views = [cutouts(world_mesh(name), self.cameras, SIZE_PX) for name in names]
        self.views = torch.stack(views)
        self.alphas: Tensor = new_scheduler().alphas_cumprod

    def random_cameras(
        self, count: int, dice: torch.Generator, device: torch.device | str = "cpu"
    ) -> Cameras:
        """Return some of the cameras, in place of those that training draws from all around."""
        return self.cameras[torch.randint(VIEWS, (count,), generator=dice)].to(device)

    def encode(self, said: Sequence[str]) -> Tensor:
        """Return the number of each prompt, and the number after the last one for none."""
        known = [*self.names, ""]
        return torch.tensor([[[float(known.index(prompt))]] for prompt in said])

    def latents(self, pictures: Tensor) -> Tensor:
        """Return the pictures themselves."""
        return pictures

    def noise(self, noisy: Tensor, step: Tensor, text: Tensor, cameras: Cameras) -> Tensor:
        """Return what is left of `noisy` when the expected picture is taken away."""
        share = self.alphas[step].view(-1, 1, 1, 1)
        asked = text[:, 0, 0].long()
        near = (cameras.yaw[:, None] - self.cameras.yaw).abs().argmin(1)
        every = torch.stack([self._expected(noisy, share, views[near]) for views in self.views], 1)
        distance = (noisy[:, None] - share[:, None].sqrt() * every).square().sum((2, 3, 4))
        likely = torch.softmax(-distance / (2 * (1 - share.view(-1, 1))), 1)
        known = torch.eye(len(self.names))[asked.clamp(max=len(self.names) - 1)]
        weights = torch.where((asked < len(self.names))[:, None], known, likely)
        expected = (weights[:, :, None, None, None] * every).sum(1)
        return (noisy - share.sqrt() * expected) / (1 - share).sqrt()

    def _expected(self, noisy: Tensor, share: Tensor, views: Tensor) -> Tensor:
        """Return the toy over the background that the uncovered pixels have on average."""
        color, cover = views[:, :3], views[:, 3:]
        bare = (1 - cover).square()
        seen = (noisy / share.sqrt() - (2 * color - cover)) * (1 - cover)
        background = seen.sum((2, 3), keepdim=True) / bare.sum((2, 3), keepdim=True)
        expected: Tensor = 2 * color - cover + (1 - cover) * background
        return expected


@torch.no_grad()
def scored(network: Any, recipe: MeshRecipe, asked: Sequence[str], words: Any) -> dict[str, Any]:
    """Return how like its toy the mesh of each prompt is, and whether no other toy is more so."""
    cameras, look = (
        ring(6, pitch_deg=20),
        meshes(replace(recipe, mesh_px=JUDGED_PX), lattice=COARSE_ORDER),
    )
    true = [cutouts(world_mesh(name), cameras, JUDGED_PX) for name in asked]
    common, errors, right = [], [], []
    for place, name in enumerate(asked):
        code = network.codes(tokens([name], words, network.shape.length)).expand(6, -1, -1, -1)
        black, white = (
            look(network, code, cameras, torch.full((6, 3), level)).pictures for level in (0.0, 1.0)
        )
        cover = 1 - (white - black).mean(1)
        made = black + (1 - cover)[:, None] * GREY
        off = [float((made - t[:, :3] - (1 - t[:, 3:]) * GREY).square().mean()) for t in true]
        outline = true[place][:, 3]
        shared = torch.minimum(cover, outline).sum() / torch.maximum(cover, outline).sum()
        common.append(round(float(shared), 3))
        errors.append(round(off[place], 4))
        right.append(off.index(min(off)) == place)
    return {"common": common, "error": errors, "mean_common": round(mean(common), 3),
            "mean_error": round(mean(errors), 4), "nearest": sum(right)}  # fmt: skip


def main() -> None:
    """Train once a setting and append a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="+", help="fields of MeshRecipe: lr=0.003,guidance=3")
    parser.add_argument("--steps", type=int, default=280)
    parser.add_argument("--toys", type=int, default=4)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    every = prompts()
    asked = [every[8 * row + (row + 3) % 8] for row in range(given.toys)]
    words, guide = vocabulary(every), Ideal(asked)
    for text in given.settings:
        changes = {key: float(value) for key, value in (p.split("=") for p in text.split(","))}
        recipe = mesh_recipe(**{**SMALL, "steps": given.steps, **cast(Any, changes)})
        network = fresh_generator(recipe.shape, len(words), seed=recipe.seed)
        begun = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            known = Prompts(train=tuple(asked), words=words)
            fit_mesh(recipe, guide, known, Path(folder), network=network, every_s=(1e9, 60.0),
                     cameras=guide.random_cameras, lattice=COARSE_ORDER)  # fmt: skip
        row = {"set": changes, "steps": given.steps, "prompts": asked,
               "cpu_s": round(time.process_time() - begun, 1),
               **scored(network, recipe, asked, words),
               "host": host_facts(), "load": load_average()}  # fmt: skip
        with given.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(text, {name: row[name] for name in ("mean_common", "mean_error", "nearest", "cpu_s")})


if __name__ == "__main__":
    main()
