"""Train a base of the paper's size, on the concepts and photos of the shipped one.

python benchmarks/e2gan/paper_base.py --photos P --out paper.safetensors --seconds 280
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from tasks import SIZE_PX, TEACHER_PX, teacher_sample

from edgekit.core.store import write_bytes
from edgekit.distill.base_pairs import BaseSettings, at_all_sizes, contexts_of, sampled_pairs
from edgekit.distill.fit_base import trained_generator
from edgekit.distill.fit_state import use_fast_products
from edgekit.distill.students.e2gan import E2GAN, fresh_e2gan
from edgekit.distill.teachers.corpus import read_corpus, train_bank
from edgekit.distill.teachers.vocabulary import BASE_CONCEPTS


def main() -> None:
    """Train it and write its weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=280.0)
    parser.add_argument("--pairs", type=int, default=1280)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    use_fast_products(torch.device(given.device))
    started = time.monotonic()

    def log(stage: str, **values: Any) -> None:
        row = {"stage": stage, "seconds": round(time.monotonic() - started, 1), **values}
        print(json.dumps(row), file=sys.stderr, flush=True)

    device = torch.device(given.device)
    settings = BaseSettings(
        concepts=BASE_CONCEPTS[:2] if given.small else BASE_CONCEPTS,
        seconds=given.seconds,
        sizes_px=(TEACHER_PX, SIZE_PX),
        pairs=given.pairs,
        batches=(given.batch,),
        lr=5e-4,
    )
    corpus = read_corpus(given.photos)
    bank = train_bank(corpus, size=TEACHER_PX, per_set=settings.crops // 2, seed=0, device=device)
    pairs = at_all_sizes(sampled_pairs(bank, settings, teacher_sample(given.device)), settings)[1:]
    log("pairs", concepts=len(settings.concepts), each=settings.pairs)
    contexts = contexts_of(settings.concepts, None)
    network = fresh_e2gan(seed=0, context_dim=contexts[0].shape[-1])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    trained, steps = trained_generator(
        network, settings, pairs, contexts, device, given.out.parent, log
    )
    state = trained.state_dict()
    values = {n: (v.half() if v.ndim > 1 else v).cpu().contiguous() for n, v in state.items()}
    write_bytes(given.out, save(values, metadata={"steps": str(steps)}))
    log("done", steps=steps)


def paper_base(path: Path, *, context_dim: int) -> E2GAN:
    """Read what `main` wrote."""
    network = fresh_e2gan(seed=0, context_dim=context_dim)
    values = load_file(path)
    network.load_state_dict(
        {n: v.float() if v.dtype == torch.float16 else v for n, v in values.items()}
    )
    return network.eval().requires_grad_(False)


if __name__ == "__main__":
    main()
