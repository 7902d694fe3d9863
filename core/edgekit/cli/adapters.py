"""``edgekit adapters``: the concepts of a base, each a file of less than 100 kB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.common import planned, show
from edgekit.core.errors import EdgekitError

if TYPE_CHECKING:
    from edgekit.core.concepts import Concept
    from edgekit.core.manifest import BundleManifest

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
BaseArgument = Annotated[Path, typer.Argument(help="Folder of `edgekit export --base`.")]


@app.callback()
def adapters() -> None:
    """Add concepts to an exported base, list and remove them."""


@app.command()
def add(
    base: BaseArgument,
    concepts: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Run folders of `edgekit distill`, or .safetensors files of another base's "
            "adapters/ folder. The name of the folder or file becomes the concept's."
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Add what the base itself makes of these words: no training, 23 kB."),
    ] = None,
    base_folder: Annotated[
        Path | None, typer.Option(help="The base of your own that was exported.")
    ] = None,
) -> None:
    """Add concepts to a base; one that was trained on another base is refused.

    Example: edgekit adapters add runs/base runs/night runs/snow
    """
    from edgekit.core.manifest import read_bundle
    from edgekit.runtime.bundle import bundle_folder
    from edgekit.runtime.concepts import add_concepts, base_of, slug

    folder = bundle_folder(base)
    base_of(read_bundle(folder), folder)
    sources = list(concepts or [])
    names = [slug(path.stem if path.is_file() else path.resolve().name) for path in sources]
    names += [slug(words) for words in prompt or []]
    if not names:
        raise EdgekitError("no concept is given", hint="name a run folder, or add --prompt WORDS")
    for name in names:
        if names.count(name) > 1:
            raise EdgekitError(
                f"two concepts would be called {name!r}", hint="rename one of the folders"
            )
    if planned({"command": "adapters add", "bundle": folder, "concepts": names}):
        return
    made = _packed(sources, prompt or [], base_folder)
    manifest = add_concepts(folder, dict(zip(names, made, strict=True)))
    _show(folder, manifest)


def _packed(sources: list[Path], prompts: list[str], base_folder: Path | None) -> list[Concept]:
    """Read what is packed already; pack the rest, for which the base is loaded once."""
    from edgekit.core.concepts import read_concept

    packed = {path: read_concept(path) for path in sources if path.is_file()}
    if len(packed) == len(sources) and not prompts:
        return list(packed.values())  # torch is not needed
    from edgekit.distill.adapters_pack import concept_of_run, concept_of_text
    from edgekit.distill.base import load_base

    base = load_base(base_folder)
    runs = [packed.get(path) or concept_of_run(path, base) for path in sources]
    return runs + [concept_of_text(words, base) for words in prompts]


@app.command("list")
def list_concepts(base: BaseArgument) -> None:
    """List the concepts of a base.

    Example: edgekit adapters list runs/base
    """
    from edgekit.core.manifest import read_bundle
    from edgekit.runtime.bundle import bundle_folder
    from edgekit.runtime.concepts import base_of

    folder = bundle_folder(base)
    manifest = read_bundle(folder)
    base_of(manifest, folder)
    _show(folder, manifest)


@app.command()
def remove(
    base: BaseArgument,
    names: Annotated[list[str], typer.Argument(help="Names of concepts.")],
) -> None:
    """Remove concepts from a base and delete their files; their runs are not touched.

    Example: edgekit adapters remove runs/base snow
    """
    from edgekit.runtime.bundle import bundle_folder
    from edgekit.runtime.concepts import remove_concepts

    folder = bundle_folder(base)
    if planned({"command": "adapters remove", "bundle": folder, "concepts": names}):
        return
    _show(folder, remove_concepts(folder, names))


def _show(folder: Path, manifest: BundleManifest) -> None:
    lines = [f"{'concept':28} {'kB':>6}  ranks"]
    for row in manifest.concepts:
        ranks = " ".join(f"{group}={rank}" for group, rank in row.ranks.items() if rank)
        lines.append(f"{row.name:28} {row.bytes / 1000:6.1f}  {ranks or 'the base as it is'}")
    whole = sum(row.bytes for row in manifest.concepts)
    lines.append(f"{len(manifest.concepts)} concepts, {whole / 1000:.1f} kB: {folder}")
    rows = [row.model_dump(mode="json") for row in manifest.concepts]
    show({"bundle": folder, "concepts": rows, "bytes": whole}, "\n".join(lines))
