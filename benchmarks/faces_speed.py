"""How fast batches of faces and rasterized pictures come, and what degradations leave.

    python benchmarks/faces_speed.py --faces FACES --device cpu --out FILE.json

Times are those of the processor on a CPU, which other work on the machine disturbs less, and of the
wall on a GPU. FACES was written by `edgekit pairs faces`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgekit.benchmarks.host import cpu_model, load_average
from edgekit.core.store import write_bytes
from edgekit.distill.faces.degrade import SEVERITIES, damaged, drawn_damage
from edgekit.distill.faces.sets import Faces, FaceSampler, load_faces
from edgekit.distill.render.camera import projected, rotation
from edgekit.distill.render.rasterize import antialias, interpolate, neighbors_of, rasterize


def milliseconds(work: Callable[[], object], device: torch.device, calls: int = 5) -> float:
    """Return the median time of a call, after two that warm up."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    taken = []
    for call in range(calls + 2):
        begun = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if call >= 2:
            taken.append((clock() - begun) * 1e3)
    return statistics.median(taken)


def batches(faces: Faces, count: int, device: torch.device) -> dict[str, Any]:
    """Return targets a second, with up to four references each, and what degradation costs."""
    sampler = FaceSampler(faces, references=(1, 4))
    steps = iter(range(10**6))
    whole = milliseconds(lambda: sampler.at(next(steps), count, seed=0), device)
    images = torch.rand(count, 3, faces.size_px, faces.size_px, device=device)
    rng = torch.Generator().manual_seed(0)
    damages = [drawn_damage(count, faces.size_px, "mixed", rng) for _ in range(7)]
    turn = iter(damages * 9)
    alone = milliseconds(lambda: damaged(images, next(turn)), device)
    return {
        "size_px": faces.size_px,
        "batch": count,
        "targets_a_second": round(count / whole * 1e3, 1),
        "degrade_ms_an_image": round(alone / count, 2),
        "references": [1, 4],
    }


def severities(faces: Faces) -> dict[str, Any]:
    """Return what each severity leaves: mean dB against the undegraded pictures."""
    left = {}
    rows = torch.arange(min(96, len(faces.images)))
    images = faces.images[rows].float() / 255
    for name in SEVERITIES:
        damage = drawn_damage(len(rows), faces.size_px, name, torch.Generator().manual_seed(1))
        error = (damaged(images, damage) - images).square().mean((1, 2, 3))
        left[name] = round(float((-10 * error.log10()).mean()), 1)
    return {"size_px": faces.size_px, "pictures": len(rows), "psnr_db": left}


def sphere(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Return places and triangles of a ball."""
    down = torch.linspace(0.02, math.pi - 0.02, rows)[:, None]
    turn = torch.linspace(0, 2 * math.pi, columns)[None]
    flat = down.sin()
    places = torch.stack(
        [flat * turn.sin(), down.cos().expand(-1, columns), flat * turn.cos()], -1
    ).view(-1, 3)
    corner = torch.arange(rows - 1)[:, None] * columns + torch.arange(columns - 1)
    a = corner.flatten()
    b, c, d = a + columns, a + columns + 1, a + 1
    return places, torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])


def pictures(size_px: int, device: torch.device) -> dict[str, Any]:
    """Return milliseconds a picture of each step, for a ball of 20,000 triangles."""
    places, triangles = (part.to(device) for part in sphere(101, 101))
    count = 4
    angle = torch.linspace(0, 1, count, device=device)
    turned = places[None] @ rotation(angle, angle, angle).transpose(1, 2)
    far = torch.full((count,), 4.0, device=device)
    vertices = projected(turned, far, far * 9).requires_grad_(True)
    neighbors = neighbors_of(triangles)
    size = (size_px, size_px)
    raster = rasterize(vertices, triangles, size)
    seen = interpolate(turned, raster, triangles)

    def backward() -> None:
        made = rasterize(vertices, triangles, size)
        picture = antialias(
            interpolate(turned, made, triangles), made, vertices, triangles, neighbors
        )
        vertices.grad = None
        picture.square().mean().backward()  # type: ignore[no-untyped-call]

    steps: dict[str, Callable[[], object]] = {
        "rasterize": lambda: rasterize(vertices, triangles, size),
        "interpolate": lambda: interpolate(turned, raster, triangles),
        "antialias": lambda: antialias(seen, raster, vertices, triangles, neighbors),
        "all_with_gradients": backward,
    }
    found = {name: round(milliseconds(step, device) / count, 2) for name, step in steps.items()}
    return {"size_px": size_px, "triangles": len(triangles), "ms_a_picture": found}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    results: dict[str, Any] = {"device": given.device, "threads": torch.get_num_threads()}
    results["machine"] = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()
    )
    results |= {
        "torch": torch.__version__,
        "load_average": load_average(),
        "batches": [],
        "severities": [],
        "rasterizer": [],
    }
    for size in given.sizes:
        faces = load_faces(given.faces, size_px=size)
        results["severities"].append(severities(faces))
        results["batches"].append(batches(faces.to(device), given.batch, device))
        results["rasterizer"].append(pictures(size, device))
    text = json.dumps(results, indent=2)
    write_bytes(given.out, (text + "\n").encode())
    print(text)


if __name__ == "__main__":
    main()
