"""A student as it was saved: ports from its manifest, computation from ``student.pt2`` alone.

Nothing here knows how the student was trained; any program with named float ports will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import fx
from torch.export import ExportedProgram

from edgekit.core.assets import student_sha256
from edgekit.core.errors import BadInput
from edgekit.core.samples import read_feeds
from edgekit.core.seams import Port
from edgekit.core.store import read_manifest
from edgekit.core.tensors import Batch
from edgekit.export.graph import cut, live_after, outputs, placeholders, plain_graph

Feed: TypeAlias = Mapping[str, Batch]
"""Port name -> array with a batch axis of 1, laid out as the student's port says."""

PROGRAM = "student.pt2"
CALIBRATION = "calibration.npz"
HELDOUT = "heldout.npz"


@dataclass(frozen=True, slots=True)
class Student:
    """A student folder: where it lies, what its manifest says, and the hash that names it."""

    folder: Path
    facts: Mapping[str, Any]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Program:
    """A computation with named ports, ready for any converter.

    `module` takes one tensor an input port and returns a tuple with one tensor an output port.
    """

    module: fx.GraphModule
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def read_student(folder: Path) -> Student:
    """Read and check a student folder without loading its program.

    Raises BadInput for a folder that is not a finished student or lacks a file.
    """
    facts = read_manifest(folder, kind="student")
    for name in (PROGRAM, *(facts.get("assets") or {}).values()):
        if not (folder / name).is_file():
            raise BadInput(f"{folder / name} is missing", hint="distil the student again")
    inputs, given = (_ports(facts, key, folder) for key in ("inputs", "outputs"))
    missing = [key for key in ("name", "recipe_sha256", "size_px") if key not in facts]
    if missing:
        raise BadInput(
            f"the manifest of {folder} lacks {missing[0]!r}", hint="distil the student again"
        )
    return Student(folder, facts, inputs, given, student_sha256(folder / PROGRAM, facts))


def _ports(facts: Mapping[str, Any], key: str, folder: Path) -> tuple[Port, ...]:
    try:
        ports = tuple(
            Port(**{**port, "shape": tuple(int(n) for n in port["shape"])}) for port in facts[key]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"the manifest of {folder} has no usable {key}: {error}",
            hint="distil the student again",
        ) from error
    if not ports:
        raise BadInput(f"the manifest of {folder} names no {key}", hint="distil the student again")
    return ports


def saved_program(student: Student) -> ExportedProgram:
    """Load the program as it was saved; raises BadInput if it is damaged."""
    path = student.folder / PROGRAM
    try:
        return torch.export.load(path)
    except Exception as error:  # zip, JSON, pickle and torch errors all mean the same to a user
        raise BadInput(
            f"{path} is not a program that torch {torch.__version__} can load",
            hint="distil the student again with this version of torch",
        ) from error


def load_program(student: Student) -> Program:
    """Load the student for conversion: norms folded, layers as modules, ports checked.

    Raises BadInput if the program and the manifest disagree about the ports.
    """
    module = plain_graph(saved_program(student))
    for kind, ports, nodes in (
        ("inputs", student.inputs, placeholders(module)),
        ("outputs", student.outputs, outputs(module)),
    ):
        shapes = [tuple(node.meta["val"].shape) for node in nodes]
        if shapes != [port.shape for port in ports]:
            raise BadInput(
                f"{student.folder}: the program's {kind} have shapes {shapes}, the manifest says "
                f"{[port.shape for port in ports]}",
                hint="distil the student again",
            )
    return Program(module, student.inputs, student.outputs)


def reference_outputs(student: Student, feeds: Sequence[Feed]) -> list[dict[str, Batch]]:
    """Run the program exactly as it was saved (in PyTorch, unfolded) on each feed."""
    module = saved_program(student).module()
    return [_run(module, student.inputs, student.outputs, feed) for feed in feeds]


def run(program: Program, feed: Feed) -> dict[str, Batch]:
    """Run a prepared program in PyTorch on one feed."""
    return _run(program.module, program.inputs, program.outputs, feed)


def _run(
    module: torch.nn.Module, inputs: Sequence[Port], given: Sequence[Port], feed: Feed
) -> dict[str, Batch]:
    with torch.no_grad():
        result = module(*(torch.from_numpy(feed[port.name]) for port in inputs))
    flat = torch.utils._pytree.tree_leaves(result)
    return {port.name: value.numpy() for port, value in zip(given, flat, strict=True)}


def example_inputs(program: Program) -> tuple[torch.Tensor, ...]:
    """Return tensors of the right shapes, seeded noise in each port's range."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.rand(port.shape, generator=generator) * (port.high - port.low) + port.low
        for port in program.inputs
    )


def exported(program: Program) -> ExportedProgram:
    """Return the prepared program as a fresh torch.export program (training is off)."""
    with torch.no_grad():
        return torch.export.export(program.module, example_inputs(program))


def prefix(program: Program, node: str) -> Program:
    """Return the part of `program` up to and including `node`; all that is alive there comes out.

    The outputs are called ``cut_0``, ``cut_1`` …; the last one is the value of `node`.
    """
    part = cut(program.module, live_after(program.module, node))
    kept = {placeholder.name for placeholder in placeholders(part)}
    names = (placeholder.name for placeholder in placeholders(program.module))
    inputs = tuple(port for name, port in zip(names, program.inputs, strict=True) if name in kept)
    given = tuple(
        Port(f"cut_{i}", tuple(value.meta["val"].shape), layout="flat")
        for i, value in enumerate(outputs(part))
    )
    return Program(part, inputs, given)


def heldout_feeds(student: Student, *, limit: int) -> list[dict[str, Batch]]:
    """Return the first `limit` feeds that the student never saw in training."""
    return _feeds(student, HELDOUT)[:limit]


def calibration_feeds(student: Student, *, limit: int) -> list[dict[str, Batch]]:
    """Return up to `limit` feeds for measuring activation ranges, spread over the file."""
    feeds = _feeds(student, CALIBRATION)
    chosen = np.linspace(0, len(feeds) - 1, min(limit, len(feeds))).round().astype(int)
    return [feeds[i] for i in dict.fromkeys(chosen.tolist())]


def _feeds(student: Student, name: str) -> list[dict[str, Batch]]:
    path = student.folder / name
    if not path.is_file():
        raise BadInput(f"{path} is missing", hint="distil the student again")
    feeds = read_feeds(path, student.inputs)
    if not feeds:
        raise BadInput(f"{path} holds no sample", hint="distil the student again")
    for port in student.inputs:
        if feeds[0][port.name].shape != port.shape:
            raise BadInput(
                f"{path}: {port.name} has shape {feeds[0][port.name].shape}, the student takes "
                f"{port.shape}",
                hint="distil the student again",
            )
    return feeds
