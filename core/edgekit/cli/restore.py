"""``edgekit restore``: a degraded portrait and what is known of the person to a restored one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.common import note, planned, show
from edgekit.core.errors import EdgekitError

if TYPE_CHECKING:
    from edgekit.core.tensors import Batch
    from edgekit.runtime.bundle import OpenBundle

app = typer.Typer(rich_markup_mode=None, add_completion=False)
LEAST_PX = 20
"""Least side of a degraded face, in the photo's pixels: below, nothing of a person is left."""


@app.command()
def restore(
    photo: Annotated[Path, typer.Argument(help="The portrait to restore.")],
    run: Annotated[
        Path, typer.Option(help="Folder of `edgekit distill --student restorer`, or its bundle.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")],
    reference: Annotated[
        list[Path] | None,
        typer.Option(help="A good photo of the same person; may be given more than once."),
    ] = None,
    code: Annotated[
        Path | None, typer.Option(help="The person's code, of `edgekit identity enrol`.")
    ] = None,
    memory: Annotated[
        Path | None,
        typer.Option(help="File that keeps what the references gave; used if it is there."),
    ] = None,
    enroller: Annotated[
        Path | None, typer.Option(help="Bundle of the enroller.  [default: RUN/enroller/bundle]")
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="All photos are aligned crops: look for no face.")
    ] = False,
) -> None:
    """Restore a degraded portrait with the help of references of the same person.

    The face is found, cut out, restored in one step and written as a square picture. Without
    references the restorer does what it can alone.

    Example: edgekit restore old.jpg --run runs/portraits --reference a.jpg -o new.png
    """
    references = reference or []
    if code is not None and (references or memory):
        raise EdgekitError(
            "a code and references exclude each other", hint="leave out --code or --reference"
        )
    plan = {"photo": photo, "run": run, "references": references, "code": code, "out": out}
    if planned({"step": "restore", **plan, "memory": memory}):
        return
    from edgekit.core.identity import read_identity
    from edgekit.core.images import save_photo
    from edgekit.runtime.bundle import bundle_folder, open_bundle
    from edgekit.runtime.restore import nobody, of_code, read_memory, restored, size_of

    bundle = open_bundle(bundle_folder(run))
    size_px = size_of(bundle)
    if code is not None:
        person = read_identity(code)
        _check_encoder(run, code, person.encoder_sha256)
        known = of_code(bundle, person)
    elif memory is not None and memory.is_file():
        if references:
            raise EdgekitError(
                f"{memory} holds references already",
                hint="leave out --reference, or delete the file to enrol anew",
            )
        known = read_memory(memory, bundle)
    elif references:
        known = _enrolled(bundle, enroller or run / "enroller", references, memory, aligned)
    else:
        known = nobody(bundle)
        note("no references are given: the restorer works alone")
    face = _faces([photo], size_px, aligned=aligned, least_px=LEAST_PX)[0]
    save_photo(restored(bundle, face, known), out)
    show(
        {"out": str(out), "model": bundle.entry.path, "references": len(references)},
        f"{out}: {size_px} x {size_px} pixels by {bundle.entry.path}",
    )


def _check_encoder(run: Path, code: Path, made_by: str) -> None:
    """Refuse a code of another encoder than the restorer was trained with, where that is known."""
    from edgekit.core.errors import BadInput
    from edgekit.core.store import MANIFEST, read_json

    if not (run / MANIFEST).is_file():
        return
    wanted = (read_json(run / MANIFEST).get("references") or {}).get("encoder_sha256")
    if wanted is not None and wanted != made_by:
        raise BadInput(
            f"{code} was made by the encoder {made_by[:12]}, and {run} understands codes of "
            f"{wanted[:12]}",
            hint="enrol the photos again with that encoder",
        )


def _enrolled(
    bundle: OpenBundle, folder: Path, files: list[Path], memory: Path | None, aligned: bool
) -> dict[str, Batch]:
    from edgekit.runtime.bundle import bundle_folder, open_bundle
    from edgekit.runtime.restore import of_references, size_of, write_memory

    opened = open_bundle(bundle_folder(folder), precision=bundle.entry.precision)
    faces = _faces(files, size_of(opened), aligned=aligned, least_px=40)
    if apart := _apart(faces):
        note(f"these references do not look like one person ({apart}): the result may mix them")
    known = of_references(bundle, opened, faces)
    if memory is not None:
        size = write_memory(memory, known)
        note(f"{memory}: {size / 1e6:.2f} MB of {len(files)} references; delete it to forget them")
    return known


def _apart(faces: list[Batch]) -> str:
    """Say how unlike the references are, if a recognizer is installed and takes two for others."""
    from edgekit.distill.faces import recognition

    if len(faces) < 2 or not recognition.installed():
        return ""
    import numpy as np

    found = recognition.descriptors(faces)
    far = float(np.linalg.norm(found[:, None] - found[None], axis=-1).max())
    return f"distance {far:.2f}, of one person usually below 0.5" if far > recognition.SAME else ""


def _faces(files: list[Path], size_px: int, *, aligned: bool, least_px: int) -> list[Batch]:
    """Return the aligned face of each photo; raises BadInput, naming the photo, without one."""
    from edgekit.core.errors import BadInput
    from edgekit.core.images import load_photo, resized

    if aligned:
        return [resized(load_photo(file), size_px, size_px) for file in files]
    from edgekit.distill.faces.align import Bars
    from edgekit.distill.faces.align import aligned as cut_out

    faces = []
    for file in files:
        try:
            faces.append(cut_out(load_photo(file), size_px, Bars(min_face_px=least_px)).photo)
        except BadInput as problem:
            raise BadInput(f"{file}: {problem.what}", hint=problem.hint) from problem
    return faces
