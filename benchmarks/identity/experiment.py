"""Train and test every arm of the identity code; one JSON line a run.

    python benchmarks/identity/experiment.py --real faces/real --rendered faces/heads \
        --out runs/identity --seconds 1200

First a recognizer that judges, then the arms by seeds, seed 0 of all first. A run trains the
encoder for --arm-s seconds, then a generator on its frozen codes for --generator-s, the same for
every arm, then regenerates test people. With several GPUs one process runs on each and they share
the runs by locks in the folder. Every finished run is a line of OUT/runs.jsonl and is not run
again; one that was interrupted continues from its checkpoint; the process ends by itself after
--seconds. `table.py` makes docs/evidence/identity.md of the lines. --small runs it all on a
processor in a minute.
"""

from __future__ import annotations

import argparse
import os
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from judge import COUNTS, Judge
from torch import nn

from edgekit.benchmarks.runs import LAST_WORDS_S, WORKER, Runs, lines, say, spread
from edgekit.core.store import value_sha256
from edgekit.distill.faces.sets import Faces, load_faces
from edgekit.distill.fit_state import use_fast_products
from edgekit.distill.identity.encoder import IdentityEncoder, fresh_encoder
from edgekit.distill.identity.fit import faces_sha256, fit_generator, fit_identity, mean_code
from edgekit.distill.identity.judging import separation
from edgekit.distill.identity.recipe import ARMS, IdentityRecipe, toy
from edgekit.distill.identity.student import write_encoder
from edgekit.distill.identity.train import licences
from edgekit.distill.journal import Clock
from edgekit.distill.learning import learn
from edgekit.distill.metrics import as_photos
from edgekit.distill.preview import write_preview
from edgekit.distill.program import StudentFacts
from edgekit.distill.restorer.recognizer import fresh_recognizer
from edgekit.distill.restorer.tasks import Pictures, RecognizerTask
from edgekit.distill.students.cost import count_parameters

SHIPPED = ("full", 0)
"""The run whose encoder is kept as a student folder, OUT/encoder, for restorers and for export."""
UNTRAINED = "untrained"
"""Control: random weights, and a generator trained on their codes."""
REAL = "real"
"""Not an arm: the scores of true photos."""
KEPT = 8
"""People who are drawn."""


def main() -> None:
    """Run the jobs that are not done."""
    names = [*ARMS, UNTRAINED]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, nargs="+", help="folders of `edgekit pairs faces`")
    parser.add_argument("--rendered", type=Path, nargs="+", help="the same of the head model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=names, choices=names)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=540.0, help="of this call, all in all")
    parser.add_argument("--arm-s", type=float, default=40.0, help="training of an encoder")
    parser.add_argument("--generator-s", type=float, default=25.0)
    parser.add_argument("--recognizer-s", type=float, default=30.0)
    parser.add_argument("--pictures", type=int, default=512, help="faces a step")
    parser.add_argument("--judged", type=int, default=128, help="test people of a folder")
    parser.add_argument("--least", type=int, default=24, help="people that a number of inputs asks")
    parser.add_argument("--colour", action="store_true", help="leave gray photos out")
    parser.add_argument("--small", action="store_true", help="toy sizes: does it run?")
    parser.add_argument(WORKER, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.small:
        given.arm_s, given.generator_s, given.recognizer_s = 2.0, 1.0, 2.0
        given.judged, given.least = 4, 2
    given.out.mkdir(parents=True, exist_ok=True)
    gpus = torch.cuda.device_count()
    spread(gpus)
    Work(given, torch.device("cuda" if gpus else "cpu")).run()


class Work:
    """One process: faces on the device, the judge, then runs until none or no time is left."""

    def __init__(self, given: argparse.Namespace, device: torch.device) -> None:
        """Load the faces."""
        self.given, self.device, self.out = given, device, given.out
        self.runs = Runs(given.out, time.monotonic() + given.seconds - LAST_WORDS_S)
        use_fast_products(device)
        if device.type == "cuda":
            torch.backends.cuda.enable_cudnn_sdp(False)  # not every version can be recorded
        self.recipe = IdentityRecipe(seconds=given.arm_s, pictures=given.pictures)
        if given.small:
            self.recipe = toy(self.recipe)
        folders = {"rendered": given.rendered, "real": given.real}
        self.folders = {name: part for name, part in folders.items() if part}
        self.train = self.faces(self.everybody, "train").to(device)
        self.test = {
            name: self.faces(part, "test").to(device) for name, part in self.folders.items()
        }
        people = [len(faces.people) for faces in (self.train, *self.test.values())]
        say("begin", people=people, photos=len(self.train.images), device=self.name())

    @property
    def everybody(self) -> list[Path]:
        """All folders of faces."""
        return [folder for part in self.folders.values() for folder in part]

    def run(self) -> None:
        """Train the judge, then do every run."""
        made = self.runs.shared({"recognizer": self.recognizer})
        if made is None:
            return say("end", because="the recognizer needs more time")
        cores = (os.cpu_count() or 1) // max(1, torch.cuda.device_count())
        judge = Judge(
            self.test,
            made["recognizer"],
            people=self.given.judged,
            least=self.given.least,
            workers=1 if self.given.small else max(1, cores - 2),
            target_px=self.recipe.target_px,
            steps=4 if self.given.small else 20,
        )
        jobs = [(arm, seed) for seed in self.given.seeds for arm in self.given.arms]
        left = self.runs.work([(REAL, 0), *jobs], lambda arm, seed: self.line(arm, seed, judge))
        judge.close()
        return say("end", left=[f"{arm}/{seed}" for arm, seed in left])

    def line(self, arm: str, seed: int, judge: Judge) -> dict[str, Any] | None:
        """Train and test one arm; None if the time was over before."""
        began = time.monotonic()
        facts = {"arm": arm, "seed": seed, "device": self.name(), "faces": list(self.test)}
        if arm == REAL:
            return {**facts, "scores": judge.real()}
        folder = self.out / "work" / f"{arm}-{seed}"
        encoder = self.encoder(arm, seed, folder)
        if encoder is None:
            return None
        trained_s = time.monotonic() - began
        if (arm, seed) == SHIPPED:
            self.ship(encoder)
        budget = replace(self.recipe, seed=seed, seconds=self.given.generator_s)
        of = f"{arm}-{seed}-{self.given.arm_s}"
        generator = fit_generator(
            encoder, budget, self.train, folder, of=of, stop_at=self.runs.ends
        )
        if generator is None:
            return None
        apart = {}
        for name, faces in self.test.items():
            apart[name] = separation(encoder, faces).facts()
        scores = judge.scores(encoder, generator)
        if seed == 0:
            self.draw(arm, encoder, generator, judge)
        steps = {row["stage"]: row["step"] for row in lines(folder / "log.jsonl")}
        return {
            **facts,
            "arm_s": self.given.arm_s,
            "generator_s": self.given.generator_s,
            "steps": steps,
            "pictures": self.recipe.pictures,
            "train_people": len(self.train.people),
            "train_photos": len(self.train.images),
            "encoder_parameters": count_parameters(encoder),
            "generator_parameters": count_parameters(generator),
            "code": list(encoder.shape.code),
            "train_s": round(trained_s, 2),
            "wall_s": round(time.monotonic() - began, 2),
            "separation": apart,
            "scores": scores,
        }

    def ship(self, encoder: IdentityEncoder) -> None:
        """Keep an encoder as `edgekit identity train` does, judged on people of the split val."""
        val = self.faces(self.everybody, "val")
        mine = deepcopy(encoder).float().cpu()
        facts = StudentFacts(
            name="identity",
            recipe_sha256=value_sha256([self.recipe.values(), faces_sha256(self.train)]),
            seconds=self.given.arm_s,
            quality={"identity": {**separation(mine, val).facts(), "people": len(val.people)}},
            licences=licences(self.everybody),
        )
        write_encoder(self.out / "encoder", mine, self.faces(self.everybody, "train"), val, facts)

    def encoder(self, arm: str, seed: int, folder: Path) -> IdentityEncoder | None:
        """Return the trained encoder of an arm; None if the time was over before."""
        if arm != UNTRAINED:
            recipe = replace(self.recipe, arm=arm, seed=seed)
            return fit_identity(recipe, self.train, folder, stop_at=self.runs.ends)
        encoder = fresh_encoder(self.recipe.shape, seed=seed).to(self.device).eval()
        encoder.requires_grad_(False)
        encoder.center.copy_(mean_code(encoder, self.train))
        return encoder

    def recognizer(self) -> nn.Module | None:
        """Return the network that judges, trained by whichever process comes first."""
        network = fresh_recognizer(4 if self.given.small else 32, seed=1234)
        pictures = Pictures([self.train], 8 if self.given.small else 256, 1234)
        task = RecognizerTask(network, pictures, self.device)
        whole = learn(
            task,
            Clock(self.given.recognizer_s, stop_at=self.runs.ends),
            stage="recognizer",
            folder=self.out / "work" / "recognizer",
            fingerprint=faces_sha256(self.train),
            device=self.device,
        )
        return task.network.eval().requires_grad_(False) if whole else None

    def draw(self, arm: str, encoder: IdentityEncoder, generator: Any, judge: Judge) -> None:
        """Keep a picture: input, truth, and what is regenerated from 1, 3, 5 and 7 photos."""
        for tested in judge.tested:
            counts = [k for k in COUNTS if k in tested.counts]
            rows = [judge.made(encoder, generator, tested, k) for k in counts]
            columns = [tested.batch.inputs[:KEPT, 0], tested.batch.targets[:KEPT, 0]]
            side = self.recipe.shape.size_px
            shown = [*columns, *(row[:KEPT] for row in rows)]
            shown = [nn.functional.interpolate(part.cpu(), (side, side)) for part in shown]
            (self.out / "pictures").mkdir(exist_ok=True)
            write_preview(
                self.out / "pictures" / f"{arm}-{tested.name}.png", [as_photos(p) for p in shown]
            )

    def faces(self, folders: list[Path], split: Any) -> Faces:
        """Read faces of the encoder's size."""
        size = self.recipe.shape.size_px
        return load_faces(folders, split=split, size_px=size, gray=not self.given.colour)

    def name(self) -> str:
        """Return the name of the device."""
        return torch.cuda.get_device_name(0) if self.device.type == "cuda" else "cpu"


if __name__ == "__main__":
    main()
