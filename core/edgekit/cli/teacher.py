"""``edgekit teacher``: what a teacher is, what it does to a photo, how the bundled one is made."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from edgekit.cli import teacher_views
from edgekit.cli.common import ConsoleReport, note, planned, show


class TeacherKind(Enum):
    """What `edgekit teacher train` can make."""

    EDITOR = "editor"
    VIEWS = "views"
    JUDGE = "judge"


_OPTIONS = {
    TeacherKind.EDITOR: (
        "--photos", "--work", "--autoencoder-seconds", "--editor-seconds", "--resolution",
    ),
    TeacherKind.VIEWS: ("--meshes", "--seconds", "--stop-after", "--resolution"),
    TeacherKind.JUDGE: ("--seconds",),
}  # fmt: skip

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Inspect, sample or train a diffusion teacher.\n\nExample: edgekit teacher info",
)


@app.command()
def info(
    where: Annotated[
        str, typer.Argument(help="bundled, a diffusers folder, or a hub id.")
    ] = "bundled",
) -> None:
    """Say what a teacher is: class, size, default sampling, known concepts, identity.

    Example: edgekit teacher info bundled
    """
    from edgekit.distill.teachers.folders import describe_teacher

    if planned({"step": "teacher info", "teacher": where}):
        return
    found = describe_teacher(where)
    data: dict[str, Any] = {
        "name": found.name,
        "folder": str(found.folder),
        "class": found.class_name,
        "identity": found.identity,
        "parameters": found.parameters,
        "bytes": found.size_bytes,
        "sampling": found.sampling.facts(),
        "concepts": list(found.concepts),
        "card": found.card,
    }
    sampling = ", ".join(
        f"{key.replace('_', ' ')} {value:g}" for key, value in found.sampling.facts().items()
    )
    lines = [
        f"{found.identity}  {found.class_name}",
        f"  {found.parameters / 1e6:.1f} M parameters, {found.size_bytes / 1e6:.1f} MB in "
        f"{found.folder}",
        f"  by default: {sampling}",
        f"  knows: {', '.join(found.concepts)}; two of them together; slightly or strongly"
        if found.concepts
        else "  takes any prompt",
    ]
    lines += [
        f"  {key}: {found.card[key]}" for key in ("what", "licence", "seed") if key in found.card
    ]
    training = found.card.get("training", {})
    if "seconds" in training:
        lines.append(f"  trained for {training['seconds']:.0f} s on {training.get('device', '?')}")
    show(data, "\n".join(lines))


@app.command()
def sample(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    concept: Annotated[str, typer.Option("--concept", "--prompt", help="The edit in words.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the before/after pictures.")
    ] = Path("samples"),
    teacher: Annotated[
        str, typer.Option(help="bundled, a diffusers folder, or a hub id.")
    ] = "bundled",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first photo's noise.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Hold on the prompt.")] = None,
    image_guidance: Annotated[
        float | None, typer.Option(help="InstructPix2Pix: hold on the photo.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="SDEdit: share of the noise schedule to run.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Edit photos with a teacher and write before/after pictures.

    Example: edgekit teacher sample photo.jpg --concept "make it night" -o samples
    """
    from edgekit.core.images import photo_files
    from edgekit.distill.teachers.loader import load_teacher
    from edgekit.distill.teachers.strips import write_strips

    files = [file for place in photos for file in photo_files(place)]
    if planned(
        {
            "step": "teacher sample",
            "teacher": teacher,
            "concept": concept,
            "photos": files,
            "out": out,
            "seed": seed,
        }
    ):
        return
    loaded = load_teacher(
        teacher,
        device=device,
        steps=steps,
        guidance=guidance,
        image_guidance=image_guidance,
        strength=strength,
    )
    strips = write_strips(loaded, photos, concept, out, seed=seed, report=ConsoleReport())
    for strip in strips:
        if strip.problem:
            note(f"skipped {strip.problem}")
    show(
        {
            "teacher": loaded.identity,
            "sampling": loaded.sampling,
            "pictures": [
                {
                    "photo": str(strip.photo),
                    "out": str(strip.out) if strip.out else None,
                    "problem": strip.problem or None,
                }
                for strip in strips
            ],
        },
        "\n".join(str(strip.out) for strip in strips if strip.out),
    )


app.command()(teacher_views.draw)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for the finished teacher.")],
    kind: Annotated[
        TeacherKind,
        typer.Option(help="editor of photos, views of things, or the judge of such views."),
    ] = TeacherKind.EDITOR,
    photos: Annotated[
        Path | None,
        typer.Option(help="editor: folder of photos, or one with train/ and test/ inside."),
    ] = None,
    meshes: Annotated[
        Path | None, typer.Option(help="views: folder of captioned meshes to learn from as well.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="views, judge: time for training, in sum.")
    ] = None,
    stop_after: Annotated[
        float | None,
        typer.Option(min=1, help="views: seconds after which this call ends, to be continued."),
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder for the state of training.  [default: OUT.work]")
    ] = None,
    autoencoder_seconds: Annotated[
        float | None, typer.Option(min=1, help="editor: time for the autoencoder.")
    ] = None,
    editor_seconds: Annotated[
        float | None, typer.Option(min=1, help="editor: time for the editor.")
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(help="Side of the training pictures, pixels.  [default: 256; views: 64]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides everything that is drawn.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    toy: Annotated[
        bool, typer.Option("--toy", help="Tiny networks and batches, to try the command.")
    ] = False,
) -> None:
    """Train the small editor that edgekit ships, or a teacher of views; good ones need a GPU.

    A call that was interrupted continues where it stopped.

    Example: edgekit teacher train --photos photos --out my-teacher
    """
    given = {
        "--photos": photos,
        "--work": work,
        "--autoencoder-seconds": autoencoder_seconds,
        "--editor-seconds": editor_seconds,
        "--meshes": meshes,
        "--stop-after": stop_after,
        "--seconds": seconds,
        "--resolution": resolution,
    }
    for name, value in given.items():
        if value is not None and name not in _OPTIONS[kind]:
            raise typer.BadParameter(f"is not for --kind {kind.value}", param_hint=name)
    if kind is TeacherKind.EDITOR:
        if photos is None:
            raise typer.BadParameter("name the folder of photos", param_hint="--photos")
        seconds_each = (autoencoder_seconds, editor_seconds)
        _train_editor(photos, out, work, seconds_each, resolution or 256, seed, device, toy=toy)
    elif kind is TeacherKind.VIEWS:
        budget = (seconds, stop_after)
        teacher_views.train_views(out, meshes, budget, resolution, seed, device, toy=toy)
    else:
        teacher_views.train_judge(out, seconds, seed, device, toy=toy)


def _train_editor(
    photos: Path,
    out: Path,
    work: Path | None,
    seconds_each: tuple[float | None, float | None],
    resolution: int,
    seed: int,
    device: str,
    *,
    toy: bool,
) -> None:
    from edgekit.core.errors import EdgekitError
    from edgekit.core.images import photo_files
    from edgekit.core.store import prepared_folder
    from edgekit.distill.teachers.folders import describe_teacher, quiet
    from edgekit.distill.teachers.loader import device_named

    with quiet():
        from edgekit.distill.teachers.fit_autoencoder import AutoencoderSettings
        from edgekit.distill.teachers.fit_editor import EditorSettings
        from edgekit.distill.teachers.networks import TOY
        from edgekit.distill.teachers.train import TrainSettings
        from edgekit.distill.teachers.train import train as train_teacher

    if resolution < 64 or resolution % 64:
        raise EdgekitError(f"resolution = {resolution}", hint="choose a multiple of 64")
    state = work or out.with_name(f"{out.name}.work")
    number = len(photo_files(photos))
    place = device_named(device)
    compiled = place == "cuda"  # compiling for a CPU costs more than it saves here
    autoencoder = AutoencoderSettings(compile=compiled, crop=min(128, resolution))
    editor = EditorSettings(compile=compiled)
    if toy:
        autoencoder = replace(autoencoder, seconds=10, batch=4, crop=32, pool=16, fresh=4)
        editor = replace(editor, seconds=10, batch=4, pool=16, fresh=4)
    autoencoder_seconds, editor_seconds = seconds_each
    if autoencoder_seconds is not None:
        autoencoder = replace(autoencoder, seconds=autoencoder_seconds)
    if editor_seconds is not None:
        editor = replace(editor, seconds=editor_seconds)
    settings = TrainSettings(
        photos=photos,
        out=out,
        work=state,
        seed=seed,
        resolution=resolution,
        device=place,
        autoencoder=autoencoder,
        editor=editor,
    )
    if toy:
        settings = replace(settings, size=TOY, crops_per_set=8, measure_per_set=2)
    if planned(
        {
            "step": "teacher train",
            "photos": number,
            "out": out,
            "work": state,
            "device": place,
            "autoencoder_seconds": autoencoder.seconds,
            "editor_seconds": editor.seconds,
            "resolution": resolution,
            "seed": seed,
            "toy": toy,
        }
    ):
        return
    prepared_folder(out)
    with quiet(), redirect_stdout(sys.stderr):  # packages print; stdout is for the result
        done = train_teacher(settings)
    found = describe_teacher(str(done.folder))
    show(
        {
            "out": str(done.folder),
            "finished": done.finished,
            "identity": found.identity,
            "parameters": found.parameters,
            "bytes": found.size_bytes,
        },
        f"{done.folder}: {found.parameters / 1e6:.1f} M parameters, "
        f"{'finished' if done.finished else 'not finished: the same command continues'}; "
        f"try it: edgekit teacher sample PHOTO --teacher {done.folder} --concept 'make it night'",
    )
