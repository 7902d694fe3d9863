"""``edgekit identity``: a person's photos to a code of 17 kB, made and kept on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.common import ConsoleReport, note, planned, show
from edgekit.cli.shipped import bundle_at, named_or_shipped
from edgekit.core.errors import BadInput, EdgekitError

if TYPE_CHECKING:
    from edgekit.core.tensors import Photo

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
CodeArgument = Annotated[Path, typer.Argument(help="File written by `edgekit identity enrol`.")]
TRAIN = (
    "train one with `edgekit identity train FACES -o runs/identity --seconds 900`, then "
    "`edgekit export runs/identity --target onnx`, then add --encoder runs/identity/bundle"
)


@app.callback()
def identity() -> None:
    """Enrol a person from photos as a small code, look at it, compare and delete it.

    Enrol only people who agreed to it: a code is biometric data (docs/identity.md).
    """


@app.command()
def enrol(
    photos: Annotated[
        list[Path], typer.Argument(help="Photos of one person, or folders of such photos.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, like me.code.")],
    encoder: Annotated[
        Path | None,
        typer.Option(
            help="Bundle of an identity encoder, or the run that it is in.  [default: the encoder "
            "that ships]"
        ),
    ] = None,
    largest: Annotated[
        bool, typer.Option("--largest", help="Of several faces in a photo take the largest.")
    ] = False,
    any_person: Annotated[
        bool,
        typer.Option("--any-person", help="Only warn of photos that seem to show someone else."),
    ] = False,
    date: Annotated[bool, typer.Option("--date", help="Keep today's date in the file.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite the code that is there.")
    ] = False,
    min_face: Annotated[
        int, typer.Option(help="Least side of a face in the photo's pixels.", show_default=True)
    ] = 40,
) -> None:
    """Make the identity code of one person; nothing leaves this machine, no photo is kept.

    Photos without a usable face are left out and named. Photos of different people are refused.

    Example: edgekit identity enrol photos/ -o me.code
    """
    from dataclasses import replace as changed

    from edgekit.core.identity import write_identity
    from edgekit.core.images import photo_files
    from edgekit.runtime.identity import enrolled, open_encoder

    files = list(dict.fromkeys(file for path in photos for file in photo_files(path)))
    if out.exists() and not replace:
        raise EdgekitError(f"{out} is there already", hint="choose another --out, or add --replace")
    if out.is_dir():
        raise EdgekitError(f"{out} is a folder", hint="name a file, like me.code")
    encoder = named_or_shipped(encoder, "identity", what="identity encoder", how=TRAIN)
    if planned({"command": "identity enrol", "photos": files, "encoder": encoder, "out": out}):
        return
    loaded = open_encoder(bundle_at(encoder))
    faces, left_out = _faces(files, loaded.size_px, largest=largest, min_face=min_face)
    for file, problem in left_out.items():
        note(f"left out {file}: {problem.what}; {problem.hint}")
    if not faces:
        raise BadInput(
            f"none of {len(files)} photos shows a face that can be used",
            hint="use photos of one person, near and from the front",
        )
    made = enrolled(loaded, list(faces.values()))
    names = list(faces)
    if made.strangers:
        who = ", ".join(str(names[i]) for i in made.strangers)
        several = len(made.strangers) > 1
        what = f"{who} {'do' if several else 'does'} not look like the person of the other photos"
        what += f" (similarity below {loaded.threshold:.2f})"
        if not any_person:
            raise BadInput(what, hint="leave them out, or add --any-person if you are sure")
        note(f"warning: {what}")
    code = made.code
    if date:
        from datetime import UTC, datetime

        code = changed(code, created=datetime.now(UTC).date().isoformat())
    size = write_identity(out, code)
    note(
        f"this encoder is wrong about {loaded.equal_error:.0%} of the pairs of faces it was "
        "measured on: a code is no proof of who somebody is"
    )
    rows = [
        {"photo": str(name), "similarity": round(alike, 4)}
        for name, alike in zip(names, made.alike, strict=True)
    ]
    show(
        {
            "code": str(out),
            "bytes": size,
            "photos": rows,
            "left_out": {str(file): problem.what for file, problem in left_out.items()},
            "encoder_sha256": loaded.sha256,
            "file": loaded.entry.path,
        },
        f"{out}: {size} bytes of {len(names)} photos; delete it with `edgekit identity delete "
        f"{out}`",
    )


def _faces(
    files: list[Path], size_px: int, *, largest: bool, min_face: int
) -> tuple[dict[Path, Photo], dict[Path, BadInput]]:
    """Return the aligned face of each photo that has one, and what is wrong with the others."""
    from edgekit.core.images import load_photo
    from edgekit.distill.faces.align import Bars, aligned

    bars, report = Bars(largest=largest, min_face_px=min_face), ConsoleReport()
    faces: dict[Path, Photo] = {}
    left_out: dict[Path, BadInput] = {}
    for number, file in enumerate(files):
        try:
            faces[file] = aligned(load_photo(file), size_px, bars).photo
        except BadInput as problem:
            left_out[file] = problem
        report("photos", number + 1, len(files))
    return faces, left_out


@app.command("show")
def show_code(code: CodeArgument) -> None:
    """Say what is in a code; a person cannot be recognised from what is shown.

    Example: edgekit identity show me.code
    """
    from edgekit.core.identity import read_identity

    found = read_identity(code)
    size = code.stat().st_size
    queries, width = found.values.shape
    data: dict[str, Any] = {
        "code": str(code),
        "bytes": size,
        "shape": [queries, width],
        "photos": found.photos,
        "created": found.created,
        "threshold": found.threshold,
        "encoder_sha256": found.encoder_sha256,
    }
    show(
        data,
        f"{code}: {size} bytes, {queries} x {width} numbers of {found.photos} photos, "
        f"{f'made on {found.created}' if found.created else 'no date'}, encoder "
        f"{found.encoder_sha256[:12]}",
    )


@app.command()
def compare(one: CodeArgument, two: CodeArgument) -> None:
    """Say how alike two codes are, and whether that counts as one person.

    Example: edgekit identity compare me.code you.code
    """
    from edgekit.core.identity import read_identity, similarity

    first, second = read_identity(one), read_identity(two)
    alike = similarity(first, second)
    same = alike >= first.threshold
    show(
        {"similarity": round(alike, 4), "threshold": first.threshold, "same_person": same},
        f"similarity {alike:.3f}, {'one person' if same else 'two people'} by the threshold of "
        f"{first.threshold:.3f}",
    )


@app.command()
def delete(codes: Annotated[list[Path], typer.Argument(help="Codes to delete.")]) -> None:
    """Overwrite codes with random bytes and remove them; other files are never touched.

    Example: edgekit identity delete me.code
    """
    from edgekit.core.identity import erase_identity

    if planned({"command": "identity delete", "codes": codes}):
        return
    gone = {str(code): erase_identity(code) for code in codes}
    note("backups, snapshots and copies of these files, if there are any, are yours to delete")
    show(
        {"deleted": list(gone)},
        "\n".join(f"{code}: {size} bytes overwritten and removed" for code, size in gone.items()),
    )


@app.command()
def train(
    faces: Annotated[
        list[Path], typer.Argument(help="Folders of `edgekit pairs faces`; several are joined.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Run folder; an unfinished one is continued.")
    ] = Path("runs/identity"),
    seconds: Annotated[
        float | None, typer.Option(help="Time of the training over all continuations.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the training.")] = None,
    arm: Annotated[
        str,
        typer.Option(
            help="full, or a baseline: masked, flow, one-to-one, eight-to-eight, cosface, infonce.",
            show_default=True,
        ),
    ] = "full",
    pictures: Annotated[int | None, typer.Option(help="Faces a step.  [default: 512]")] = None,
    toy: Annotated[
        bool, typer.Option("--toy", help="A size for a look at whether everything runs.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides weights and batches.", show_default=True)] = 0,
    device: Annotated[
        str | None, typer.Option(help="cuda or cpu.  [default: cuda where there is one]")
    ] = None,
) -> None:
    """Train an identity encoder on faces, measure it on people it never saw, and write a student.

    Example: edgekit identity train runs/faces --seconds 900
    """
    from edgekit.distill.identity.recipe import IdentityRecipe
    from edgekit.distill.identity.recipe import toy as toy_sized

    if seconds is not None and seconds <= 0:
        raise EdgekitError(f"--seconds {seconds:g} is no time", hint="give it some seconds")
    given: dict[str, Any] = {"arm": arm, "seed": seed, "steps": steps}
    if seconds is not None:
        given["seconds"] = seconds
    recipe = IdentityRecipe(**given)
    if toy:
        recipe = toy_sized(recipe)
    if pictures is not None:
        from dataclasses import replace as changed

        recipe = changed(recipe, pictures=pictures)
    if planned({"command": "identity train", "faces": faces, "out": out, **recipe.values()}):
        return
    import torch

    from edgekit.distill.identity.train import train_identity

    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    manifest = train_identity(faces, recipe, out, device=chosen)
    assert manifest is not None
    found = manifest["quality"]["identity"]
    show(
        {"out": str(out), **manifest},
        f"{out}: {manifest['parameters'] / 1e6:.2f} M parameters, trained "
        f"{manifest['seconds']:.0f} s; wrong about {found['equal_error']:.1%} of pairs of "
        f"{found['people']} people that no training saw; next: edgekit export {out}",
    )
