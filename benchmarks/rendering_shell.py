"""How well the mesh fits a ball that was learned through space, by the shell of its density.

    python benchmarks/rendering_shell.py --out benchmarks/results/rendering/shell.json

Volume rendering shows a soft shell around a surface. What is wrong about its size becomes wrong in
the field that is fitted to pictures, and is found in the mesh that is cut from that field. Targets
are pictures of the ball's own mesh; the field is free planes under a small head.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgekit.benchmarks.host import cpu_model, load_average
from edgekit.core.store import write_bytes
from edgekit.distill.mesh.baselines import fresh_planes
from edgekit.distill.mesh.generator import lattice_points
from edgekit.distill.mesh.regularity import regularity
from edgekit.distill.mesh.shape import TOY
from edgekit.distill.render.marching import marched
from edgekit.distill.render.mesh_views import mesh_views
from edgekit.distill.render.views import Cameras, random_backgrounds, random_cameras
from edgekit.distill.render.volume import BETA, OUTLINE, eikonal_loss, volume_views

CELLS, SIZE_PX, BATCH = 24, 16, 4
CENTRE, RADIUS, COLOR = (0.15, -0.1, 0.0), 0.65, (0.8, 0.2, 0.1)
ARMS = {
    "from the surface": (1.0, 1.0, 0.0),
    "a third as wide": (0.3, 0.3, 0.0),
    "narrowing to a third": (1.0, 0.3, 0.0),
    "from inside": (1.0, 1.0, OUTLINE),
    "from inside, narrowing to a third": (1.0, 0.3, OUTLINE),
}
"""First and last width in units of `BETA`, and where the density begins in widths."""


def fitted(seed: int, first: float, last: float, outline: float, steps: int) -> dict[str, Any]:
    """Fit a field to pictures of the ball; compare the ball with what the lattice has inside."""
    points = lattice_points(CELLS)
    ball = (points - torch.tensor(CENTRE)).norm(dim=1) - RADIUS
    solid, color = marched(ball[None], CELLS), torch.tensor(COLOR)
    nothing = torch.zeros(BATCH, 1, dtype=torch.int64)

    def pictures(cameras: Cameras, grounds: Tensor) -> Tensor:
        views = mesh_views(
            solid, cameras, SIZE_PX, grounds, paint=color.expand_as, which=nothing[:, 0]
        )
        return views.picture

    network = fresh_planes(TOY, seed=seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(seed)
    begun = time.process_time()
    error = torch.zeros(())
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - 0.9 * step / steps)
        cameras = random_cameras(BATCH, generator)
        grounds = random_backgrounds(BATCH, generator)
        codes = network.codes(nothing)

        def field(places: Tensor, codes: Tensor = codes) -> tuple[Tensor, Tensor]:
            found = network.field(codes, places)
            return found.sdf, found.colors

        views = volume_views(
            field,
            cameras,
            SIZE_PX,
            grounds,
            distance=partial(network.distance, codes),
            coarse=24,
            fine=16,
            beta=BETA * first * (last / first) ** (step / steps),
            outline=outline,
        )
        error = (views.picture - pictures(cameras, grounds)).abs().mean()
        shape = regularity(network.on_lattice(codes[:1], CELLS).sdf, CELLS)
        loss = error + 0.1 * (shape.eikonal + eikonal_loss(views.slopes)) + 10 * shape.empty
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        found = network.on_lattice(network.codes(nothing[:1]), CELLS).sdf[0] < 0
    wanted = ball < 0
    return {
        "seed": seed,
        "overlap": round(float((found & wanted).sum() / (found | wanted).sum()), 4),
        "radius": round(float(found.sum() / wanted.sum()) ** (1 / 3) * RADIUS, 4),
        "picture_l1": round(float(error.detach()), 5),
        "cpu_s": round(time.process_time() - begun, 1),
    }


def main() -> None:
    """Fit by each shell and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for name, (first, last, outline) in ARMS.items():
        for seed in given.seeds:
            found = fitted(seed, first, last, outline, given.steps)
            lines.append({"shell": name, "first": first, "last": last, "outline": outline} | found)
            print(json.dumps(lines[-1]), flush=True)
    result = {
        "machine": cpu_model(),
        "torch": torch.__version__,
        "load_average": load_average(),
        "ball": {"centre": CENTRE, "radius": RADIUS},
        "size_px": SIZE_PX,
        "steps": given.steps,
        "shape": asdict(TOY),
        "fits": lines,
    }
    write_bytes(given.out, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
