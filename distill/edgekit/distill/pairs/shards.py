"""The work of a set of pairs: shard by shard, the teacher and the processor both busy.

Which pairs a shard holds, and which of them a teacher edits together, follows from the settings and
the teacher's batch size alone, so that a killed run is continued with the same bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from edgekit.core.progress import Report
from edgekit.core.seams import Teacher
from edgekit.core.tensors import Photo
from edgekit.distill.pairs.jobs import Job, job_crop, jobs_of, pair_seed
from edgekit.distill.pairs.quality import rejection, scores
from edgekit.distill.pairs.settings import PairSettings
from edgekit.distill.pairs.sources import Crop, Sources
from edgekit.distill.pairs.store import PairEntry, encoded, shard_entries, write_shard

MOST_WORKERS = 16
"""Threads that cut, score and encode; NumPy, SciPy and Pillow compute outside Python's lock."""
_Pair = tuple[PairEntry, bytes, bytes]


@dataclass(frozen=True, slots=True)
class _Shard:
    """A shard before any work: its file's name and its pairs."""

    name: str
    jobs: Sequence[Job]


@dataclass(frozen=True, slots=True)
class _Edit:
    """One edited pair before it is scored."""

    job: Job
    shard: str
    crop: Crop
    variation: str | None
    source: Photo
    edit: Photo


@dataclass(frozen=True, slots=True)
class _Made:
    """Shards whose pairs are being scored and encoded by other threads."""

    shards: Sequence[_Shard]
    pairs: Sequence[Future[_Pair]]


def all_shards(
    settings: PairSettings, teacher: Teacher, sources: Sources, out: Path, report: Report
) -> list[PairEntry]:
    """Make the shards that are missing in `out`; return the entries of all, in order.

    While the teacher edits some, other threads cut the crops of the next ones and score, encode and
    write the last ones. What a teacher has edited is written, whatever becomes of the next edit.
    """
    jobs = jobs_of(settings, sources, report)
    shards = [
        _Shard(f"pairs-{number:06d}.tar", jobs[start : start + settings.shard_pairs])
        for number, start in enumerate(range(0, len(jobs), settings.shard_pairs))
    ]
    done = {shard.name: found for shard in shards if (found := _intact(out, shard)) is not None}
    groups = [
        group
        for group in _grouped(shards, settings, teacher)
        if any(shard.name not in done for shard in group)
    ]
    if groups:
        calm = replace(sources, load=_one_at_a_time(sources.load))
        _make(groups, done, settings, teacher, calm, out, report)
    report("pairs", len(jobs), len(jobs))
    return [entry for shard in shards for entry in done[shard.name]]


def _one_at_a_time(load: Callable[[int], Photo]) -> Callable[[int], Photo]:
    """Let only one thread open a photo: it may have 50 megapixels, and a second one may want it."""
    gate = Lock()

    def opened(index: int) -> Photo:
        with gate:
            return load(index)

    return opened


def _intact(out: Path, shard: _Shard) -> list[PairEntry] | None:
    found = shard_entries(out / shard.name)
    if found is None or [entry.key for entry in found] != [job.key for job in shard.jobs]:
        return None
    return found


def _grouped(
    shards: Sequence[_Shard], settings: PairSettings, teacher: Teacher
) -> list[Sequence[_Shard]]:
    """Cut the shards into groups that fill a batch of the teacher; all but the last are full."""
    sampling: Mapping[str, Any] = getattr(teacher, "sampling", {})
    each = max(1, int(sampling.get("batch_size", 1)) // settings.shard_pairs)
    return [shards[start : start + each] for start in range(0, len(shards), each)]


def _make(
    groups: Sequence[Sequence[_Shard]],
    done: dict[str, list[PairEntry]],
    settings: PairSettings,
    teacher: Teacher,
    sources: Sources,
    out: Path,
    report: Report,
) -> None:
    """Make `groups` and put their entries into `done`."""
    count = sum(len(shard.jobs) for group in groups for shard in group)
    ready = sum(len(entries) for entries in done.values())
    report("pairs", ready, ready + count)

    def written(made: _Made | None) -> None:
        if made is not None:
            done.update(_written(made, out, done))
            now = sum(len(entries) for entries in done.values())
            report("pairs", now, max(now, ready + count))

    with ThreadPoolExecutor(_workers()) as pool:

        def cut(number: int) -> list[Future[tuple[Crop, Photo]]]:
            jobs = [job for shard in groups[number] for job in shard.jobs]
            return [pool.submit(job_crop, job, settings, sources) for job in jobs]

        crops, made = cut(0), None
        try:
            for number, group in enumerate(groups):
                taken = [crop.result() for crop in crops]
                crops = cut(number + 1) if number + 1 < len(groups) else []
                last, made = made, None
                try:
                    edits = _edited(settings, teacher, group, taken, pool)
                finally:
                    written(last)
                pairs = [pool.submit(_pair, settings, teacher, sources, edit) for edit in edits]
                made = _Made(group, pairs)
        finally:
            for crop in crops:
                crop.cancel()
            written(made)


def _workers() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MOST_WORKERS, cores or 1)


def _written(made: _Made, out: Path, done: Mapping[str, Any]) -> dict[str, list[PairEntry]]:
    """Write the shards of a group that are not there yet; return the entries of each."""
    rows = iter(made.pairs)
    entries = {}
    for shard in made.shards:
        pairs = [next(rows).result() for _ in shard.jobs]
        if shard.name not in done:
            write_shard(out / shard.name, pairs)
            entries[shard.name] = [entry for entry, _, _ in pairs]
    return entries


def _edited(
    settings: PairSettings,
    teacher: Teacher,
    group: Sequence[_Shard],
    cut: Sequence[tuple[Crop, Photo]],
    pool: ThreadPoolExecutor,
) -> list[_Edit]:
    """Let the teacher edit the crops of a group together."""
    jobs = [job for shard in group for job in shard.jobs]
    names = [shard.name for shard in group for _ in shard.jobs]
    pictures = [picture for _, picture in cut]
    variations = _vary(settings, teacher, jobs, pictures, pool)
    batch = np.stack(pictures)
    edits = teacher.edit(batch, settings.prompt, seed=[job.seed for job in jobs])
    if edits.shape != batch.shape:
        raise ValueError(f"the teacher gave {edits.shape} for {batch.shape}")
    crops = [crop for crop, _ in cut]
    rows = zip(jobs, names, crops, variations, batch, edits, strict=True)
    return [_Edit(*row) for row in rows]


def _vary(
    settings: PairSettings,
    teacher: Teacher,
    jobs: Sequence[Job],
    pictures: list[Photo],
    pool: ThreadPoolExecutor,
) -> list[str | None]:
    """Replace sources by the teacher's variations of them; a bad variation leaves the crop."""
    applied: list[str | None] = [None] * len(jobs)
    for prompt in dict.fromkeys(job.variation for job in jobs if job.variation):
        places = [i for i, job in enumerate(jobs) if job.variation == prompt]
        varied = teacher.edit(
            np.stack([pictures[i] for i in places]),
            prompt,
            seed=[pair_seed(settings.seed, jobs[i].index, "source") for i in places],
        )
        judged = list(pool.map(scores, [pictures[i] for i in places], varied))
        for i, picture, found in zip(places, varied, judged, strict=True):
            if rejection(found, settings.bars, size_px=settings.size_px) is None:
                pictures[i], applied[i] = picture, prompt
    return applied


def _pair(settings: PairSettings, teacher: Teacher, sources: Sources, made: _Edit) -> _Pair:
    """Score and encode one pair: a function of its arguments alone, on any thread."""
    found = scores(made.source, made.edit)
    reason = rejection(found, settings.bars, size_px=settings.size_px)
    first, second = encoded(made.source), encoded(made.edit)
    entry = PairEntry(
        key=made.job.key,
        shard=made.shard,
        split=made.job.split,
        seed=made.job.seed,
        prompt=settings.prompt,
        teacher=teacher.identity,
        photo=sources.names[made.crop.photo],
        box=(made.crop.top, made.crop.left, made.crop.side),
        flipped=made.crop.flipped,
        variation=made.variation,
        source_sha256=hashlib.sha256(first).hexdigest(),
        edit_sha256=hashlib.sha256(second).hexdigest(),
        scores=found,
        kept=reason is None,
        reason=reason,
    )
    return entry, first, second
