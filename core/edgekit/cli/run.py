"""``edgekit run``: a bundle edits photos on this machine, as the phone would."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.common import ConsoleReport, note, planned, show
from edgekit.core.errors import BadInput, EdgekitError

if TYPE_CHECKING:
    from edgekit.core.manifest import BundleManifest
    from edgekit.runtime.bundle import OpenBundle

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
            help="File to write (.png, .jpg, .webp), or a folder for a folder of photos or "
            "several concepts.  [default: PHOTO's name with -edited, in the current folder]",
        ),
    ] = None,
    concept: Annotated[
        list[str] | None,
        typer.Option(help="Of a base: switch it to this concept. Repeatable, a picture each."),
    ] = None,
    blend: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WEIGHT,...",
            help="Of a base: switch it to a weighted mix, like night=0.6,snow=0.4. Repeatable.",
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
    provider: Annotated[
        str | None,
        typer.Option(help="Hand the file to this: cpu, cuda, coreml, xnnpack, gpu, npu and more."),
    ] = None,
) -> None:
    """Edit a photo of any size with a bundle; a large photo goes through in tiles without seams.

    A base (`edgekit export --base`) is loaded once and switched from concept to concept.

    Example: edgekit run runs/night/bundle photo.jpg -o night.png
    """
    from edgekit.core.manifest import read_bundle
    from edgekit.runtime.bundle import bundle_folder, chosen, open_bundle
    from edgekit.runtime.photos import edit_each, planned_each

    folder = bundle_folder(bundle)
    manifest = read_bundle(folder)
    blends = {word: _weights(word) for word in blend or []}
    labels = _labels(manifest, folder, concept or [], blends)
    jobs = planned_each(photo, out, labels)
    if planned(
        {
            "command": "run",
            "model": chosen(manifest, target, precision, provider).path,
            "photos": {str(source): str(file) for source, file in jobs},
            "concepts": labels,
            "max_side": max_side,
        }
    ):
        return
    opened = open_bundle(
        folder, target=target, precision=precision, threads=threads, provider=provider
    )
    note(f"using {opened.entry.path}")
    variants = _variants(opened, concept or [], blends, labels)
    done = edit_each(variants, photo, out, max_side=max_side, report=ConsoleReport())
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


def _weights(words: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for word in words.split(","):
        name, _, number = word.partition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            raise EdgekitError(
                f"--blend {words!r} is not NAME=WEIGHT,NAME=WEIGHT",
                hint="write --blend night=0.6,snow=0.4",
            ) from None
    return weights


def _labels(
    manifest: BundleManifest, folder: Path, names: list[str], blends: dict[str, dict[str, float]]
) -> list[str]:
    """Check all names before work; return what the pictures' files are called after."""
    from edgekit.runtime.concepts import base_of, found

    if manifest.adapter_input is not None and not names and not blends:
        held = ", ".join(row.name for row in manifest.concepts)
        raise EdgekitError(
            f"{folder} is a base and needs a concept",
            hint=f"add --concept NAME, one of: {held}"
            if held
            else "add one with `edgekit adapters add BASE RUN`",
        )
    if names or blends:
        base_of(manifest, folder)
    labels = [found(manifest, name).name for name in names]
    for weights in blends.values():
        parts = {found(manifest, name).name: weight for name, weight in weights.items()}
        labels.append("-".join(f"{name}-{weight:g}" for name, weight in parts.items()))
    if len(set(labels)) < len(labels):
        raise EdgekitError("a concept is named twice", hint="give each --concept once")
    return labels


def _variants(
    opened: OpenBundle, names: list[str], blends: dict[str, dict[str, float]], labels: list[str]
) -> dict[str, OpenBundle]:
    if not labels:
        return {"": opened}
    switched = [opened.switched(name) for name in names]
    for words, weights in blends.items():
        made, blend = opened.blended(weights)
        if blend.lost:
            note(
                f"{words}: {blend.lost:.1%} of the change is lost, because the ranks add up to "
                f"more than the base's capacity (most in {blend.worst_layer}, "
                f"{blend.worst_lost:.1%}); export the base with a larger --capacity to keep it"
            )
        switched.append(made)
    return dict(zip(labels, switched, strict=True))
