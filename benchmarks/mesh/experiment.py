"""Train every arm of text to mesh, then score the meshes they export; one JSON line a run.

    python benchmarks/mesh/experiment.py --teacher runs/views --judge runs/judge --out runs/mesh \
        --seconds 540

Seed 0 of all arms comes first. A run trains for --arm-s seconds (--prompt-s, if it learns one
prompt) and keeps its averaged weights at some shares of that; every finished run is a line of
OUT/runs.jsonl and is not run again; one that was interrupted continues from its checkpoint; the
process ends by itself after --seconds. Meanwhile score.py runs on the processor, beside it. With
several GPUs one process runs on each and they share the runs by locks in the folder; --share i/n
takes every n-th run, for machines that share no folder. ARM@RATE is an arm at another rate.
`table.py` makes docs/evidence/mesh.md of the lines. --small runs it all on a processor in minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from arms import ALONE, ARMS, Arm, apart, fresh_network, named
from safetensors.torch import save_file
from torch import nn

from edgekit.benchmarks.runs import LAST_WORDS_S, WORKER, Run, Runs, lines, say, spread
from edgekit.distill.fit_state import use_fast_products
from edgekit.distill.mesh.fit import fit_mesh
from edgekit.distill.mesh.generator import MeshNetwork
from edgekit.distill.mesh.recipe import PROFILES, MeshRecipe
from edgekit.distill.mesh.student import Prompts
from edgekit.distill.mesh.words import tokens, vocabulary
from edgekit.distill.students.cost import count_parameters
from edgekit.distill.teachers.views.guide import load_views
from edgekit.distill.teachers.views.world import prompts as world_prompts
from edgekit.distill.teachers.views.world import split

SNAPSHOTS = (0.0625, 0.125, 0.25, 0.5, 1.0)
"""Shares of a run's budget after which its averaged weights are kept."""
FOR_SCORES = 0.04
"""Share of a call that is left for the scores of its last run."""
SCORE = Path(__file__).resolve().with_name("score.py")
TRAINED = ".trained"
"""File that tells score.py that no more runs come."""


def main() -> None:
    """Run the jobs that are not done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, required=True, help="`edgekit teacher train`")
    parser.add_argument("--judge", type=Path, help="classifier; without one nothing is scored")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), help="also ARM@RATE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--share", default="0/1", help="which part of the runs: 0/2, 1/2")
    parser.add_argument("--seconds", type=float, default=540.0, help="of this call, all in all")
    parser.add_argument("--arm-s", type=float, default=240.0, help="training of all prompts")
    parser.add_argument("--prompt-s", type=float, default=30.0, help="training of one prompt")
    parser.add_argument("--alone", type=int, default=ALONE, help="prompts learned one by one")
    parser.add_argument("--batch", type=int, help="pictures a step, the same for all arms")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 3))
    parser.add_argument("--small", action="store_true", help="toy sizes: does it run?")
    parser.add_argument(WORKER, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    gpus = torch.cuda.device_count()
    scoring = None if given.worker or not given.judge else started(given)
    try:
        spread(gpus)
        Work(given, torch.device("cuda" if gpus else "cpu")).run()
    finally:
        if scoring is not None:
            (given.out / TRAINED).touch()
            failed = scoring.wait()
    if scoring is not None and failed:
        sys.exit(failed)


def started(given: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Begin to score runs as they come."""
    (given.out / TRAINED).unlink(missing_ok=True)
    words = [sys.executable, str(SCORE), str(given.out), "--judge", str(given.judge), "--wait"]
    words += ["--workers", str(given.workers), "--seconds", str(given.seconds)]
    if given.small:
        words.append("--small")
    alone = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env={**os.environ, **alone})


def planned(given: argparse.Namespace) -> list[Run]:
    """Return this share of the runs, seed 0 of all arms first; an arm may name its one prompt."""
    mine, parts = (int(text) for text in given.share.split("/"))
    alone = apart(world_prompts(), given.alone)
    runs: list[Run] = []
    for seed in given.seeds:
        for kind in given.arms:
            prompts = alone if named(kind).alone else [""]
            runs += [(f"{kind} {prompt}".strip(), seed) for prompt in prompts]
    return runs[mine::parts]


class Work:
    """One process: the teacher on the device, then runs until none or no time is left."""

    def __init__(self, given: argparse.Namespace, device: torch.device) -> None:
        """Load the teacher."""
        self.given, self.device, self.out = given, device, given.out
        judged = given.seconds * FOR_SCORES if given.judge else 0.0
        self.runs = Runs(given.out, time.monotonic() + given.seconds - judged - LAST_WORDS_S)
        use_fast_products(device)
        self.guide = load_views(given.teacher, device)
        self.recipe = MeshRecipe(**({} if given.small else PROFILES["gpu"]))
        if given.small:
            self.recipe = replace(self.recipe, batch=2, volume_px=16, coarse=8, fine=4, mesh_px=32)
        if given.batch:
            self.recipe = replace(self.recipe, batch=given.batch)
        train, unseen = split()
        self.words = vocabulary([*train, *unseen])
        self.train, self.unseen = tuple(train), tuple(unseen)

    def run(self) -> None:
        """Do every run that is not done."""
        say("begin", device=self.name())
        left = self.runs.work(planned(self.given), self.line)
        say("end", left=len(left))

    def line(self, spec: str, seed: int) -> dict[str, Any] | None:
        """Train one arm; None if the time was over before."""
        began = time.monotonic()
        kind, _, prompt = spec.partition(" ")
        arm, folder = named(kind), self.out / "work" / f"{spec}-{seed}".replace(" ", "-")
        recipe = self.of(arm, seed)
        train = (prompt,) if prompt else self.train
        network = fresh_network(arm, recipe.shape, len(self.words), seed=seed)
        assert isinstance(network, nn.Module)
        parameters = count_parameters(network)
        snapshots = Snapshots(folder, recipe.seconds)
        trained = fit_mesh(
            recipe,
            self.guide,
            Prompts(train=train, unseen=self.unseen, words=self.words),
            folder,
            of=self.guide.identity,
            network=network,
            device=self.device,
            stop_at=self.runs.ends,
            watch=snapshots.keep,
            every_s=(recipe.seconds / (8 if arm.alone else 16), 20.0),
        )
        if trained is None:
            return None
        snapshots.keep(trained, recipe.seconds)
        log = lines(folder / "log.jsonl")
        say("run", arm=spec, seed=seed, s=round(time.monotonic() - began, 1))
        return {
            "arm": spec,
            "kind": kind,
            "seed": seed,
            "prompt": prompt or None,
            "device": self.name(),
            "trained": len(train),
            "recipe": recipe.values(),
            "parameters": parameters,
            "network_ms": self.network_ms(trained, train[0]),
            "steps": {row["stage"]: row["step"] for row in log if "step" in row},
            "snapshots": snapshots.facts(),
            "wall_s": round(time.monotonic() - began, 2),
        }

    @torch.no_grad()
    def network_ms(self, network: MeshNetwork, prompt: str) -> float:
        """Return the median milliseconds from words to the field on the lattice."""
        words = tokens([prompt], self.words, network.shape.length).to(self.device)
        samples = []
        for _ in range(12):
            start = time.perf_counter()
            network.on_lattice(network.codes(words), network.shape.cells)
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            samples.append(1000 * (time.perf_counter() - start))
        return round(median(samples[2:]), 3)

    def of(self, arm: Arm, seed: int) -> MeshRecipe:
        """Return the recipe of a run."""
        seconds = self.given.prompt_s if arm.alone else self.given.arm_s
        recipe = replace(self.recipe, seed=seed, loss=arm.loss, seconds=seconds)
        if not arm.first:
            recipe = replace(recipe, stage_one=0.0)
        if arm.lr:
            recipe = replace(
                recipe, lr=arm.lr, mesh_lr=arm.lr * self.recipe.mesh_lr / self.recipe.lr
            )
        return recipe

    def name(self) -> str:
        """Return the name of the device."""
        return torch.cuda.get_device_name(0) if self.device.type == "cuda" else "cpu"


class Snapshots:
    """Averaged weights of a run at some shares of its budget, in half precision as they ship."""

    def __init__(self, folder: Path, seconds: float) -> None:
        """Those that an earlier process kept stay."""
        self.folder, self.seconds = folder, seconds

    def keep(self, network: MeshNetwork, spent: float) -> None:
        """Write the weights if the last share that is reached has none yet."""
        reached = [share for share in SNAPSHOTS if spent >= share * self.seconds * 0.999]
        if not reached or self.path(reached[-1]).is_file():
            return
        path = self.path(reached[-1])
        path.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(network, nn.Module)
        state = network.state_dict()
        half = {k: v.detach().half().cpu().contiguous() for k, v in state.items()}
        save_file(half, path, metadata={"at_s": f"{spent:.2f}"})

    def facts(self) -> list[str]:
        """Return the names of the files, the earliest first."""
        return [self.path(share).name for share in SNAPSHOTS if self.path(share).is_file()]

    def path(self, share: float) -> Path:
        """Return the file of a share."""
        return self.folder / f"at-{round(100 * share):03d}.safetensors"


if __name__ == "__main__":
    main()
