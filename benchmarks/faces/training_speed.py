"""Measure how long a training step of the restorer takes on a GPU, and how long its batch.

    python benchmarks/faces/training_speed.py --faces PORTRAITS --out FILE.json

Batches are made one by one and eight at a time, in turns. The step of an arm is timed as the graph
alone and as the whole loop, which makes batches meanwhile; with the U-Net's norms in float32, as
autocast would have them, and as they are. Weights are random: speed needs no training.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from arms import ARMS, network_of
from torch import Tensor, nn

from edgekit.core.store import write_bytes
from edgekit.distill.faces.sets import load_faces
from edgekit.distill.fit_state import use_fast_products
from edgekit.distill.learning import Ahead, Recorded
from edgekit.distill.program import host
from edgekit.distill.restorer.attention import Norm
from edgekit.distill.restorer.bases import Base
from edgekit.distill.restorer.one_step import CODE_TOKENS, CODE_WIDTH
from edgekit.distill.restorer.recognizer import fresh_recognizer
from edgekit.distill.restorer.stages import TOGETHER, Plan
from edgekit.distill.restorer.tasks import Codes, InTurns, RestorerTask
from edgekit.distill.restorer.terms import Terms
from edgekit.distill.restorer.unet import fresh_unet

KEPT = Norm.forward


class ThreeNumbers(nn.Module):
    """Stands for an identity encoder: what is timed is the restorer."""

    def __init__(self) -> None:
        """Three numbers a photo are enough."""
        super().__init__()
        self.layer = nn.Linear(3, CODE_TOKENS * CODE_WIDTH)

    def forward(self, references: Tensor, mask: Tensor) -> Tensor:
        """Return codes, B x 32 x 256."""
        seen = references.mean((1, 3, 4))
        codes: Tensor = self.layer(seen).view(-1, CODE_TOKENS, CODE_WIDTH)
        return codes


class Timing:
    """The faces, what training draws from them, and the device."""

    def __init__(self, folder: Path, *, small: bool) -> None:
        """Load the portraits of training."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        size_px, batch = (64, 4) if small else (128, 32)
        use_fast_products(self.device)
        self.plan = Plan(size_px=size_px, batch=batch, seed=0, references=2, toy=small)
        faces = load_faces(folder, split="train", size_px=size_px).to(self.device)
        self.sampler = self.plan.sampler([faces])
        self.calls = 4 if small else 64

    def batches(self) -> dict[str, float]:
        """Return milliseconds a batch, made alone and together."""
        found: dict[int, list[float]] = {1: [], TOGETHER: []}
        for turn in range(4):
            for together, times in found.items():
                sampler = InTurns(self.sampler.samplers, together=together)
                first = turn * self.calls

                def make(n: int, sampler: InTurns = sampler, first: int = first) -> None:
                    sampler.at(first + n, self.plan.batch, seed=0)

                times.append(self.milliseconds(make, self.calls))
        return {str(k): round(statistics.median(times[1:]), 2) for k, times in found.items()}

    def steps(self, arm: str, *, norms_in_float32: bool, together: int) -> dict[str, Any]:
        """Return milliseconds a step of an arm: its graph alone, and the loop."""
        _use_norm(nn.GroupNorm.forward if norms_in_float32 else KEPT)
        try:
            task = self.task(arm, InTurns(self.sampler.samplers, together=together))
            record, ahead = Recorded(task, self.device), Ahead(task, self.device)

            def step(n: int) -> None:
                record(ahead.batch(n), False)
                ahead.begin(n + 1)

            warm = 4 * TOGETHER if self.device.type == "cuda" else 2
            self.milliseconds(step, warm)
            loop = self.milliseconds(lambda n: step(warm + n), self.calls)
            graph = None
            if record.graphs.recording:  # and recorded by now: only replayed
                replayed = self.milliseconds(lambda _: record.graphs(dict, False), self.calls)
                graph = round(replayed, 2)
            ahead.close()
        finally:
            _use_norm(KEPT)
        facts = {"arm": arm, "norms_in_float32": norms_in_float32, "together": together}
        return {**facts, "loop_ms": round(loop, 2), "graph_ms": graph}

    def task(self, arm: str, sampler: InTurns) -> RestorerTask:
        """Return the training of an arm from random weights."""
        plan, kind = self.plan, ARMS[arm]
        shape = plan.unet()
        base = Base(shape, plan.size_px, fresh_unet(shape, seed=0).state_dict(), "0")
        recognizer = fresh_recognizer(4 if plan.toy else 32, seed=0).to(self.device).eval()
        codes = Codes(ThreeNumbers().to(self.device), kind.tuned)
        return RestorerTask(
            network_of(kind, base, plan),
            sampler,
            Terms(kind.weights(plan.weights), recognizer.requires_grad_(False), plan.size_px),
            self.device,
            batch=plan.batch,
            seed=0,
            codes=codes if kind.needs_code else None,
            judge_width=8 if plan.toy else 48,
        )

    def milliseconds(self, work: Callable[[int], object], calls: int) -> float:
        """Return the mean time of a call by the clock."""
        self.wait()
        began = time.perf_counter()
        for n in range(calls):
            work(n)
        self.wait()
        return (time.perf_counter() - began) / calls * 1e3

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _use_norm(forward: Callable[..., Tensor]) -> None:
    Norm.forward = forward  # type: ignore[method-assign]


def main() -> None:
    """Time everything and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, required=True, help="of `edgekit pairs faces`")
    parser.add_argument("--arms", nargs="+", default=["none", "gate", "untaught"])
    parser.add_argument("--small", action="store_true", help="toy sizes: does it run?")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    timing = Timing(given.faces, small=given.small)
    rows = [
        timing.steps(arm, norms_in_float32=wide, together=together)
        for arm in given.arms
        for wide, together in ((True, 1), (False, 1), (False, TOGETHER))
    ]
    facts = {"batch": timing.plan.batch, "size_px": timing.plan.size_px, "host": host()}
    written = {**facts, "batch_ms": timing.batches(), "steps": rows}
    write_bytes(given.out, (json.dumps(written, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
