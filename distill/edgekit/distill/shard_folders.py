"""Folders of tar shards with an index and a recipe: who may write into one, and when it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit.core.errors import EdgekitError
from edgekit.core.store import MANIFEST, complete, file_sha256, read_json, read_manifest, write_json


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
