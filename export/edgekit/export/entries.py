"""What a manifest says beside its files: student, form, golden vectors, assets, licences."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.core.manifest import (
    MOST_PROMPTS,
    AdapterEntry,
    ConceptEntry,
    FileEntry,
    GoldenEntry,
    MeshEntry,
    StudentEntry,
    read_bundle,
)
from edgekit.core.store import file_sha256, size_bytes, write_bytes
from edgekit.export.program import Student, heldout_feeds, reference_outputs

GOLDEN = "golden/vectors.npz"
GOLDEN_SAMPLES = 4


def file_name(name: str) -> str:
    """Return `name` as every file system and the manifest's schema accept it.

    >>> file_name("Make it night!")
    'make-it-night'
    """
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-") or "student"


def student_entry(student: Student) -> StudentEntry:
    """Return where the model came from."""
    facts = student.facts
    return StudentEntry(
        sha256=student.sha256,
        recipe_sha256=str(facts["recipe_sha256"]),
        teacher=str(facts.get("teacher", "unknown")),
        parameters=int(facts.get("parameters", 0)),
        gmac=float(facts.get("gmac", 0.0)),
        size_px=int(facts["size_px"]),
    )


def form_of(student: Student) -> str:
    """Return what the student is for; one that does not say it maps a photo to a photo or is other.

    Students written before forms had names are told apart by their ports.
    """
    told = student.facts.get("form")
    if told is not None:
        return str(told)
    if student.facts.get("adapter_input") is not None:
        return "base"
    pictures = [port.layout == "nchw" and port.shape[1:2] == (3,) for port in student.inputs]
    return "concept" if pictures == [True] and len(student.outputs) == 1 else "other"


SPREAD = 8
"""Prompts so far apart in a generator's list follow each other where they are offered."""


def mesh(student: Student) -> MeshEntry | None:
    """Return what an app must know of a mesh generator, None for any other student."""
    lattice = student.facts.get("lattice")
    if lattice is None:
        return None
    prompts = student.facts.get("prompts", {})
    learned = prompts.get("train", ())
    # Neighbours in the list are often of one kind: the first few that a page shows should differ.
    mixed = [one for first in range(SPREAD) for one in learned[first::SPREAD]]
    offered = [*mixed, *prompts.get("unseen", ())]
    return MeshEntry(
        cells=int(lattice["cells"]),
        deform=float(lattice["deform"]),
        prompts=tuple(offered[:MOST_PROMPTS]),
    )


def encoder_sha256(student: Student) -> str | None:
    """Return the encoder whose identity codes a restorer understands, None for any other."""
    found = (student.facts.get("references") or {}).get("encoder_sha256")
    return None if found is None else str(found)


def golden(student: Student, out: Path) -> GoldenEntry:
    """Write the golden vectors: held-out inputs and what the saved program makes of them."""
    feeds = heldout_feeds(student, limit=GOLDEN_SAMPLES)
    references = reference_outputs(student, feeds)
    arrays = {
        name: np.ascontiguousarray(np.concatenate([values[name] for values in rows]), np.float32)
        for rows in (feeds, references)
        for name in rows[0]
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(out / GOLDEN, buffer.getvalue())
    return GoldenEntry(path=GOLDEN, sha256=file_sha256(out / GOLDEN), samples=len(feeds))


def adapters(student: Student, out: Path) -> tuple[FileEntry, ...]:
    """Copy the student's own adapter, if it has one."""
    adapter = student.facts.get("adapter")
    if not adapter:
        return ()
    source = student.folder / str(adapter["path"])
    if not source.is_file():
        raise BadInput(f"{source} is missing", hint="distil the student again")
    name = str(student.facts["name"])
    path = f"adapters/{file_name(name)}.safetensors"
    write_bytes(out / path, source.read_bytes())
    copied = out / path
    return (FileEntry(name=name, path=path, sha256=file_sha256(copied), bytes=size_bytes(copied)),)


def assets(student: Student, out: Path) -> tuple[FileEntry, ...]:
    """Copy the files that the student names as its assets."""
    entries = []
    for name, path in (student.facts.get("assets") or {}).items():
        source = student.folder / path
        write_bytes(out / path, source.read_bytes())
        entries.append(
            FileEntry(
                name=name,
                path=path,
                sha256=file_sha256(source),
                bytes=size_bytes(source),
            )
        )
    return tuple(entries)


def adapter_input(student: Student) -> AdapterEntry | None:
    """Return how a base's second input is filled, None for any other student."""
    facts = student.facts.get("adapter_input")
    return None if facts is None else AdapterEntry.model_validate(facts)


def kept_concepts(recipe: str, out: Path) -> tuple[ConceptEntry, ...]:
    """Return the concepts that were added to this base's bundle before: more targets keep them."""
    try:
        found = read_bundle(out)
    except BadInput:
        return ()
    return found.concepts if found.recipe_sha256 == recipe else ()


def licences(student: Student) -> dict[str, str]:
    """Return what -> licence, of weights and data."""
    given = student.facts.get("licences", {})
    return {"edgekit": "Apache-2.0", **{str(what): str(which) for what, which in given.items()}}


def numbers(value: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Flatten nested numbers to dotted names; anything else is left out."""
    found: dict[str, float] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found |= numbers(item, f"{prefix}{key}.")
        elif isinstance(item, (int, float)) and not isinstance(item, bool):
            found[f"{prefix}{key}"] = float(item)
    return found
