"""Folders of tar shards, an index and a recipe: their bytes, who may write, when one is done."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import webdataset

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.store import (
    MANIFEST,
    complete,
    file_sha256,
    read_json,
    read_manifest,
    write_bytes,
    write_json,
)


def claim(out: Path, recipe: Mapping[str, Any], *, place: str, what: str) -> None:
    """Write the recipe to the file `place` of `out`, whose shards are called ``WHAT-*.tar``.

    Raises EdgekitError for a folder that another recipe has begun, or that holds something else.
    """
    recipe = json.loads(json.dumps(recipe))  # as it will be read again: lists, not tuples
    if (out / place).is_file() and any(out.glob(f"{what}-*.tar")):
        found = read_json(out / place)
        other = sorted(
            key for key in recipe.keys() | found.keys() if recipe.get(key) != found.get(key)
        )
        if other:
            raise EdgekitError(
                f"{out} holds {what} that were made with another {' and '.join(other[:3])}",
                hint="choose another --out, or delete that folder",
            )
    elif (out / MANIFEST).is_file():
        raise EdgekitError(f"{out} holds something other than {what}", hint="choose another --out")
    write_json(out / place, recipe)


def finished(out: Path, recipe_sha256: str, *, kind: str, index: str) -> bool:
    """Tell whether nothing is left to do: the manifest is there and so is every byte it lists."""
    if not complete(out, kind=kind, recipe_sha256=recipe_sha256):
        return False
    manifest = read_manifest(out, kind=kind)
    listed = [(out / index, manifest["index_sha256"])]
    listed += [(out / shard["path"], shard["sha256"]) for shard in manifest["shards"]]
    return all(path.is_file() and file_sha256(path) == sha256 for path, sha256 in listed)


def line_of(entry: Any) -> str:
    """Return the line of the index for an entry, a dataclass; a shard has it too, as its JSON."""
    return json.dumps(asdict(entry), sort_keys=True, ensure_ascii=False)


def write_samples(path: Path, samples: Iterable[Mapping[str, Any]]) -> None:
    """Write one shard at once or not at all; a sample is ``__key__`` and the bytes of its files."""
    buffer = io.BytesIO()
    # A fixed time and owner: equal samples give equal bytes, on any day and machine.
    writer = webdataset.TarWriter(buffer, encoder=False, mtime=0, user="edgekit", group="edgekit")
    for sample in samples:
        writer.write(sample)
    writer.close()
    write_bytes(path, buffer.getvalue())


def read_samples(shard: Path, *, what: str) -> Iterator[dict[str, Any]]:
    """Yield the raw samples of a shard, as WebDataset groups them.

    Raises BadInput, which says that `what` ("pairs") have to be made again, if the shard is missing
    or damaged.
    """
    try:
        yield from webdataset.tariterators.tarfile_samples([{"url": str(shard)}])
    except Exception as error:  # webdataset re-raises whatever tarfile or the disk gave
        raise BadInput(
            f"{shard} cannot be read", hint=f"make the {what} again in a new folder"
        ) from error
