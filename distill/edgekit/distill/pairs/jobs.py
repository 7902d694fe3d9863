"""Which pairs are to be made: crops, splits and seeds, all known before any teacher runs.

With a method of selection many more crops are drawn than pairs are wanted, and only those that
stand for all are edited: the teacher is what costs time. Held-out pairs are never chosen among.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.core.progress import Report
from edgekit.core.tensors import Photo
from edgekit.distill.pairs.clusters import selected
from edgekit.distill.pairs.settings import PairSettings, is_heldout
from edgekit.distill.pairs.sources import Crop, Sources, draw_crop
from edgekit.distill.pairs.store import Split


@dataclass(frozen=True, slots=True)
class Job:
    """One pair before any teacher has run."""

    index: int
    key: str
    split: Split
    turn: int
    """How many pairs of its split come before it: photos take turns."""
    seed: int
    variation: str | None


def pair_seed(seed: int, index: int, purpose: str = "edit") -> int:
    """Return the seed of one pair: a hash, so that neighbouring seeds share nothing.

    >>> pair_seed(0, 1) != pair_seed(1, 0)
    True
    """
    digest = hashlib.sha256(f"{seed}/{index}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def jobs_of(settings: PairSettings, sources: Sources, report: Report) -> list[Job]:
    """Return the pairs to make in their order; a selection looks at crops of `sources` first."""
    jobs = _listed(settings, settings.count)
    if not settings.select:
        return jobs
    held = [job for job in jobs if job.split == "heldout"]
    pool = [job for job in _listed(settings, settings.pool_size) if job.split == "train"]
    chosen = _chosen(settings, sources, pool, len(jobs) - len(held), report)
    return sorted([*held, *chosen], key=lambda job: job.index)


def job_crop(job: Job, settings: PairSettings, sources: Sources) -> tuple[Crop, Photo]:
    """Cut the source of one pair."""
    return draw_crop(
        sources.regions(job.split),
        job.turn,
        sources.load,
        size_px=settings.size_px,
        seed=pair_seed(settings.seed, job.index, "crop"),
    )


def _listed(settings: PairSettings, count: int) -> list[Job]:
    usable = settings.usable_variations
    turns: dict[Split, int] = {"train": 0, "heldout": 0}
    jobs = []
    for index in range(count):
        held = is_heldout(index, max(settings.heldout, 1 / settings.count))
        split: Split = "heldout" if held else "train"
        draw = np.random.default_rng(pair_seed(settings.seed, index, "variation"))
        # Held-out pairs always start from a real photo: that is what a phone will see.
        varied = bool(usable) and not held and draw.random() < settings.variation
        jobs.append(
            Job(
                index=index,
                key=f"{index:06d}",
                split=split,
                turn=turns[split],
                seed=pair_seed(settings.seed, index),
                variation=usable[int(draw.integers(len(usable)))] if varied else None,
            )
        )
        turns[split] += 1
    return jobs


def _chosen(
    settings: PairSettings, sources: Sources, pool: Sequence[Job], count: int, report: Report
) -> list[Job]:
    from edgekit.distill.frechet import embedded  # loads a network, for selections only

    # Turns go photo by photo; grouped by photo, each is decoded once and not once a round.
    photos = len(sources.train)
    order = sorted(range(len(pool)), key=lambda place: (pool[place].turn % photos, place))
    pictures: list[Photo | None] = [None] * len(pool)
    for done, place in enumerate(order):
        pictures[place] = job_crop(pool[place], settings, sources)[1]
        report("choose", done, len(pool))
    features = embedded(np.stack([picture for picture in pictures if picture is not None]))
    report("choose", len(pool), len(pool))
    return [pool[row] for row in selected(features, count, settings.select, settings.seed)]
