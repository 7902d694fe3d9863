"""Make pairs: crops of photos, a teacher's edits of them, scores, shards.

The work is cut into shards of fixed contents: which pairs a shard holds, and which of them a
teacher edits together, follows from settings and batch size alone (see `shards`). A killed run
therefore leaves whole shards or none of one, and continuing it gives the bytes of a run that was
never killed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgekit.core.errors import QualityFailed
from edgekit.core.progress import Report, silent
from edgekit.core.seams import Teacher
from edgekit.core.store import (
    MANIFEST,
    file_sha256,
    finish_folder,
    locked,
    value_sha256,
    write_bytes,
)
from edgekit.distill.pairs.quality import duplicates
from edgekit.distill.pairs.settings import PairSettings
from edgekit.distill.pairs.shards import all_shards
from edgekit.distill.pairs.sources import Sources, open_sources
from edgekit.distill.pairs.store import (
    INDEX,
    KIND,
    PairEntry,
    PairSet,
    open_pairs,
)
from edgekit.distill.shard_folders import claim, finished, line_of

RECIPE = "recipe.json"
FORMAT = 1
"""Raised when the same settings would give other bytes than before."""


def make_pairs(
    settings: PairSettings, teacher: Teacher, out: Path, *, report: Report = silent
) -> PairSet:
    """Make the pairs of `settings` with `teacher` in the folder `out`, or continue there.

    A folder that is complete for the same settings, photos and teacher is opened as it is.
    Raises BadInput for photos or a prompt that cannot be used, OutputError if `out` cannot be
    written, EdgekitError if `out` holds pairs made otherwise, QualityFailed if no training pair or
    no held-out pair passes (the folder is then complete and can be inspected).
    """
    out = Path(out)
    check = getattr(teacher, "check_prompt", None)
    if check is not None:  # before any crop is edited, and before `out` exists
        check(settings.prompt)
    sources = open_sources(
        settings.photos,
        size_px=settings.size_px,
        limit=settings.pool_size,
        seed=settings.seed,
        heldout=settings.heldout,
        report=report,
    )
    recipe = _recipe(settings, teacher, sources)
    recipe_sha256 = value_sha256(recipe)
    with locked(out):
        if not finished(out, recipe_sha256, kind=KIND, index=INDEX):
            claim(out, recipe, place=RECIPE, what="pairs")
            (out / MANIFEST).unlink(missing_ok=True)
            entries = all_shards(settings, teacher, sources, out, report)
            _finish(out, entries, recipe_sha256, settings, teacher, sources)
    return _checked(open_pairs(out))


def _recipe(settings: PairSettings, teacher: Teacher, sources: Sources) -> dict[str, Any]:
    sampling: Mapping[str, Any] = getattr(teacher, "sampling", {})
    return {
        "format": FORMAT,
        **settings.recipe(),
        "teacher": teacher.identity,
        "sampling": dict(sampling),
        "photos": [list(pair) for pair in zip(sources.names, sources.hashes, strict=True)],
    }


def _finish(
    out: Path,
    entries: Sequence[PairEntry],
    recipe_sha256: str,
    settings: PairSettings,
    teacher: Teacher,
    sources: Sources,
) -> None:
    judged = _without_duplicates(entries, settings)
    write_bytes(out / INDEX, "".join(line_of(entry) + "\n" for entry in judged).encode())
    kept = [entry for entry in judged if entry.kept]
    shards = sorted({entry.shard for entry in entries})
    finish_folder(
        out,
        kind=KIND,
        recipe_sha256=recipe_sha256,
        facts={
            "teacher": teacher.identity,
            "sampling": dict(getattr(teacher, "sampling", {})),
            "prompt": settings.prompt,
            "size_px": settings.size_px,
            "seed": settings.seed,
            "pairs": len(kept),
            "train": sum(entry.split == "train" for entry in kept),
            "heldout": sum(entry.split == "heldout" for entry in kept),
            "rejected": len(judged) - len(kept),
            "split_by": sources.split_by,
            **_selection(settings),
            "bars": asdict(settings.bars),
            "photos": list(sources.names),
            "skipped": [asdict(skipped) for skipped in sources.skipped],
            "shards": [
                {
                    "path": name,
                    "sha256": file_sha256(out / name),
                    "bytes": (out / name).stat().st_size,
                }
                for name in shards
            ],
            "index_sha256": file_sha256(out / INDEX),
            "licences": {
                "photos": sources.licence,
                "edits": f"that of the teacher {teacher.identity}",
            },
        },
    )


def _selection(settings: PairSettings) -> dict[str, Any]:
    if not settings.select:
        return {}
    chosen = {"method": settings.select, "pool": settings.pool_size, "seed": settings.seed}
    return {"selection": {**chosen, "features": "EfficientNet-Lite0, 1280, sources"}}


def _without_duplicates(entries: Sequence[PairEntry], settings: PairSettings) -> list[PairEntry]:
    """Reject pairs whose source repeats another one's; only pairs that are kept count."""
    good = [i for i, entry in enumerate(entries) if entry.kept]
    twins = duplicates(
        [entries[i].scores.source_hash for i in good],
        [entries[i].split == "heldout" for i in good],
        settings.bars,
    )
    judged = list(entries)
    for copy, twin in twins.items():
        reason = f"the source nearly repeats that of {entries[good[twin]].key}"
        judged[good[copy]] = replace(entries[good[copy]], kept=False, reason=reason)
    return judged


def _checked(pairs: PairSet) -> PairSet:
    for split in ("train", "heldout"):
        if not any(entry.split == split for entry in pairs.entries):
            reasons = [entry.reason or "" for entry in pairs.rejected if entry.split == split]
            common = max(set(reasons), key=reasons.count) if reasons else "there is none"
            raise QualityFailed(
                f"no {split} pair passed the quality check: {common}",
                hint=f"look at them with `edgekit pairs inspect {pairs.folder}`, then change the "
                "prompt, the photos or the teacher",
            )
    return pairs
