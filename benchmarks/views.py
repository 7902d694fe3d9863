"""Whether a teacher of views draws what it is asked for, from where it is asked to.

    edgekit teacher train --kind views --out TEACHER
    edgekit teacher train --kind judge --out JUDGE
    python benchmarks/views.py TEACHER JUDGE --out benchmarks/results/views_cpu.json

The judge is a classifier that shares no toy, view or weight with the teacher. Three arms are scored
on the same prompts and cameras: renders of toys that nobody was trained on (what a perfect teacher
scores), what the teacher drew, and what it drew scored against the next prompt and the next camera
(what a teacher that does not listen scores). `camera` needs no judge: is a picture nearer to the
render from its camera than to that from a quarter turn on?
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from edgekit.benchmarks.host import host_facts, load_average
from edgekit.benchmarks.runs import lines
from edgekit.core.store import read_json, write_json
from edgekit.distill.render.views import cameras_at, random_backgrounds, random_cameras
from edgekit.distill.teachers.views.guide import load_views
from edgekit.distill.teachers.views.judge import load_judge
from edgekit.distill.teachers.views.sampling import drawn
from edgekit.distill.teachers.views.score import eyes_expected, from_where, renders, scored
from edgekit.distill.teachers.views.world import prompts, split

UNSEEN_SEED = 30_000
"""Toys of neither the teacher's nor the judge's seeds."""


def main() -> None:
    """Score one teacher by one judge and write one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("judge", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--views", type=int, default=8, help="cameras a prompt")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0, 4.0])
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--diagonal", action="store_true", help="the 8 unseen prompts alone")
    parser.add_argument("--log", type=Path, help="log.jsonl of the training, kept with the scores")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    guide, judge = load_views(options.teacher, device), load_judge(options.judge, device)
    asked = [
        p for p in (split()[1] if options.diagonal else prompts()) for _ in range(options.views)
    ]
    generator = torch.Generator().manual_seed(options.seed)
    cameras = random_cameras(len(asked), generator, device)
    eyes = eyes_expected(asked, cameras)
    backgrounds = random_backgrounds(len(asked), generator, device)
    real = renders(asked, cameras, guide.size_px, backgrounds, seed=UNSEEN_SEED)
    arms = {"renders": scored(judge, real, asked, eyes)}
    arms["renders"]["camera"] = from_where(real, asked, cameras)
    shifted = asked[options.views :] + asked[: options.views]
    seconds = {}
    for guidance in options.guidance:
        begun = time.process_time()
        made = torch.cat(
            [
                drawn(
                    guide,
                    asked[start : start + 128],
                    cameras[start : start + 128],
                    steps=options.steps,
                    guidance=guidance,
                    seed=options.seed + start,
                )
                for start in range(0, len(asked), 128)
            ]
        )
        name = f"guidance {guidance:g}"
        seconds[name] = time.process_time() - begun
        arms[name] = scored(judge, made, asked, eyes)
        arms[name]["camera"] = from_where(made, asked, cameras)
        control = scored(judge, made, shifted, eyes.roll(1))
        control["camera"] = from_where(made, asked, cameras_at(cameras.yaw.roll(1), cameras.pitch))
        arms[f"{name}, next prompt and camera"] = control
    manifest = read_json(options.teacher / "manifest.json")
    facts = {name: manifest[name] for name in ("parameters", "steps", "seconds", "device", "size")}
    trained = {**facts, "batch": manifest["batch"], "prompts": manifest["prompts"]}
    result = {
        "protocol": {
            "prompts": len(set(asked)),
            "views": options.views,
            "steps": options.steps,
            "seed": options.seed,
            "judge": read_json(options.judge / "manifest.json")["accuracy"],
        },
        "teacher": trained,
        "log": lines(options.log) if options.log else [],
        "arms": arms,
        "cpu_seconds": seconds,
        "host": host_facts(),
        "load": load_average(),
    }
    write_json(options.out, result)
    for name, each in arms.items():
        print(f"{name:40}", "  ".join(f"{key} {value:.3f}" for key, value in each.items()))


if __name__ == "__main__":
    main()
