"""The concepts of a base's bundle: added, listed, removed, found by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from edgekit.core.concepts import Concept, read_concept, write_concept
from edgekit.core.errors import BadInput, EdgekitError, unknown_name
from edgekit.core.manifest import (
    AdapterEntry,
    BundleManifest,
    ConceptEntry,
    read_bundle,
    write_bundle,
)
from edgekit.core.store import file_sha256, locked, prepared_folder
from edgekit.core.tensors import Batch
from edgekit.runtime.adapters import check_concept, input_vector

FOLDER = "adapters"


def add_concepts(folder: Path, concepts: Mapping[str, Concept]) -> BundleManifest:
    """Add `concepts` (name -> concept) to the base's bundle in `folder`; return its new manifest.

    All are checked before one is written. A name that is there already is replaced. The manifest is
    written last, and an old file goes after it, so that a killed call leaves a whole bundle.

    Raises BadInput for a bundle that is no base, a concept of another base or of a larger rank.
    """
    prepared_folder(folder)
    with locked(folder):
        manifest = read_bundle(folder)
        entry = base_of(manifest, folder)
        for name, concept in concepts.items():
            check_concept(concept, entry, name=name)
        listed = {row.name: row for row in manifest.concepts}
        old = {row.path for row in manifest.concepts}
        for name, concept in concepts.items():
            listed[slug(name)] = _written(folder, slug(name), concept)
        made = manifest.model_copy(update={"concepts": tuple(listed.values())})
        _store(folder, made, old)
    return made


def remove_concepts(folder: Path, names: list[str]) -> BundleManifest:
    """Remove concepts from the base's bundle in `folder`; EdgekitError for an unknown name."""
    prepared_folder(folder)
    with locked(folder):
        manifest = read_bundle(folder)
        base_of(manifest, folder)
        gone = {found(manifest, name).name for name in names}
        kept = tuple(row for row in manifest.concepts if row.name not in gone)
        made = manifest.model_copy(update={"concepts": kept})
        _store(folder, made, {row.path for row in manifest.concepts})
    return made


def base_of(manifest: BundleManifest, folder: Path | str) -> AdapterEntry:
    """Return how the base of a bundle is switched; BadInput for a bundle of one merged concept."""
    if manifest.adapter_input is None:
        raise BadInput(
            f"{folder} holds one concept, merged in: {manifest.name}",
            hint="make a base that takes many with `edgekit export --base`",
        )
    return manifest.adapter_input


def found(manifest: BundleManifest, name: str) -> ConceptEntry:
    """Return the concept called `name` (or with that prompt); EdgekitError if there is none."""
    for row in manifest.concepts:
        if name in (row.name, row.prompt):
            return row
    if not manifest.concepts:
        raise EdgekitError(
            f"{manifest.name} holds no concept yet",
            hint="add one with `edgekit adapters add BASE RUN`",
        )
    raise unknown_name("concept", name, [row.name for row in manifest.concepts])


def concept_in(folder: Path, row: ConceptEntry) -> Concept:
    """Read a listed concept; BadInput if its file is missing or was changed."""
    path = folder / row.path
    if not path.is_file():
        raise BadInput(f"{path} is missing from the bundle", hint="add the concept again")
    if file_sha256(path) != row.sha256:
        raise BadInput(f"{path} is not the file that was added", hint="add the concept again")
    return read_concept(path)


def vector_in(folder: Path, row: ConceptEntry, entry: AdapterEntry) -> Batch:
    """Return the adapter input of a listed concept, float32 (1, length); errors as above."""
    return input_vector(concept_in(folder, row), entry, name=row.path)


def slug(name: str) -> str:
    """Return `name` as every file system and the manifest's schema accept it.

    >>> slug("Make it night!")
    'make-it-night'
    """
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-") or "concept"


def _written(folder: Path, stem: str, concept: Concept) -> ConceptEntry:
    place = folder / FOLDER / f"{stem}.safetensors"
    fresh = place.with_name(f".{stem}.new")
    size = write_concept(fresh, concept)
    sha256 = file_sha256(fresh)
    if place.exists() and file_sha256(place) != sha256:  # still listed: it goes after the manifest
        place = place.with_name(f"{stem}-{sha256[:8]}.safetensors")
    fresh.replace(place)
    return ConceptEntry(
        name=stem,
        prompt=concept.prompt,
        path=place.relative_to(folder).as_posix(),
        sha256=sha256,
        bytes=size,
        ranks=dict(concept.ranks),
    )


def _store(folder: Path, manifest: BundleManifest, old: set[str]) -> None:
    write_bundle(folder, manifest)
    for path in old - {row.path for row in manifest.concepts}:
        (folder / path).unlink(missing_ok=True)
