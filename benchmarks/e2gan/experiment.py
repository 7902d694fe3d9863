"""Run arms of the E2GAN experiment and write one line a run, with its whole curve.

    python benchmarks/e2gan/experiment.py --photos P --emoji E --out runs/e2gan --plan main

Every finished run is a line of OUT/runs.jsonl; a line that is there is not run again. The process
ends by itself after --seconds. Pairs lie on the device as bytes, so no arm waits for data; the
seconds of a curve count training and validation, synchronized with the device, and not the test
scores. `table.py` makes docs/evidence/e2gan.md of the lines.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arms import Arm, Built, built, frozen_sha256, named, saved_bytes
from paper_base import paper_base
from PIL import Image
from place import ADVERSARIAL, BATCH, Place, device_name, say, settings_of, warm_up
from scores import Judge
from tasks import (
    CONCEPTS,
    EMOJI,
    POOL,
    SEARCHED_ON,
    Task,
    emoji_base_pairs,
    emoji_task,
    photo_tasks,
)
from torch import nn

from edgekit.distill.base import load_base
from edgekit.distill.base_pairs import BasePairs, BaseSettings
from edgekit.distill.fit_base import trained_generator
from edgekit.distill.fit_gan import fit_gan
from edgekit.distill.fit_state import FitData, use_fast_products
from edgekit.distill.frechet import embedded
from edgekit.distill.pairs.clusters import selected
from edgekit.distill.ranks import as_ranks
from edgekit.distill.students.cost import count_parameters
from edgekit.distill.students.gan import Generator, fresh_generator
from edgekit.distill.students.text_context import text_context
from rank_search import needs_ranks, search, searched

RESERVE_S = 12.0
"""No run is begun with less time left than it took the last one of its arm, plus this."""

Job = tuple[str, str, int]
"""Prompt, arm, seed."""


def main() -> None:
    """Run what the plan names and is not done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--emoji", type=Path)
    parser.add_argument("--base", type=Path, help="base folder; default: the shipped one")
    parser.add_argument("--paper-base", type=Path, help="weights written by paper_base.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", nargs="+", required=True, help="ARM,ARM:PROMPT|all:SEED,SEED ...")
    parser.add_argument("--ranks", type=Path, help="file of the searched ranks; waited for")
    parser.add_argument("--search-s", type=float, default=0, help="first search ranks and write it")
    parser.add_argument("--emoji-base-s", type=float, default=90.0)
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--share", default="0/1", help="which part of the prompts: 0/2, 1/2")
    parser.add_argument("--done", type=Path, nargs="*", default=[], help="lines not to run again")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pool", type=int, default=POOL, help="training pairs made of a concept")
    parser.add_argument("--judged", type=int, default=100, help="validation and test pairs")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--adversarial", type=float, default=ADVERSARIAL)
    parser.add_argument("--small", action="store_true", help="toy sizes: does it run?")
    given = parser.parse_args()
    use_fast_products(torch.device(given.device))
    given.out.mkdir(parents=True, exist_ok=True)
    place = Place(
        given.out,
        given.device,
        time.monotonic() + given.seconds,
        given.small,
        48 if given.small else given.pool,
        8 if given.small else given.judged,
        4 if given.small else given.batch,
        given.adversarial,
    )
    jobs = list(planned(given.jobs, given.share))
    done = finished([*given.done, given.out / "runs.jsonl"])
    say(place, "begin", jobs=len(jobs), done=len(done), device=device_name(given.device))
    run_all(place, [job for job in jobs if job not in done], given)
    say(place, "end")


def planned(specs: Sequence[str], share: str) -> Iterator[Job]:
    """Yield the jobs of the specs, those of this share of the prompts alone."""
    mine, parts = (int(text) for text in share.split("/"))
    for spec in specs:
        arms, prompts, seeds = spec.split(":")
        chosen = list(CONCEPTS) if prompts == "all" else [prompts.replace("_", " ")]
        if prompts == "emoji":
            chosen = [EMOJI]
        if prompts == "searched":
            chosen = [SEARCHED_ON]
        for seed in seeds.split(","):
            for number, prompt in enumerate(chosen):
                for arm in arms.split(","):
                    if len(chosen) == 1 or number % parts == mine:
                        yield prompt, arm, int(seed)


def finished(files: Sequence[Path]) -> set[Job]:
    """Return the jobs that have a line."""
    lines = [line for file in files if file.is_file() for line in file.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    return {(row["prompt"], row.get("spec", row["arm"]), row["seed"]) for row in rows}


def run_all(place: Place, jobs: Sequence[Job], given: argparse.Namespace) -> None:
    """Run the jobs in their order; pairs and bases are made when first asked for."""
    base = load_base(given.base)
    dim = base.generator.shape.context_dim
    paper = paper_base(given.paper_base, context_dim=dim) if given.paper_base else None
    bases: dict[str, Generator] = {}
    tasks: dict[str, Task] = {}
    judges: dict[str, Judge] = {}
    if given.search_s:
        search(place, given.photos, given.ranks, base, seconds=given.search_s)
    prompts = list(dict.fromkeys(p for p, _, _ in jobs if p != EMOJI))
    if prompts:
        for task in photo_tasks(
            given.photos, prompts, device=place.device, pool=place.pool, judged=place.judged
        ):
            tasks[task.prompt] = task
            bases[task.prompt] = base.generator
            say(place, "pairs", prompt=task.prompt, seconds=round(task.teacher_s, 1))
    if any(p == EMOJI for p, _, _ in jobs):
        tasks[EMOJI] = emoji_task(given.emoji)
        bases[EMOJI] = emoji_base(place, given.emoji, given.emoji_base_s, base.generator)
    took: dict[str, float] = {}
    for prompt, arm, seed in jobs:
        if took.get(arm, 0.0) + RESERVE_S > place.left_s():
            continue
        started = time.monotonic()
        task = tasks[prompt]
        if prompt not in judges:
            judges[prompt] = Judge(task.test, task.context, place.device)
        ranks = searched(place, given.ranks) if needs_ranks(named(arm)) else as_ranks(4)
        made = built(named(arm), bases[prompt], ranks, seed=seed, paper=paper)
        warm_up(place, task, named(arm), made.network)
        row = run_one(place, task, judges[prompt], named(arm), made, seed)
        took[arm] = time.monotonic() - started
        of_base = base.sha256[:12] if bases[prompt] is base.generator else "icons"
        line = {
            "arm": named(arm).name,
            "spec": arm,
            "base": of_base if named(arm).start == "base" else None,
            "wall_s": round(took[arm], 2),
            **row,
        }
        with (place.out / "runs.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        say(place, "run", arm=arm, prompt=prompt, seed=seed, **row["final"], s=row["seconds"])


def run_one(
    place: Place, task: Task, judge: Judge, arm: Arm, made: Built, seed: int
) -> dict[str, Any]:
    """Train one arm and return its line."""
    before = frozen_sha256(made.network) if made.ranks else None
    sources, edits, selection_s = chosen_pairs(task, arm, seed, place.device)
    settings = settings_of(place, arm, seed)
    curve: list[dict[str, Any]] = []

    def watch(network: nn.Module, step: int, seconds: float) -> bool:
        scores = judge.scored(judge.made(network))
        curve.append({"step": step, "seconds": round(seconds, 3), **rounded(scores)})
        return False

    with tempfile.TemporaryDirectory() as folder:
        data = FitData(sources, edits, *task.val)
        result = fit_gan(
            made.network,
            data,
            settings,
            folder=Path(folder),
            context=task.context,
            device=place.device,
            watch=watch,
        )
        size = saved_bytes(Path(folder), made)
    made.network.eval()
    photos = judge.made(made.network)
    strip(place, task, arm, seed, judge, photos)
    made.network.cpu()
    return {
        "prompt": task.prompt,
        "kind": task.kind,
        "seed": seed,
        "what": arm.what,
        "settings": asdict(arm),
        "ranks": made.ranks,
        "batch": settings.batch,
        "size_px": int(sources.shape[1]),
        "pairs": len(sources),
        "pairs_sha256": task.sha256,
        "test": len(photos),
        "teacher_s": round(task.teacher_s, 2),
        "selection_s": round(selection_s, 3),
        "parameters": count_parameters(made.network),
        "trainable": sum(p.numel() for p in made.network.parameters() if p.requires_grad),
        "bytes": size,
        "frozen_kept": before == frozen_sha256(made.network) if made.ranks else None,
        "seconds": round(result.seconds, 3),
        "best_step": result.best_step,
        "final": rounded({**judge.scored(photos), **judge.more(photos)}),
        "untouched": rounded({**judge.scored(judge.untouched), **judge.more(judge.untouched)}),
        "curve": curve,
        "device": device_name(place.device),
    }


def chosen_pairs(
    task: Task, arm: Arm, seed: int, device: str
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the training pairs of an arm, chosen by their sources, and the seconds it took."""
    started = time.monotonic()
    sources, edits = task.train
    count = min(arm.pairs, len(sources))
    if arm.method == "random":
        rows = np.random.default_rng((seed, 5)).permutation(len(sources))[:count]
    else:
        rows = selected(embedded(sources, device=device, batch=100), count, arm.method, seed)
    return sources[rows], edits[rows], time.monotonic() - started


def emoji_base(place: Place, folder: Path, seconds: float, like: Generator) -> Generator:
    """Train the base of the icons: every direction between styles but those to the held-out one."""
    prompts, pairs = emoji_base_pairs(folder)
    device = torch.device(place.device)
    pairs = BasePairs(pairs.sources.to(device), pairs.edits.to(device))
    settings = BaseSettings(
        concepts=prompts,
        seconds=10.0 if place.small else seconds,
        sizes_px=(128,),
        batches=(4 if place.small else 96,),
        discriminator_width=16 if place.small else 48,
    )
    contexts = [text_context(prompt)[None] for prompt in prompts]
    started = time.monotonic()

    def log(stage: str, **values: Any) -> None:
        say(place, f"icons' base: {stage}", **values)

    generator, steps = trained_generator(
        fresh_generator(like.shape, seed=0), settings, [pairs], contexts, device, place.out, log
    )
    say(place, "icons' base", steps=steps, seconds=round(time.monotonic() - started, 1))
    return deepcopy(generator).float().cpu().eval().requires_grad_(False)


def rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Return scores with the digits that mean something."""
    return {name: float(f"{value:.6g}") for name, value in scores.items()}


def strip(place: Place, task: Task, arm: Arm, seed: int, judge: Judge, photos: np.ndarray) -> None:
    """Keep a few pictures of seed 0 to look at: source, answer, made."""
    if seed:
        return
    picks = np.linspace(0, len(photos) - 1, 8).astype(int)
    rows = [
        np.concatenate(list(bank[picks]), 1) for bank in (judge.untouched, judge.photos, photos)
    ]
    name = f"{task.prompt}-{arm.name}".replace(" ", "_")
    Image.fromarray(np.concatenate(rows)).save(place.out / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    main()
