"""``edgekit run``: a bundle edits photos on this machine, as the phone would."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import ConsoleReport, note, planned, show
from edgekit.core.errors import BadInput

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def run(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `edgekit export`.")],
    photo: Annotated[Path, typer.Argument(help="A photo of any size, or a folder of photos.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write (.png, .jpg, .webp), or a folder for a folder of photos.  "
            "[default: PHOTO's name with -edited, in the current folder]",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Use the file for onnx, android or ios.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Use the fp32, fp16 or int8 file.")] = None,
    max_side: Annotated[
        int | None, typer.Option(min=16, help="First scale the longer side down to this, pixels.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.  [default: all cores]")
    ] = None,
) -> None:
    """Edit a photo of any size with a bundle; a large photo goes through in tiles without seams.

    Example: edgekit run runs/night/bundle photo.jpg -o night.png
    """
    from edgekit.core.manifest import read_bundle
    from edgekit.runtime.bundle import bundle_folder, chosen, open_bundle
    from edgekit.runtime.photos import edit_files, planned_files

    folder = bundle_folder(bundle)
    place = out or Path(f"{photo.stem}-edited{'' if photo.is_dir() else '.png'}")
    if planned(
        {
            "command": "run",
            "model": chosen(read_bundle(folder), target, precision).path,
            "photos": {str(source): str(file) for source, file in planned_files(photo, place)},
            "max_side": max_side,
        }
    ):
        return
    opened = open_bundle(folder, target=target, precision=precision, threads=threads)
    note(f"using {opened.entry.path}")
    done = edit_files(opened, photo, place, max_side=max_side, report=ConsoleReport())
    good = [row for row in done if not row.problem]
    show(
        {
            "model": opened.entry.path,
            "photos": [asdict(row) for row in done],
        },
        "\n".join(
            f"{row.out}  {row.width}x{row.height}  {row.seconds:.1f} s"
            if not row.problem
            else f"skipped: {row.problem}"
            for row in done
        ),
    )
    if len(good) < len(done):
        raise BadInput(
            f"{len(done) - len(good)} of {len(done)} photos could not be used",
            hint="see the lines that say skipped; the other photos were edited",
        )
