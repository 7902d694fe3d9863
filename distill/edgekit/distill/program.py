"""The student folder: one saved program, its weights, its samples, and a manifest that comes last.

student.pt2            torch.export program of one sample: a port an input, a port an output
weights.safetensors    its weights, or those that training goes on from
adapter.safetensors    the low-rank factors alone (only of an adapted student)
calibration.npz        an array an input port: training samples, for quantizers
heldout.npz            the same of samples that no training saw; ``teacher``: what they should give
manifest.json          form, ports, parts, hashes, cost, quality, provenance

A part is a student folder inside this one. Every kind of student is written by `write_ported`;
`write_student` does it for those of one picture in and one out.
"""

from __future__ import annotations

import io
import os
import platform
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from edgekit.core.errors import BadInput
from edgekit.core.seams import Port
from edgekit.core.store import (
    MANIFEST,
    file_sha256,
    finish_folder,
    prepared_folder,
    read_manifest,
    size_bytes,
    write_bytes,
)
from edgekit.core.tensors import Batch, Photos
from edgekit.core.versions import installed, installed_versions
from edgekit.distill.coverage import spread
from edgekit.distill.metrics import edited, quality
from edgekit.distill.students.cost import count_macs, count_parameters

KIND = "student"
PROGRAM = "student.pt2"
WEIGHTS = "weights.safetensors"
ADAPTER = "adapter.safetensors"
CALIBRATION = "calibration.npz"
HELDOUT = "heldout.npz"
CALIBRATION_PHOTOS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentFacts:
    """What the manifest says about a student besides what can be read off its files."""

    name: str
    recipe_sha256: str
    form: str = "concept"
    """What the program is for: concept, base, restorer, enroller, identity, mesh, field."""
    prompt: str = ""
    teacher: str = "none"
    seed: int = 0
    base_sha256: str | None = None
    adapter: Mapping[str, Any] | None = None
    """Facts of ``adapter.safetensors``, which then lies in the folder: rank, trainable."""
    quality: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    licences: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    """Name -> student folder inside this one that is exported with it, such as the enroller."""
    assets: Mapping[str, str] = field(default_factory=dict)
    """Name -> other file of the folder that the program is of no use without."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More keys of the manifest."""


def ports(size_px: int) -> tuple[Port, Port]:
    """Return the input and the output port of a student of this size."""
    shape = (1, 3, size_px, size_px)
    return Port("image", shape), Port("image_out", shape)


def write_student(
    folder: Path,
    student: nn.Module,
    *,
    size_px: int,
    calibration: Photos,
    heldout: tuple[Photos, Photos],
    facts: StudentFacts,
) -> dict[str, Any]:
    """Write the student folder of `student` and return its manifest.

    `student` maps (n, 3, size, size) in [-1, 1] to the same; it is saved in eval mode with its
    batch norms intact, as a program of batch 1. `calibration` are training photos, of which the 32
    that cover them best are kept; `heldout` are photos never trained on and the teacher's edits.
    Raises OutputError if `folder` cannot be written.
    """
    student = student.float().cpu().eval()
    sources, edits = heldout
    image, image_out = ports(size_px)
    return write_ported(
        folder,
        student,
        inputs=[image],
        outputs=[image_out],
        calibration={"image": calibration[spread(calibration, CALIBRATION_PHOTOS)]},
        heldout={"image": sources, "teacher": edits},
        facts=replace(facts, quality=quality(sources, edits, edited(student, sources))),
    )


def write_ported(
    folder: Path,
    program: nn.Module,
    *,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    calibration: Mapping[str, Batch],
    heldout: Mapping[str, Batch],
    facts: StudentFacts,
    size_px: int | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """Write a student folder of any number of ports and return its manifest.

    `program` takes and returns a tensor a port, of just its shape. `calibration` and `heldout` hold
    an array an input port, samples along the first axis: of a port (1, ...) an array (n, ...), of a
    picture's uint8 (n, S, S, 3). `size_px` is the side of its pictures (default: the last axis of
    the first port). `weights` are stored in place of the program's own; if empty, there is no such
    file. What `facts` names as parts and assets lies in the folder already. Raises OutputError if
    it cannot be written.
    """
    prepared_folder(folder)
    program = program.float().cpu().eval().requires_grad_(False)
    example = tuple(torch.zeros(port.shape) for port in inputs)
    with torch.no_grad():
        saved = torch.export.export(program, example)
    write_program(folder / PROGRAM, saved)
    kept = program.state_dict() if weights is None else weights
    state = {name: v.contiguous() for name, v in kept.items() if v.is_floating_point()}
    if state:
        write_bytes(folder / WEIGHTS, safetensors_bytes(state))
    write_npz(folder / CALIBRATION, **calibration)
    write_npz(folder / HELDOUT, **heldout)
    manifest = {
        "name": facts.name,
        "form": facts.form,
        "prompt": facts.prompt,
        "teacher": facts.teacher,
        "size_px": size_px or inputs[0].shape[-1],
        "inputs": [asdict(port) for port in inputs],
        "outputs": [asdict(port) for port in outputs],
        "parameters": count_parameters(program),
        "gmac": round(count_macs(program, *example) / 1e9, 4),
        "base_sha256": facts.base_sha256,
        "adapter": _adapter(folder, facts.adapter),
        "parts": dict(facts.parts),
        "assets": dict(facts.assets),
        "files": _files(folder, list(facts.assets.values())),
        "quality": dict(facts.quality),
        "losses": dict(facts.losses),
        "seconds": round(facts.seconds, 2),
        "host": host(),
        "seed": facts.seed,
        "licences": dict(facts.licences),
        "tools": _tools(),
        **facts.extra,
    }
    finish_folder(folder, kind=KIND, recipe_sha256=facts.recipe_sha256, facts=manifest)
    return read_manifest(folder, kind=KIND)


def copy_student(source: Path, folder: Path) -> None:
    """Copy a finished student, such as one that becomes a part of another, to `folder`.

    Raises BadInput if `source` is no finished student or a file of it was changed.
    """
    facts = read_manifest(source, kind=KIND)
    for name, told in facts["files"].items():
        if not (source / name).is_file() or file_sha256(source / name) != told["sha256"]:
            raise BadInput(
                f"{source / name} is not the file that was written with the student",
                hint="copy the folder again, or make it anew",
            )
        write_bytes(folder / name, (source / name).read_bytes())
    write_bytes(folder / MANIFEST, (source / MANIFEST).read_bytes())


def write_npz(path: Path, **arrays: Batch) -> None:
    """Write arrays as a compressed NPZ, at once or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def host() -> dict[str, Any]:
    """Return what the numbers of a run depend on besides its recipe."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "python": platform.python_version(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_program(path: Path, program: torch.export.ExportedProgram) -> None:
    """Save `program` as `path`, which ends in .pt2, at once or not at all."""
    # torch writes to a path that ends in .pt2; the rename makes it appear at once.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".pt2-") as place:
        made = Path(place) / path.name
        with warnings.catch_warnings():  # about tensors that share storage: it stores them once
            warnings.filterwarnings("ignore", "No complete tensor found")
            torch.export.save(program, made)
        write_bytes(path, made.read_bytes())


def _adapter(folder: Path, facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    path = folder / ADAPTER
    return {"path": ADAPTER, "sha256": file_sha256(path), "bytes": size_bytes(path), **facts}


def _files(folder: Path, assets: Sequence[str]) -> dict[str, dict[str, Any]]:
    names = (PROGRAM, WEIGHTS, ADAPTER, CALIBRATION, HELDOUT, "recipe.toml", "preview.png")
    return {
        name: {"sha256": file_sha256(folder / name), "bytes": size_bytes(folder / name)}
        for name in (*names, "log.jsonl", "search.json", *assets)
        if (folder / name).is_file() or name in assets
    }


def _tools() -> dict[str, str]:
    known = installed_versions()
    wanted = ("edgekit", "torch", "peft", "diffusers", "transformers", "safetensors", "numpy")
    found = {name: known.get(name) or installed(name) for name in wanted}
    return {name: version for name, version in found.items() if version}
