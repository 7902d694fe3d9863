"""Export every form of the restorer to every usual format and record what the parity gates said.

    python benchmarks/faces/export.py --out benchmarks/results/faces/restorer_export.json

Random weights (every layer does something, see `stirred`), random faces: this asks whether the
files are the same function, with references, masks and codes as ports, not how good they look.
Another call with the same --out replaces the rows of its own forms and targets only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from edgekit.core.errors import EdgekitError
from edgekit.core.manifest import BundleManifest
from edgekit.core.seams import Port
from edgekit.core.versions import installed_versions
from edgekit.distill.program import StudentFacts, host, write_ported
from edgekit.distill.restorer.one_step import Conditioning, Form, OneStep, one_step
from edgekit.distill.restorer.phone import PHONE, TOY_PHONE, PhoneRestorer, fresh_phone
from edgekit.distill.restorer.ship import (
    Enroller,
    Program,
    feeds_of,
    input_ports,
    memory_ports,
    output_port,
)
from edgekit.distill.restorer.stages import Plan
from edgekit.distill.restorer.unet import fresh_unet
from edgekit.export.bundle import export_student
from edgekit.runtime.sessions import open_session

FORMS = ("memory", "enroller", "code", "phone", "none")
TARGETS = ("onnx", "android", "ios")
SAMPLES = 6


def main() -> None:
    """Export and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=FORMS)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--precisions", nargs="+", default=["fp32", "fp16", "int8"])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--places", type=int, default=2)
    parser.add_argument("--toy", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    protocol = f"export-faces-1/{given.size}px/{given.places} places/random weights"
    known = json.loads(given.out.read_text()) if given.out.is_file() else None
    if known and (known["protocol"], known["toy"]) != (protocol, given.toy):
        parser.error(f"{given.out} holds other sizes: choose another --out")
    before = known["files"] if known else []
    again = {(form, target) for form in given.forms for target in given.targets}
    rows = [row for row in before if (row["form"], row["target"]) not in again]
    for form in given.forms:
        with tempfile.TemporaryDirectory() as place:
            student = Path(place) / "student"
            facts = write(form, student, given)
            for target in given.targets:
                started = time.monotonic()
                rows += exported(student, target, given.precisions, Path(place) / target, form)
                print(form, target, round(time.monotonic() - started, 1), "s", flush=True)
        rows[-1]["student"] = facts
        value = {
            "protocol": protocol,
            "toy": given.toy,
            "host": host(),
            "tools": installed_versions(),
            "files": rows,
        }
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(value, indent=1) + "\n")


def stirred(network: nn.Module) -> nn.Module:
    """Return a network whose layers that start at zero do something."""
    dice = torch.Generator().manual_seed(0)
    for value in network.parameters():
        fan = value[0].numel() if value.dim() > 1 else 400
        value.data += 0.3 * fan**-0.5 * torch.randn(value.shape, generator=dice)
    return network.eval()


def write(form: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Write the student folder of one form and return what it holds."""
    shape = Plan(size_px=given.size, batch=1, seed=0, toy=given.toy).unet()
    network: OneStep | PhoneRestorer
    size = given.size
    if form == "phone":
        size = given.size * 2
        network = fresh_phone(TOY_PHONE if given.toy else PHONE, seed=0)
    else:
        conditioning = cast(Conditioning, form if form in ("code", "none") else "memory")
        kind = Form(conditioning=conditioning, places=given.places)
        network = one_step(shape, fresh_unet(shape, seed=0).state_dict(), kind, seed=0)
    stirred(network)
    dice = torch.Generator().manual_seed(1)
    faces = torch.rand(SAMPLES, 3, size // 8, size // 8, generator=dice)
    faces = torch.nn.functional.interpolate(faces, (size, size), mode="bicubic").clamp(0, 1)
    references = faces.flip(0)[:, None].expand(-1, given.places, -1, -1, -1) * 2 - 1
    mask = torch.rand(SAMPLES, given.places, generator=dice) < 0.7
    code = torch.randn(SAMPLES, 32, 256, generator=dice)
    photos = (faces * 255).byte().permute(0, 2, 3, 1).numpy()
    feeds: dict[str, np.ndarray[Any, Any]] = {"image": photos}
    if form == "enroller":
        assert isinstance(network, OneStep)
        assert network.branch is not None
        program: nn.Module = Enroller(network.branch)
        inputs: Sequence[Port] = (Port("image", (1, 3, size, size)),)
        outputs: Sequence[Port] = memory_ports(shape, size, 1)
    else:
        program = network if isinstance(network, PhoneRestorer) else Program(network)
        feeds |= feeds_of(network, references, mask, code)
        inputs, outputs = input_ports(network, size), (output_port(size),)
    manifest = write_ported(
        folder,
        program,
        inputs=inputs,
        outputs=outputs,
        calibration=feeds,
        heldout=feeds,
        facts=StudentFacts(
            name=form,
            form="enroller" if form == "enroller" else "restorer",
            recipe_sha256="0" * 64,
        ),
    )
    return {key: manifest[key] for key in ("name", "size_px", "parameters", "gmac")}


def exported(
    student: Path, target: str, precisions: Sequence[str], out: Path, form: str
) -> list[dict[str, Any]]:
    """Return a row for each file that was made, refused or failed."""
    try:
        bundle: BundleManifest = export_student(
            student, [target], out, open_session=open_session, precisions=precisions
        )
    except EdgekitError as error:
        return [{"form": form, "target": target, "failed": error.what}]
    made = [
        {
            "form": form,
            "target": target,
            "format": model.format,
            "precision": model.precision,
            "bytes": model.bytes,
            "executed": model.executed,
            "parity": None if model.parity is None else model.parity.model_dump(),
        }
        for model in bundle.models
    ]
    refused = [
        {"form": form, "target": target, "format": r.format, "refused": r.reason}
        for r in bundle.refused
    ]
    return [*made, *refused]


if __name__ == "__main__":
    main()
