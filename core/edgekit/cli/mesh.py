"""``edgekit mesh``: a prompt becomes a mesh in one forward pass, on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import latest_run, note, planned, show
from edgekit.cli.shipped import PREFIX, bundle_at, ships
from edgekit.core.errors import EdgekitError

app = typer.Typer(rich_markup_mode=None, add_completion=False)
OUT = Path("mesh.glb")


@app.command()
def mesh(
    prompt: Annotated[str, typer.Argument(help="What to make, in words that the run knows.")],
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run or bundle of a mesh generator.  [default: the latest one in runs/, else the "
            "one that ships]"
        ),
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write, repeatable: .glb, .obj, .usdz, .png (four views), .gif "
            f"(turntable).  [default: {OUT}]",
        ),
    ] = None,
    triangles: Annotated[
        int | None,
        typer.Option(help="At most so many.  [default: 4000; all of them with --texture 0]"),
    ] = None,
    texture: Annotated[
        int, typer.Option(help="Side of the texture, pixels; 0: colours of vertices.")
    ] = 512,
    cells: Annotated[
        int | None,
        typer.Option(help="Cells a side of the lattice.  [default: as it was trained]"),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Use the file for onnx, android or ios.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Use the fp32, fp16 or int8 file.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.  [default: all cores]")
    ] = None,
) -> None:
    """Make a mesh of a prompt: closed, with a texture, in the formats of apps and tools.

    Example: edgekit mesh "a red striped cone with legs" -o cone.glb
    """
    from edgekit.runtime.mesh.files import check_name, write_mesh
    from edgekit.runtime.mesh.generate import Clock, Finish, open_generator
    from edgekit.runtime.mesh.surface import facts_of
    from edgekit.runtime.mesh.words import split_prompt

    files = out or [OUT]
    for file in files:
        check_name(file)
    finish = Finish(triangles=triangles, texture_px=texture)
    folder = run or _latest_or_shipped()
    if planned(
        {
            "command": "mesh",
            "run": folder,
            "words": split_prompt(prompt),
            "out": files,
            "triangles": finish.budget,
            "texture_px": texture,
        }
    ):
        return
    wanted = [target] if target else []
    kinds = dict.fromkeys(("fp32", precision or "fp32"))  # the field is always used in float32
    bundle = bundle_at(folder, targets=wanted, precisions=list(kinds))
    start = time.perf_counter()
    generator = open_generator(bundle, target=target, precision=precision, threads=threads)
    note(f"using {generator.planes.entry.path} ({time.perf_counter() - start:.2f} s to open)")
    clock = Clock()
    made = generator.mesh(prompt, cells=cells, finish=finish, clock=clock)
    written: list[Path] = []
    for file in files:
        with clock.stage(file.suffix.lower()[1:]):
            written += write_mesh(made.mesh, file)
    facts = facts_of(made.mesh)
    seconds = {stage: round(value, 4) for stage, value in made.seconds.items()}
    spent = ", ".join(f"{stage} {value:.2f}" for stage, value in seconds.items())
    tight = "closed" if facts.watertight else f"{facts.open_edges} open edges"
    show(
        {
            "files": written,
            "bytes": sum(file.stat().st_size for file in written),
            "model": generator.planes.entry.path,
            "seconds": seconds,
            "vertices": facts.vertices,
            "triangles": facts.triangles,
            "pieces": facts.pieces,
            "watertight": facts.watertight,
            "volume": round(facts.volume, 4),
        },
        f"{', '.join(map(str, written))}  {facts.triangles} triangles, {tight}, "
        f"{sum(seconds.values()):.2f} s ({spent})",
    )


def _latest_or_shipped() -> Path:
    try:
        return latest_run(form="mesh")
    except EdgekitError:
        if not ships("things"):
            raise
        return Path(PREFIX + "things")
