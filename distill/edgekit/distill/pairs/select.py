"""A folder of few pairs that stand for many: the same held-out pairs, fewer to train on.

The pictures are copied as they lie in the shards, byte for byte. Held-out pairs are never looked
at and all kept, so that students of different selections are judged alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.errors import BadInput, EdgekitError, unknown_name
from edgekit.core.progress import Report, silent
from edgekit.core.store import (
    MANIFEST,
    complete,
    file_sha256,
    finish_folder,
    locked,
    read_manifest,
    value_sha256,
    write_bytes,
)
from edgekit.distill.frechet import FEATURES, embedded
from edgekit.distill.pairs.clusters import METHODS, Features, selected
from edgekit.distill.pairs.make import RECIPE
from edgekit.distill.pairs.store import (
    INDEX,
    KIND,
    PairEntry,
    PairSet,
    open_pairs,
    write_shard,
)
from edgekit.distill.shard_folders import line_of, read_samples

FORMAT = 1
"""Raised when the same arguments would choose other pairs than before."""
SHARD_PAIRS = 64
LEAST = 4
"""Fewer pairs cannot be trained on, see `edgekit.distill.distill`."""


def pair_features(pairs: PairSet, entries: Sequence[PairEntry], *, edits: bool = False) -> Features:
    """Return EfficientNet-Lite0 features of the sources of `entries`, one row each.

    With `edits` those of the edits stand beside them, each half with the same weight.
    """
    pictures, edited = pairs.load(entries)
    rows: Features = embedded(pictures)
    if not edits:
        return rows
    halves = [
        half / np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-12)
        for half in (rows, embedded(edited))
    ]
    return np.concatenate(halves, axis=1)


def select_pairs(
    folder: Path,
    out: Path,
    *,
    count: int,
    method: str = "kmeans",
    seed: int = 0,
    edits: bool = False,
    report: Report = silent,
) -> PairSet:
    """Write the `count` training pairs of `folder` that stand for all, and every held-out one.

    `method` is one of `METHODS`, see `selected`; `edits` compares the edits too, not the sources
    alone. A folder `out` that holds this very selection is opened as it is.

    Raises EdgekitError for an unknown method, a count that cannot be chosen, or an `out` that
    holds something else; BadInput for pairs that cannot be read; OutputError if `out` cannot be
    written. All but the last two come before any work.
    """
    pairs, out = open_pairs(folder), Path(out)
    training = pairs.split("train")
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if not LEAST <= count <= len(training):
        raise EdgekitError(
            f"count = {count}, and {folder} holds {len(training)} pairs to train on",
            hint=f"choose from {LEAST} to {len(training)}, or make more pairs",
        )
    if out.resolve() == Path(folder).resolve():
        raise EdgekitError(f"--out is {folder} itself", hint="choose another --out")
    values = {
        "format": FORMAT,
        "method": method,
        "count": count,
        "seed": seed,
        "features": f"EfficientNet-Lite0, {FEATURES}, "
        + ("sources and edits" if edits else "sources"),
        "from": {
            "recipe_sha256": pairs.manifest["recipe_sha256"],
            "index_sha256": pairs.manifest["index_sha256"],
            "train": len(training),
        },
    }
    sha256 = value_sha256(values)
    with locked(out):
        if _finished(out, sha256):
            return open_pairs(out)
        if (out / MANIFEST).is_file() or (out / RECIPE).is_file():
            raise EdgekitError(
                f"{out} holds something made otherwise", hint="choose another --out, or delete it"
            )
        started = time.monotonic()
        report("features", 0, len(training))
        rows = selected(pair_features(pairs, training, edits=edits), count, method, seed)
        report("features", len(training), len(training))
        kept = {training[row].key for row in rows} | {e.key for e in pairs.split("heldout")}
        entries = _copied(pairs, [entry for entry in pairs.entries if entry.key in kept], out)
        chosen = [training[row].key for row in rows]
        seconds = round(time.monotonic() - started, 2)
        _finish(pairs, entries, out, sha256, {**values, "chosen": chosen, "seconds": seconds})
    return open_pairs(out)


def _finished(out: Path, sha256: str) -> bool:
    if not complete(out, kind=KIND, recipe_sha256=sha256):
        return False
    manifest = read_manifest(out, kind=KIND)
    listed = [(INDEX, manifest["index_sha256"])]
    listed += [(shard["path"], shard["sha256"]) for shard in manifest["shards"]]
    return all((out / name).is_file() and file_sha256(out / name) == sha for name, sha in listed)


def _copied(pairs: PairSet, entries: Sequence[PairEntry], out: Path) -> list[PairEntry]:
    """Write shards of `entries` below `out` and return them with their new places."""
    raw = {
        sample["__key__"]: (sample["source.png"], sample["edit.png"])
        for shard in dict.fromkeys(entry.shard for entry in entries)
        for sample in read_samples(pairs.folder / shard, what=KIND)
    }
    moved: list[PairEntry] = []
    for number, start in enumerate(range(0, len(entries), SHARD_PAIRS)):
        name = f"pairs-{number:06d}.tar"
        part = [replace(entry, shard=name) for entry in entries[start : start + SHARD_PAIRS]]
        if lost := [entry.key for entry in part if entry.key not in raw]:
            raise BadInput(
                f"{pairs.folder} lacks the pair {lost[0]}",
                hint="make the pairs again in a new folder",
            )
        write_shard(out / name, [(entry, *raw[entry.key]) for entry in part])
        moved += part
    return moved


def _finish(
    pairs: PairSet,
    entries: Sequence[PairEntry],
    out: Path,
    sha256: str,
    selection: dict[str, Any],
) -> None:
    write_bytes(out / INDEX, "".join(line_of(entry) + "\n" for entry in entries).encode())
    held = sum(entry.split == "heldout" for entry in entries)
    inherited = {
        key: value
        for key, value in pairs.manifest.items()
        if key not in ("kind", "schema", "recipe_sha256")
    }
    facts = {
        **inherited,
        "pairs": len(entries),
        "train": len(entries) - held,
        "heldout": held,
        "rejected": 0,
        "shards": [
            {
                "path": name,
                "sha256": file_sha256(out / name),
                "bytes": (out / name).stat().st_size,
            }
            for name in sorted({entry.shard for entry in entries})
        ],
        "index_sha256": file_sha256(out / INDEX),
        "selection": selection,
    }
    finish_folder(out, kind=KIND, recipe_sha256=sha256, facts=facts)
