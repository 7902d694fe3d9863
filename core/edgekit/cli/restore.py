"""``edgekit restore``: a degraded portrait and what is known of the person to a restored one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.common import note, planned, show
from edgekit.cli.shipped import bundle_at, named_or_shipped
from edgekit.core.errors import BadInput, EdgekitError

if TYPE_CHECKING:
    from edgekit.core.tensors import Batch, Photo
    from edgekit.distill.faces.align import Aligned
    from edgekit.runtime.bundle import OpenBundle

app = typer.Typer(rich_markup_mode=None, add_completion=False)
TRAIN = (
    "train one with `edgekit distill --student restorer --faces FACES -o runs/portraits`, then "
    "`edgekit export runs/portraits --target onnx`, then add --run runs/portraits"
)
LEAST_PX = 20
"""Least side of a degraded face, in the photo's pixels: below, nothing of a person is left."""
LEAST_REFERENCE_PX = 40
SOFT = 1.5
"""A face this much larger in the photo than the network's picture becomes visibly softer."""
MOST_FACES = 8
"""Of one photo, the largest ones."""


@app.command()
def restore(
    photo: Annotated[Path, typer.Argument(help="The photo with the face to restore.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")],
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of `edgekit distill --student restorer`, or its bundle.  [default: the "
            "restorer that ships]"
        ),
    ] = None,
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
        Path | None,
        typer.Option(
            help="Bundle of the enroller or of the identity encoder.  [default: the one in the "
            "restorer's bundle]"
        ),
    ] = None,
    crop: Annotated[
        bool, typer.Option("--crop", help="Write the face alone, upright and square.")
    ] = False,
    largest: Annotated[
        bool, typer.Option("--largest", help="Of several faces in a photo take the largest alone.")
    ] = False,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="All photos are aligned crops: look for no face.")
    ] = False,
) -> None:
    """Restore the face in a photo with the help of references of the same person.

    The face is found, cut out, restored in one step and put back into the photo; what is around it
    stays as it is. Without references the restorer does what it can alone, for every face there is.

    Example: edgekit restore old.jpg --reference a.jpg --reference b.jpg -o new.png
    """
    references = reference or []
    if code is not None and (references or memory):
        raise EdgekitError(
            "a code and references exclude each other", hint="leave out --code or --reference"
        )
    if memory is not None and memory.is_file() and references:
        raise EdgekitError(
            f"{memory} holds references already",
            hint="leave out --reference, or delete the file to enrol anew",
        )
    run = named_or_shipped(run, "restorer", what="restorer", how=TRAIN)
    plan = {"photo": photo, "run": run, "references": references, "code": code, "out": out}
    if planned({"step": "restore", **plan, "memory": memory}):
        return
    from edgekit.core.images import center_square, load_photo, save_photo
    from edgekit.runtime.bundle import open_bundle
    from edgekit.runtime.restore import form_of, nobody, of_code, read_memory, restored, size_of

    bundle = open_bundle(bundle_at(run))
    form_of(bundle)  # anything but a restorer is refused before a photo is read
    size_px = size_of(bundle)
    if code is not None:
        from edgekit.core.identity import read_identity

        known = of_code(bundle, read_identity(code))
    elif memory is not None and memory.is_file():
        known = read_memory(memory, bundle)
    elif references:
        known = _enrolled(bundle, enroller, references, memory, aligned=aligned, largest=largest)
    else:
        known = nobody(bundle)
        note("no references are given: the restorer works alone")
    everybody = not (code or memory or references or largest or crop)
    whole = load_photo(photo)
    count, face_px = 1, size_px
    if aligned:
        made = restored(bundle, center_square(whole, size_px), known)
    else:
        if everybody:
            faces = _everybody(whole, photo, size_px)
        else:
            faces = [_aligned(whole, photo, size_px, largest=largest, least_px=LEAST_PX)]
        crops = [restored(bundle, face.photo, known) for face in faces]
        made = crops[0] if crop else _put_back(whole, faces, crops)
        count, face_px = len(faces), round(faces[0].native_px)
    save_photo(made, out)
    height, width = made.shape[:2]
    show(
        {
            "out": str(out),
            "model": bundle.entry.path,
            "references": len(references),
            "faces": count,
            "face_px": face_px,
        },
        f"{out}: {width} x {height} pixels, {'the face' if count == 1 else f'{count} faces'} by "
        f"{bundle.entry.path}",
    )


def _put_back(photo: Photo, faces: list[Aligned], made: list[Photo]) -> Photo:
    from edgekit.runtime.paste import pasted

    size_px = made[0].shape[0]
    if faces[0].native_px > SOFT * size_px:
        note(
            f"the face fills {faces[0].native_px:.0f} pixels of the photo and the restorer makes "
            f"{size_px}: where it changes much, it will be softer than its surroundings"
        )
    for face, new in zip(faces, made, strict=True):
        assert face.matrix is not None
        photo = pasted(photo, face.photo, new, face.matrix)
    return photo


def _enrolled(
    bundle: OpenBundle,
    enroller: Path | None,
    files: list[Path],
    memory: Path | None,
    *,
    aligned: bool,
    largest: bool,
) -> dict[str, Batch]:
    """Return what the restorer is told of the person in `files`."""
    from edgekit.core.images import center_square, load_photo
    from edgekit.runtime.restore import enroller_of, write_memory

    opened = enroller_of(bundle, None if enroller is None else bundle_at(enroller))
    faces = []
    for file in files:
        photo = load_photo(file)
        if aligned:
            faces.append(center_square(photo, opened.size_px))
            continue
        found = _aligned(photo, file, opened.size_px, largest=largest, least_px=LEAST_REFERENCE_PX)
        faces.append(found.photo)
    if apart := _apart(faces):
        note(f"these references do not look like one person ({apart}): the result may mix them")
    known = opened.known(faces)
    if memory is not None:
        size = write_memory(memory, known, bundle)
        note(f"{memory}: {size / 1e6:.2f} MB of {len(files)} references; delete it to forget them")
    return known


def _apart(faces: list[Photo]) -> str:
    """Say how unlike the references are, if a recognizer is installed and takes two for others."""
    from edgekit.distill.faces import recognition

    if len(faces) < 2 or not recognition.installed():
        return ""
    import numpy as np

    found = recognition.descriptors(faces)
    far = float(np.linalg.norm(found[:, None] - found[None], axis=-1).max())
    return f"distance {far:.2f}, of one person usually below 0.5" if far > recognition.SAME else ""


def _everybody(photo: Photo, file: Path, size_px: int) -> list[Aligned]:
    """Return the aligned faces of a photo; raises BadInput, naming the file, without one."""
    from edgekit.distill.faces.align import Bars, all_aligned

    try:
        faces, left = all_aligned(photo, size_px, Bars(min_face_px=LEAST_PX), most=MOST_FACES)
    except BadInput as problem:
        raise BadInput(f"{file}: {problem.what}", hint=problem.hint) from problem
    for reason in left:
        note(reason)
    return faces


def _aligned(photo: Photo, file: Path, size_px: int, *, largest: bool, least_px: int) -> Aligned:
    """Return the aligned face of a photo; raises BadInput, naming the file, without one."""
    from edgekit.distill.faces.align import Bars
    from edgekit.distill.faces.align import aligned as cut_out

    try:
        return cut_out(photo, size_px, Bars(min_face_px=least_px, largest=largest))
    except BadInput as problem:
        raise BadInput(f"{file}: {problem.what}", hint=problem.hint) from problem
