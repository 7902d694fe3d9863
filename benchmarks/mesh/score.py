"""Export the meshes of finished runs and have them judged; one JSON line a snapshot.

    python benchmarks/mesh/score.py runs/mesh --judge runs/judge

Reads OUT/runs.jsonl, writes OUT/scores.jsonl and the GLB files of last snapshots to OUT/meshes. A
snapshot that has a line is not scored again. Needs no GPU: experiment.py runs it on the processor
while the next arm trains. The last snapshot of an arm is asked for all 64 prompts, the earlier ones
for the prompts that every arm learns. Two controls: the world's own meshes, through the same file,
and the generator before training.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arms import apart, fresh_network, named
from figures import Row
from measures import judged_cameras, pictures, read_solid, verdict
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from edgekit.benchmarks.runs import lines
from edgekit.core.errors import EdgekitError
from edgekit.core.tensors import Batch, Vertices
from edgekit.distill.mesh.generator import MeshNetwork
from edgekit.distill.mesh.recipe import MeshRecipe
from edgekit.distill.mesh.words import tokens, vocabulary
from edgekit.distill.teachers.views.judge import SIZE_PX, Judge, load_judge
from edgekit.distill.teachers.views.world import prompts as world_prompts
from edgekit.distill.teachers.views.world import split, world_mesh
from edgekit.runtime.mesh.files import write_mesh
from edgekit.runtime.mesh.generate import from_lattice
from edgekit.runtime.mesh.surface import Mesh

TRUE_SEED = 1000
"""Seeds of the world's own meshes begin here: no teacher and no judge has seen these."""
LAST_WORDS_S = 4.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Weights whose meshes are asked for; a control has no file."""

    arm: str
    kind: str
    seed: int
    prompt: str | None
    at_s: float
    trained: int
    last: bool
    recipe: str
    """JSON, so that it can be a key."""
    file: str | None

    @property
    def key(self) -> tuple[str, int, float]:
        """What tells it from others."""
        return self.arm, self.seed, self.at_s

    def asked(self, count: int) -> list[str]:
        """Return the prompts to score; `count` of those that every arm learns."""
        if self.prompt is not None:
            return [self.prompt]
        return world_prompts() if self.last else apart(world_prompts(), count)


def main() -> None:
    """Score what has no line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--seconds", type=float, default=36_000.0)
    parser.add_argument("--wait", action="store_true", help="until experiment.py has ended")
    parser.add_argument("--alone", type=int, default=8, help="prompts of earlier snapshots")
    parser.add_argument("--small", action="store_true", help="few prompts: does it run?")
    given = parser.parse_args()
    ends = time.monotonic() + given.seconds - LAST_WORDS_S
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.workers, context, _start, (str(given.judge),)) as pool:
        while time.monotonic() < ends:
            left = [each for each in snapshots(given.out) if each.key not in scored(given.out)]
            asked = [(each, submitted(pool, each, given)) for each in left]
            for snapshot, meshes in asked:
                line = finished(snapshot, meshes, ends)
                if line is None:
                    break
                with (given.out / "scores.jsonl").open("a") as file:
                    file.write(json.dumps(line) + "\n")
            if not left and (not given.wait or (given.out / ".trained").exists()):
                break
            if not left:
                time.sleep(1.0)
        pool.shutdown(cancel_futures=True)


def snapshots(out: Path) -> Iterator[Snapshot]:
    """Yield what can be scored: runs first, newest facts from the files, then the controls."""
    recipes: dict[int, str] = {}
    for row in lines(out / "runs.jsonl"):
        recipe = json.dumps(row["recipe"])
        folder = out / "work" / f"{row['arm']}-{row['seed']}".replace(" ", "-")
        if row["prompt"] is None:
            recipes.setdefault(row["seed"], recipe)
        for file in reversed(row["snapshots"]):
            path = folder / file
            if not path.is_file():
                continue
            with safe_open(path, "np") as stored:
                at_s = float(stored.metadata()["at_s"])
            yield Snapshot(
                row["arm"],
                row["kind"],
                row["seed"],
                row["prompt"],
                at_s,
                row["trained"],
                file == row["snapshots"][-1],
                recipe,
                str(path),
            )
    for seed, recipe in recipes.items():
        for control in ("truth", "untrained"):
            yield Snapshot(control, control, seed, None, 0.0, 1, True, recipe, None)


def scored(out: Path) -> set[tuple[str, int, float]]:
    """Return the keys that have a line."""
    return {(row["arm"], row["seed"], row["at_s"]) for row in lines(out / "scores.jsonl")}


def submitted(
    pool: ProcessPoolExecutor, snapshot: Snapshot, given: argparse.Namespace
) -> list[Future[Row]]:
    """Have the meshes of a snapshot scored."""
    prompts = snapshot.asked(given.alone)
    if given.small and len(prompts) > 1:
        prompts = prompts[:: len(prompts) // 2]
    return [pool.submit(scored_mesh, snapshot, prompt, str(given.out)) for prompt in prompts]


def finished(
    snapshot: Snapshot, meshes: Sequence[Future[Row]], ends: float
) -> dict[str, Any] | None:
    """Return the line of a snapshot; None if the time was over before."""
    found = []
    for future in meshes:
        try:
            found.append(future.result(timeout=max(0.1, ends - time.monotonic())))
        except TimeoutError:
            return None
    facts = {k: v for k, v in asdict(snapshot).items() if k not in ("recipe", "file")}
    return {**facts, "meshes": found}


def scored_mesh(snapshot: Snapshot, prompt: str, out: str) -> Row:
    """Make the mesh of one prompt as a file, and return what the file is worth."""
    facts: dict[str, Any] = {"prompt": prompt, "seen": prompt not in split()[1]}
    name = f"{snapshot.kind}-{snapshot.seed}"
    name += "" if snapshot.last else f"-at-{snapshot.at_s:.0f}"
    path = Path(out) / "meshes" / name / f"{'-'.join(prompt.split())}.glb"
    path.parent.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    try:
        if snapshot.kind == "truth":
            write_true(prompt, TRUE_SEED + snapshot.seed, path)
        else:
            exported(network_of(snapshot), prompt, path)
        facts["cpu_s"] = round(time.process_time() - began, 3)
        found = worth(path, prompt, _judge())
    except (EdgekitError, ValueError) as error:
        path.unlink(missing_ok=True)
        return {**facts, "failed": str(error)}
    if snapshot.last:
        facts["file"] = str(path.relative_to(out))
    return {**facts, **found}


def worth(path: Path, prompt: str, judge: Judge) -> dict[str, Any]:
    """Return what is counted on a mesh file, and what the judge says of its pictures."""
    solid = read_solid(path)
    images = pictures(solid, judged_cameras(), SIZE_PX)
    everything = world_prompts()
    found = verdict(judge, images, everything, everything.index(prompt))
    return {"bytes": path.stat().st_size, **solid.facts(), **found}


def exported(network: MeshNetwork, prompt: str, path: Path) -> None:
    """Write the mesh of a prompt as `edgekit mesh` would: same lattice, budget and texture."""
    shape = network.shape
    words = tokens([prompt], vocabulary(world_prompts()), shape.length)
    codes = network.codes(words)
    field = network.on_lattice(codes, shape.cells)
    sides = (shape.cells + 1,) * 3

    def colors(points: Vertices) -> Batch:
        found: Batch = network.field(codes, torch.from_numpy(points)[None]).colors[0].numpy()
        return found

    made = from_lattice(
        field.sdf.reshape(sides).numpy(),
        field.deformation.reshape(*sides, 3).numpy(),
        shape.deform,
        colors,
    )
    write_mesh(made.mesh, path)


def write_true(prompt: str, seed: int, path: Path) -> None:
    """Write the world's own mesh of a prompt, each triangle in its colour."""
    true = world_mesh(prompt, seed)
    corners = true.vertices[true.triangles].reshape(-1, 3)
    colors = np.repeat(true.colors, 3, 0) if len(true.colors) == len(true.triangles) else None
    assert colors is not None, "a world's mesh has a colour a triangle"
    mesh = Mesh(corners, np.arange(len(corners)).reshape(-1, 3), colors.astype(np.float32))
    write_mesh(mesh, path)


@lru_cache(maxsize=2)
def network_of(snapshot: Snapshot) -> MeshNetwork:
    """Return the network of a snapshot on the processor."""
    recipe = MeshRecipe(**json.loads(snapshot.recipe))
    words = vocabulary(world_prompts())
    kind = "atom" if snapshot.kind == "untrained" else snapshot.kind
    network = fresh_network(named(kind), recipe.shape, len(words), seed=snapshot.seed)
    assert isinstance(network, nn.Module)
    if snapshot.file:
        network.load_state_dict({k: v.float() for k, v in load_file(snapshot.file).items()})
    return network.eval().requires_grad_(False)


def _start(judge: str) -> None:
    torch.set_num_threads(1)
    _paths.append(judge)


_paths: list[str] = []


@lru_cache(maxsize=1)
def _judge() -> Judge:
    return load_judge(Path(_paths[-1]), "cpu")


if __name__ == "__main__":
    main()
