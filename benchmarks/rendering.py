"""How long pictures of fields and of meshes take, step by step, forwards and with gradients.

    python benchmarks/rendering.py --out benchmarks/results/rendering/speed_cpu.json
    python benchmarks/rendering.py --device cuda --size 64 128 256 --batch 16 --out FILE.json

The field is an untrained generator of the size that ships, so the network's time is in the figures
of whole stages; the steps of the mesh alone have none. Times are those of the processor on a CPU,
with one thread, and of the wall on a GPU. What is compared takes turns call by call, so that other
work on the machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgekit.benchmarks.host import cpu_model, load_average
from edgekit.core.store import write_bytes
from edgekit.distill.mesh.baselines import fresh_planes
from edgekit.distill.mesh.generator import lattice_points
from edgekit.distill.mesh.shape import MeshShape
from edgekit.distill.render.backends import rasterizer_named
from edgekit.distill.render.marching import cut_of, marched, meshes_of, repeated
from edgekit.distill.render.mesh_views import mesh_views
from edgekit.distill.render.views import random_cameras
from edgekit.distill.render.volume import volume_views

WARM_UP = 2
Calls = Mapping[str, Callable[[], object]]


def milliseconds(calls: Calls, device: torch.device, count: int) -> dict[str, list[float]]:
    """Return the times of `count` calls of each, taking turns, after two that warm up."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(count + WARM_UP):
        for name, call in calls.items():
            begun = clock()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= WARM_UP:
                taken[name].append(round((clock() - begun) * 1e3, 2))
    return taken


def rows(calls: Calls, device: torch.device, count: int, **facts: Any) -> list[dict[str, Any]]:
    """Return one line a call: its median, all its times, and what it was asked."""
    return [
        {"step": name, **facts, "median_ms": round(statistics.median(times), 2), "raw_ms": times}
        for name, times in milliseconds(calls, device, count).items()
    ]


class Scene:
    """Fields of spheres with untrained features, and cameras around them."""

    def __init__(self, batch: int, device: torch.device) -> None:
        """Make `batch` fields of the generator's own size."""
        self.shape = MeshShape()
        self.network = fresh_planes(self.shape, seed=0).to(device)
        self.points = lattice_points(self.shape.cells, device)
        generator = torch.Generator().manual_seed(0)
        self.cameras = random_cameras(batch, generator, device)
        self.grounds = torch.zeros(batch, 3, device=device)
        self.prompts = torch.zeros(batch, 1, dtype=torch.int64, device=device)

    def codes(self) -> Tensor:
        """Return the planes, a copy a picture, with gradients."""
        return self.network.codes(self.prompts)

    def volume(self, size_px: int, samples: int) -> Tensor:
        """Return pictures of stage one."""
        codes = self.codes()
        return volume_views(
            lambda points: self.network.field(codes, points)[::2],
            self.cameras,
            size_px,
            self.grounds,
            distance=lambda points: self.network.distance(codes, points),
            coarse=samples,
            fine=samples,
        ).picture

    def mesh(self, size_px: int, *, whole: bool = False, backend: str = "torch") -> Tensor:
        """Return pictures of stage two; `whole` asks for gradients at every point."""
        codes, cells = self.codes(), self.shape.cells
        if whole:
            field = self.network.on_lattice(codes, cells)
            made = marched(field.sdf, cells, field.deformation, deform=self.shape.deform)
        else:
            with torch.no_grad():
                cut = cut_of(self.network.on_lattice(codes, cells).sdf, cells)
            field = self.network.field(codes, self.points[cut.corners.numbers])
            made = meshes_of(cut, field.sdf, field.deformation, deform=self.shape.deform)
        return mesh_views(
            made,
            self.cameras,
            size_px,
            self.grounds,
            paint=lambda points: self.network.field(codes, points).colors,
            rasterizer=rasterizer_named(backend, codes.device),
        ).picture

    def trained(self, draw: Callable[[], Tensor]) -> None:
        """Draw with gradients and go back to the weights."""
        self.network.zero_grad(set_to_none=True)
        draw().square().mean().backward()  # type: ignore[no-untyped-call]

    def watched(self, draw: Callable[[], Tensor]) -> None:
        """Draw without gradients."""
        with torch.no_grad():
            draw()


def stages(scene: Scene, sizes: list[int], calls: int, backends: list[str]) -> list[dict[str, Any]]:
    """Measure both stages whole: fields, pictures, gradients."""
    device, batch = scene.grounds.device, len(scene.grounds)
    found = []
    for size_px in sizes:
        work: dict[str, Callable[[], object]] = {
            "volume 24+24": partial(scene.watched, partial(scene.volume, size_px, 24)),
            "volume 24+24 with gradients": partial(
                scene.trained, partial(scene.volume, size_px, 24)
            ),
            "mesh, every corner with gradients": partial(
                scene.trained, partial(scene.mesh, size_px, whole=True)
            ),
        }
        if device.type == "cuda":
            work["volume 48+48 with gradients"] = partial(
                scene.trained, partial(scene.volume, size_px, 48)
            )
        for name in backends:
            said = "" if name == "torch" else f", {name}"
            drawn = partial(scene.mesh, size_px, backend=name)
            work[f"mesh{said}"] = partial(scene.watched, drawn)
            work[f"mesh with gradients{said}"] = partial(scene.trained, drawn)
        found += rows(work, device, calls, size_px=size_px, pictures=batch)
    return found


def steps(scene: Scene, sizes: list[int], calls: int, backends: list[str]) -> list[dict[str, Any]]:
    """Measure what a picture of a mesh consists of, without any network."""
    device, batch, cells = scene.grounds.device, len(scene.grounds), scene.shape.cells
    ball = (scene.points.norm(dim=1) - 0.6).expand(batch, -1).contiguous()
    cut = cut_of(ball, cells)
    corners = cut.corners.of(ball).requires_grad_(True)
    meshes = meshes_of(cut, corners.detach())
    facts = {"pictures": batch, "cells": cells, "triangles": int(meshes.num_triangles[0])}

    def placed() -> None:
        corners.grad = None
        meshes_of(cut, corners).vertices.square().sum().backward()  # type: ignore[no-untyped-call]

    found = rows(
        {"cut": lambda: cut_of(ball, cells), "vertices with gradients": placed},
        device,
        calls,
        **facts,
    )
    clip = scene.cameras.projected_joined(meshes.vertices, meshes.rows).detach()
    pictures = repeated(meshes.num_triangles, len(meshes.triangles))
    triangles = meshes.triangles
    for size_px in sizes:
        work: dict[str, Callable[[], object]] = {}
        for name in backends:
            who = rasterizer_named(name, device)
            raster = who.seen(clip, triangles, pictures, batch, size_px)
            colors = torch.rand(batch, size_px, size_px, 4, device=device)
            said = "" if name == "torch" else f", {name}"
            work[f"rasterize{said}"] = partial(who.seen, clip, triangles, pictures, batch, size_px)
            work[f"smooth edges{said}"] = partial(who.smoothed, colors, raster, clip, triangles)
        found += rows(work, device, calls, size_px=size_px, **facts)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=2, help="pictures, each of a mesh of its own")
    parser.add_argument("--size", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument("--backends", nargs="+", default=["torch"], help="torch, nvdiffrast")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    on_gpu = device.type == "cuda"
    scene = Scene(given.batch, device)
    result = {
        "device": given.device,
        "machine": torch.cuda.get_device_name(device) if on_gpu else cpu_model(),
        "clock": "wall" if on_gpu else "processor, one thread",
        "torch": torch.__version__,
        "load_average": load_average(),
        "steps": steps(scene, given.size, given.calls, given.backends),
        "stages": stages(scene, given.size, given.calls, given.backends),
    }
    write_bytes(given.out, (json.dumps(result, indent=1) + "\n").encode())
    for line in (*result["steps"], *result["stages"]):
        print(f"{line['step']:40} {line.get('size_px', ''):>4} {line['median_ms']:9.2f} ms")


if __name__ == "__main__":
    main()
