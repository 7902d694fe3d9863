"""Train and test every arm of the restorer experiment; one JSON line a run.

    python benchmarks/faces/experiment.py --real faces/real --rendered faces/heads \
        --encoder runs/identity --out runs/faces --seconds 540

Stages: one diffusion base and one recognizer for the loss, shared by all; then the arms by seeds,
seed 0 of all first. With several GPUs one process runs on each and they share the jobs by locks
in the folder. Every finished run is a line of OUT/runs.jsonl and is not run again; one that was
interrupted continues from its checkpoint; the process ends by itself after --seconds. `table.py`
makes docs/evidence/faces.md of the lines. --small runs everything on a processor in minutes.
"""

from __future__ import annotations

import argparse
import os
import time
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from arms import ARMS, TEACHER, Arm, network_of
from judge import HARD, USUAL, Judge, strips
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgekit.benchmarks.runs import LAST_WORDS_S, WORKER, Chance, Runs, lines, say, spread
from edgekit.distill.faces.sets import FaceBatch, Faces, load_faces
from edgekit.distill.fit_state import use_fast_products
from edgekit.distill.identity.student import read_encoder
from edgekit.distill.preview import write_preview
from edgekit.distill.restorer.bases import Base, read_base, write_base
from edgekit.distill.restorer.diffusion import STEPS, sampled
from edgekit.distill.restorer.one_step import OneStep, Restorer, memory_bytes
from edgekit.distill.restorer.recognizer import Recognizer, fresh_recognizer
from edgekit.distill.restorer.stages import (
    CodeEncoder,
    Place,
    Plan,
    base_stage,
    recognizer_stage,
    restorer_stage,
)
from edgekit.distill.restorer.tasks import RESTORER_LR, Codes, SampledTask, half
from edgekit.distill.restorer.terms import TermWeights
from edgekit.distill.students.cost import count_parameters


def main() -> None:
    """Run the jobs that are not done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, nargs="+", help="folders of `edgekit pairs faces`")
    parser.add_argument("--rendered", type=Path, nargs="+", help="the same of the head model")
    parser.add_argument("--encoder", type=Path, help="identity encoder; without it no code arms")
    parser.add_argument("--base", type=Path, help="a base trained before; default: train one")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=540.0, help="of this call, all in all")
    parser.add_argument("--base-s", type=float, default=120.0, help="pretraining of the base")
    parser.add_argument("--recognizer-s", type=float, default=40.0)
    parser.add_argument("--arm-s", type=float, default=120.0, help="most seconds of a run")
    parser.add_argument("--steps", type=int, default=4000, help="of a run, equal for all arms")
    parser.add_argument("--lr", type=float, default=RESTORER_LR, help="of every arm but phone")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--references", type=int, default=2, help="in training, at most")
    parser.add_argument("--judged", type=int, default=128, help="test portraits of a condition")
    parser.add_argument("--colour", action="store_true", help="leave gray photos out")
    parser.add_argument("--keep", nargs="*", default=["gate", "code", "phone", "untaught"])
    parser.add_argument(
        "--weights", nargs="*", default=[], metavar="TERM=X", help="of training terms, all arms"
    )
    parser.add_argument("--no-graphs", action="store_true", help="no CUDA graphs")
    parser.add_argument("--small", action="store_true", help="toy sizes: does it run?")
    parser.add_argument(WORKER, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.small:
        given.size, given.batch, given.judged = 64, 4, min(8, given.judged)
    given.out.mkdir(parents=True, exist_ok=True)
    gpus = torch.cuda.device_count()
    spread(gpus)
    Work(given, torch.device("cuda" if gpus else "cpu")).run()


class Work:
    """One process: data on the device, shared stages, then jobs until none or no time is left."""

    def __init__(self, given: argparse.Namespace, device: torch.device) -> None:
        """Load the faces."""
        self.given, self.device, self.out = given, device, given.out
        self.runs = Runs(given.out, time.monotonic() + given.seconds - LAST_WORDS_S)
        use_fast_products(device)
        folders = {"real": given.real, "rendered": given.rendered}
        self.folders = {name: folder for name, folder in folders.items() if folder}
        self.train = [self._faces(folder, "train") for folder in self.folders.values()]
        self.test = {name: self._faces(folder, "test") for name, folder in self.folders.items()}
        self.encoder: CodeEncoder | None = None
        if given.encoder:
            self.encoder = CodeEncoder(read_encoder(given.encoder)[0]).to(device)
        say("begin", faces=[len(faces.images) for faces in self.train], device=self.name())

    def run(self) -> None:
        """Do the shared stages, then every run."""
        made = self.runs.shared({"base": self.base, "recognizer": self.recognizer})
        if made is None:
            return say("end", because="the shared stages need more time")
        workers = max(1, (os.cpu_count() or 1) // max(1, torch.cuda.device_count()) - 2)
        judge = Judge(
            self.test,
            self.device,
            judged=self.given.judged,
            recognizer=made["recognizer"],
            workers=1 if self.given.small else workers,
        )

        def do(arm: str, seed: int) -> dict[str, Any] | None:
            return self.job(arm, seed, made["base"], made["recognizer"], judge)

        jobs = [(arm, seed) for seed in self.given.seeds for arm in self.given.arms]
        left = self.runs.work([("untouched", 0), *jobs], do, self.chance)
        judge.close()
        return say("end", left=[f"{arm}/{seed}" for arm, seed in left])

    def chance(self, name: str, seed: int) -> Chance:
        """Return whether an arm has all that it needs: codes an encoder, a phone its teacher."""
        if name not in ARMS or not ARMS[name].needs_code:
            return "now"
        if self.encoder is None:
            return "never"
        if not ARMS[name].taught or self.weights(TEACHER, seed).is_file():
            return "now"
        return "later" if TEACHER in self.given.arms else "never"

    def job(
        self, name: str, seed: int, base: Base, recognizer: Recognizer, judge: Judge
    ) -> dict[str, Any] | None:
        """Train and test one arm; None if the time was over before."""
        started = time.monotonic()
        if name == "untouched":
            scores = self.tested(None, judge, name, seed, None)
            return {"arm": name, "what": "the degraded portrait", "seed": 0, "scores": scores}
        arm, plan = ARMS[name], self.plan(seed)
        network = network_of(arm, base, plan)
        place = self.place(self.out / "checkpoints" / f"{name}-{seed}", f"{base.sha256}/{name}")
        encoder = deepcopy(self.encoder) if arm.needs_code else None
        if not self.trained(arm, network, encoder, place, plan, base, recognizer):
            return None
        trained_s = round(time.monotonic() - started, 2)
        network.eval()
        self.weights(name, seed).parent.mkdir(exist_ok=True)
        if name in self.given.keep or name == TEACHER:
            save_file(halved(network), self.weights(name, seed))
            if encoder is not None and arm.tuned:  # its codes are the only ones that it knows
                save_file(halved(encoder.encoder), self.weights(f"{name}-encoder", seed))
        scores = self.tested(network, judge, name, seed, encoder)
        log = lines(place.folder / "log.jsonl")
        return {
            "arm": name,
            "what": arm.what,
            "seed": seed,
            "steps": log[-1]["step"],
            "asked_steps": self.given.steps,
            "batch": self.given.batch,
            "weights": asdict(plan.weights),
            "lr": plan.lr,
            "references": plan.references,
            "size_px": self.given.size,
            "train_s": trained_s,
            "wall_s": round(time.monotonic() - started, 2),
            "parameters": count_parameters(network),
            "trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
            "memory_bytes_per_reference": memory_bytes(base.shape, self.given.size),
            "last_terms": {k: v for k, v in log[-1].items() if isinstance(v, float)},
            "base_sha256": base.sha256,
            "device": self.name(),
            "scores": scores,
        }

    def trained(
        self,
        arm: Arm,
        network: nn.Module,
        encoder: CodeEncoder | None,
        place: Place,
        plan: Plan,
        base: Base,
        recognizer: Recognizer,
    ) -> bool:
        """Train an arm; False if the time is over before it is finished."""
        if arm.sampled:
            task = SampledTask(
                cast(OneStep, network),
                plan.sampler(self.train),
                self.device,
                batch=plan.batch,
                seed=plan.seed,
            )
            return place.run(task, "restorer", self.given.arm_s)
        teacher = None
        if arm.taught:
            teacher = network_of(ARMS[TEACHER], base, plan)
            teacher.load_state_dict(load_file(self.weights(TEACHER, plan.seed)))
            teacher = teacher.float().eval()
        return restorer_stage(
            place,
            replace(plan, weights=arm.weights(plan.weights)),
            self.train,
            network,
            recognizer,
            self.given.arm_s,
            codes=None if encoder is None else Codes(encoder, arm.tuned),
            teacher=teacher,
        )

    def tested(
        self,
        network: nn.Module | None,
        judge: Judge,
        name: str,
        seed: int,
        encoder: CodeEncoder | None,
    ) -> dict[str, Any]:
        """Return the scores of an arm under every condition, and keep pictures of seed 0."""
        scores: dict[str, Any] = {}
        slow = name in ARMS and ARMS[name].sampled
        blind = network is None or ARMS[name].form.conditioning == "none"
        for condition in judge.conditions()[: len(HARD) * len(self.test) if slow else None]:
            usual = replace(condition, references=USUAL, wrong=False).name
            if blind and usual in scores:
                scores[condition.name] = scores[usual]
                continue
            batch = judge.batch(condition)
            if network is None:
                made = batch.degraded.to(self.device).clamp(-1, 1)
            else:
                network = network.to(self.device)
                made = judge.made(self.restored(network, slow, encoder), batch)
            scores[condition.name] = judge.scored(made, batch)
            if seed == 0 and condition.severity != "mild" and network is not None:
                title = f"{name}-{condition.name}".replace("/", "-").replace(" ", "-")
                (self.out / "pictures").mkdir(exist_ok=True)
                columns = list(strips(made.cpu(), batch))
                write_preview(self.out / "pictures" / f"{title}.png", columns)
        return scores

    def restored(self, network: nn.Module, slow: bool, encoder: CodeEncoder | None) -> Any:
        """Return what makes pictures of a batch: one step, or fifty from one fixed noise."""

        def one(batch: FaceBatch) -> Tensor:
            restorer, code = cast(Restorer, network), None
            if encoder is not None:
                code = encoder(batch.references, batch.reference_mask)
            known = restorer.given(batch.references, batch.reference_mask, code)
            with half(self.device):
                made = restorer.restored(batch.degraded, known)
            return made.float()

        def many(batch: FaceBatch) -> Tensor:
            unet = cast(OneStep, network)
            memory = unet.given(batch.references, batch.reference_mask).memory
            dice = torch.Generator().manual_seed(0)
            noise = torch.randn(1, *batch.target.shape[1:], generator=dice).to(self.device)

            def velocity(noisy: Tensor, level: Tensor) -> Tensor:
                with half(self.device):
                    made: Tensor = unet.network(noisy, level, memory, batch.degraded, None)
                return made.float()

            return sampled(velocity, noise.expand_as(batch.target), steps=STEPS)

        return many if slow else one

    def base(self) -> Base | None:
        """Return the base: the given one, the one trained before, or a new one."""
        folder = self.given.base or self.out / "base"
        if not (folder / "manifest.json").is_file():
            place = replace(self.place(self.out / "checkpoints" / "base", "base"), steps=0)
            network = base_stage(place, self.plan(0), self.train, self.given.base_s)
            if network is None:
                return None
            facts = {"seconds": self.given.base_s, "device": self.name()}
            write_base(folder, network, size_px=self.given.size, recipe_sha256="0", facts=facts)
        return read_base(folder)

    def recognizer(self) -> Recognizer | None:
        """Return the net of the identity term, trained before or now."""
        path = self.out / "recognizer.safetensors"
        if not path.is_file():
            place = replace(self.place(self.out / "checkpoints" / "rec", "recognizer"), steps=0)
            network = recognizer_stage(place, self.plan(0), self.train, self.given.recognizer_s)
            if network is None:
                return None
            save_file({k: v.cpu().contiguous() for k, v in network.state_dict().items()}, path)
        network = fresh_recognizer(4 if self.given.small else 32, seed=0)
        network.load_state_dict(load_file(path))
        return network.to(self.device).eval().requires_grad_(False)

    def plan(self, seed: int) -> Plan:
        """Return what every arm is trained with."""
        words = dict(word.split("=") for word in self.given.weights)
        return Plan(
            size_px=self.given.size,
            batch=self.given.batch,
            seed=seed,
            toy=self.given.small,
            lr=self.given.lr,
            references=self.given.references,
            weights=TermWeights(**{name: float(value) for name, value in words.items()}),
        )

    def place(self, folder: Path, what: str) -> Place:
        """Return where a stage keeps its state."""
        given = self.given
        return Place(
            folder=folder,
            device=self.device,
            fingerprint=f"{what}/{given.size}/{given.batch}/{given.steps}/{given.weights}"
            f"/{given.lr}/{given.references}",
            steps=self.given.steps,
            stop_at=self.runs.ends,
            graphs=not self.given.no_graphs,
        )

    def weights(self, arm: str, seed: int) -> Path:
        """Return where a run's weights are kept."""
        folder: Path = self.out / "weights"
        return folder / f"{arm}-{seed}.safetensors"

    def _faces(self, folder: list[Path], split: Any) -> Faces:
        gray = not self.given.colour
        return load_faces(folder, split=split, size_px=self.given.size, gray=gray).to(self.device)

    def name(self) -> str:
        """Return the device in words."""
        return torch.cuda.get_device_name(0) if self.device.type == "cuda" else "processor"


def halved(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's weights as they are kept."""
    return {k: v.detach().half().cpu().contiguous() for k, v in network.state_dict().items()}


if __name__ == "__main__":
    main()
