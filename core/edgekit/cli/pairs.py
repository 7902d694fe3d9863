"""``edgekit pairs``: make (photo, edit) pairs with a teacher, look at them, choose among them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from edgekit.cli.common import ConsoleReport, note, planned, show
from edgekit.core.errors import EdgekitError

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Make, inspect and select (photo, edit) pairs with a teacher, or faces of people.\n\n"
    'Example: edgekit pairs make --concept "make it night" --out pairs/night',
)


@app.command()
def make(
    concept: str = typer.Option(..., "--concept", "--prompt", help="The edit in words."),
    out: Path = typer.Option(..., help="Folder to write; an unfinished one is continued."),
    photos: Path | None = typer.Option(
        None, help="Folder of photos; default: those inside scikit-image and scikit-learn."
    ),
    teacher: str = typer.Option("bundled", help="bundled, a diffusers folder, or a hub id."),
    count: int = typer.Option(96, help="Pairs to make."),
    size: int = typer.Option(128, help="Side of the square pictures, in pixels."),
    seed: int = typer.Option(0, help="Decides crops, variations and noise."),
    heldout: float = typer.Option(0.15, help="Share that no training may see."),
    variation: float = typer.Option(
        0.25, help="Share of the training sources that the teacher first varies."
    ),
    select: str | None = typer.Option(
        None,
        help="Draw more crops and edit only those that stand for all: kmeans, facility or random.",
    ),
    pool: int | None = typer.Option(
        None, help="Crops that --select chooses from; default: 6 for each pair."
    ),
    steps: int | None = typer.Option(None, help="Sampling steps; default: the teacher's own."),
    guidance: float | None = typer.Option(None, help="Guidance; default: the teacher's own."),
    image_guidance: float | None = typer.Option(None, help="InstructPix2Pix: hold on the photo."),
    strength: float | None = typer.Option(None, help="SDEdit: share of the schedule to run."),
    batch_size: int | None = typer.Option(None, help="Photos edited at once."),
    work_size: int | None = typer.Option(
        None, help="Side at which the teacher works; default: the largest it was trained for."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    min_change: float | None = typer.Option(None, help="Reject edits that change less, of 1."),
    min_structure: float | None = typer.Option(
        None, help="Reject edits whose edges correlate less with the photo's, of 1."
    ),
    max_shift: float | None = typer.Option(
        None, help="Reject edits displaced by more than this share of the side."
    ),
) -> None:
    """Edit crops of photos with a teacher, score each pair, and keep them as WebDataset shards.

    A run that was killed continues where it stopped and gives the same bytes.

    Example: edgekit pairs make --concept "make it night" --photos holiday --out pairs/night
    """
    from edgekit.core.images import photo_files
    from edgekit.distill.pairs.make import make_pairs
    from edgekit.distill.pairs.quality import Bars
    from edgekit.distill.pairs.settings import PairSettings
    from edgekit.distill.teachers.loader import load_teacher

    asked: dict[str, Any] = {
        "min_change": min_change,
        "min_structure": min_structure,
        "max_shift": max_shift,
    }
    settings = PairSettings(
        prompt=concept,
        photos=photos,
        count=count,
        size_px=size,
        seed=seed,
        heldout=heldout,
        variation=variation,
        select=select or "",
        pool=pool or 0,
        bars=Bars(**{name: value for name, value in asked.items() if value is not None}),
    )
    if photos is not None:
        photo_files(photos)  # a missing folder is said before a teacher is loaded
    plan = {"step": "pairs make", "out": out, "teacher": teacher, "photos": photos}
    if planned({**plan, **settings.recipe()}):
        return
    loaded = load_teacher(
        teacher,
        device=device,
        steps=steps,
        guidance=guidance,
        image_guidance=image_guidance,
        strength=strength,
        batch_size=batch_size,
        work_px=work_size,
        pairs_px=size,
    )
    pairs = make_pairs(settings, loaded, out, report=ConsoleReport())
    for skipped in pairs.manifest["skipped"]:
        note(f"skipped {skipped['name']}: {skipped['reason']}")
    facts = {name: pairs.manifest[name] for name in ("pairs", "train", "heldout", "rejected")}
    show(
        {"out": str(out), "teacher": loaded.identity, **facts},
        f"{out}: {facts['train']} pairs to train on, {facts['heldout']} held out, "
        f"{facts['rejected']} rejected; look at them: edgekit pairs inspect {out}",
    )


@app.command()
def inspect(
    folder: Path = typer.Argument(
        ..., help="A folder that `edgekit pairs make` or `edgekit pairs faces` wrote."
    ),
    out: Path | None = typer.Option(None, help="Contact sheet; default: FOLDER/sheet.png."),
    limit: int = typer.Option(48, min=1, help="Most pairs or faces on the sheet."),
) -> None:
    """Write a contact sheet of pairs or faces and print counts and scores.

    Example: edgekit pairs inspect pairs/night --out night.png
    """
    from edgekit.core.store import MANIFEST, read_json
    from edgekit.distill.pairs.inspect import contact_sheet, summary, summary_text
    from edgekit.distill.pairs.store import open_pairs

    sheet = out or folder / "sheet.png"
    if planned({"step": "pairs inspect", "folder": folder, "sheet": sheet, "limit": limit}):
        return
    if (folder / MANIFEST).is_file() and read_json(folder / MANIFEST).get("kind") == "faces":
        from edgekit.distill.faces import inspect as of_faces
        from edgekit.distill.faces.store import open_faces

        faces = open_faces(folder)
        facts = of_faces.summary(faces)
        of_faces.contact_sheet(faces, sheet, limit=limit)
        show({**facts, "sheet": str(sheet)}, f"{of_faces.summary_text(facts)}\n{sheet}")
        return
    pairs = open_pairs(folder)
    facts = summary(pairs)
    contact_sheet(pairs, sheet, limit=limit)
    show({**facts, "sheet": str(sheet)}, f"{summary_text(facts)}\n{sheet}")


@app.command()
def select(
    folder: Path = typer.Argument(..., help="A folder that `edgekit pairs make` wrote."),
    out: Path = typer.Option(..., help="Folder to write, for `edgekit distill --pairs`."),
    count: int = typer.Option(40, help="Training pairs to keep; held-out pairs all stay."),
    method: str = typer.Option(
        "kmeans",
        help="kmeans (nearest to each cluster's center), facility (every pair has a chosen one "
        "near) or random (the control).",
    ),
    seed: int = typer.Option(0, min=0, help="Decides the clusters' starts, or the lot."),
    edits: bool = typer.Option(False, "--edits", help="Compare the edits too, not only sources."),
) -> None:
    """Keep few training pairs that stand for all: less to train on, or to look at.

    The same seed gives the same choice. Held-out pairs are not looked at and all kept.

    Example: edgekit pairs select pairs/night --count 40 --out pairs/night-40
    """
    from edgekit.distill.pairs.select import select_pairs

    plan = {"step": "pairs select", "folder": folder, "out": out, "count": count}
    if planned({**plan, "method": method, "seed": seed, "edits": edits}):
        return
    pairs = select_pairs(
        folder, out, count=count, method=method, seed=seed, edits=edits, report=ConsoleReport()
    )
    facts = {name: pairs.manifest[name] for name in ("pairs", "train", "heldout", "selection")}
    show(
        {"out": str(out), **facts},
        f"{out}: {facts['train']} pairs to train on, of {facts['selection']['from']['train']}, "
        f"{facts['heldout']} held out; next: edgekit distill --concept "
        f"{pairs.manifest['prompt']!r} --pairs {out}",
    )


@app.command()
def faces(
    folders: list[Path] = typer.Argument(
        None,
        metavar="[FOLDER]...",
        help="Folders of people: FOLDER/PERSON/PHOTO.jpg, or with an index.csv.",
        show_default=False,
    ),
    out: Path = typer.Option(
        ..., "--out", "-o", help="Folder to write; an unfinished one is continued."
    ),
    size: int = typer.Option(256, help="Side of the aligned crops, in pixels."),
    val: float = typer.Option(0.08, help="Share of the people to choose weights on."),
    test: float = typer.Option(0.1, help="Share of the people that no training may see."),
    licence: list[str] = typer.Option(
        [], help="Take only photos under this licence of index.csv; repeatable."
    ),
    largest: bool = typer.Option(
        False, "--largest", help="Of several faces take the largest; default: refuse the photo."
    ),
    min_face: int = typer.Option(40, help="Least side of a face, in the photo's pixels."),
    max_yaw: float = typer.Option(60.0, help="Most degrees that a face is turned to a side."),
    max_padding: float = typer.Option(0.35, help="Most of a crop that lies outside the photo."),
    head_model: Path | None = typer.Option(
        None, help="Render people who do not exist from this morphable head, instead of photos."
    ),
    identities: int = typer.Option(200, help="--head-model: people to render."),
    images: int = typer.Option(12, help="--head-model: pictures of each person."),
    seed: int = typer.Option(0, help="--head-model: decides who they are."),
    device: str = typer.Option("auto", help="--head-model: auto, cpu, cuda or mps."),
) -> None:
    """Find, align and landmark the faces of known people, and split them by person.

    What cannot be used is listed in refused.jsonl with cause and remedy. A run that was killed
    continues where it stopped and gives the same bytes.

    Example: edgekit pairs faces portraits -o faces
    """
    if (head_model is None) == (not folders):
        raise EdgekitError(
            "give either folders of photos or --head-model",
            hint="edgekit pairs faces portraits -o faces",
        )
    plan: dict[str, Any] = {"step": "pairs faces", "out": out}
    if head_model is not None:
        from edgekit.distill.faces.heads.make import HeadSettings, make_heads
        from edgekit.distill.teachers.loader import device_named

        heads = HeadSettings(
            identities=identities, images=images, size_px=size, seed=seed, val=val, test=test
        )
        if planned({**plan, "head_model": head_model, **asdict(heads)}):
            return
        made = make_heads(
            head_model, heads, out, device=device_named(device), report=ConsoleReport()
        )
    else:
        from edgekit.distill.faces.align import Bars
        from edgekit.distill.faces.make import FaceSettings, make_faces

        bars = Bars(largest=largest, min_face_px=min_face, max_yaw=max_yaw, max_padding=max_padding)
        settings = FaceSettings(
            size_px=size, val=val, test=test, licences=tuple(licence), bars=bars
        )
        if planned({**plan, "folders": folders, **asdict(settings)}):
            return
        made = make_faces(folders, settings, out, report=ConsoleReport())
    for warning in made.manifest["warnings"]:
        note(f"warning: {warning}")
    names = ("faces", "people", "splits", "alone", "refused", "warnings")
    facts = {name: made.manifest[name] for name in names}
    show(
        {"out": str(out), **facts},
        f"{out}: {facts['faces']} faces of {facts['people']} people ("
        + ", ".join(f"{own['people']} {split}" for split, own in facts["splits"].items())
        + ")",
    )


@app.command("head-model")
def head_model(
    folder: Path = typer.Argument(..., help="Folder FaceXModel of a checkout of ICT-FaceKit."),
    out: Path = typer.Option(..., "--out", "-o", help="File to write, ending in .npz."),
) -> None:
    """Turn ICT-FaceKit's OBJ files into the file that `pairs faces --head-model` reads.

    Example: edgekit pairs head-model ICT-FaceKit/FaceXModel -o ict_facekit.npz
    """
    from edgekit.distill.faces.heads.convert import convert_head_model

    if planned({"step": "pairs head-model", "folder": folder, "out": out}):
        return
    facts = convert_head_model(folder, out, report=ConsoleReport())
    show(
        {"out": str(out), **facts},
        f"{out}: {facts['identities']} shapes of identity, {facts['expressions']} of expression, "
        f"{facts['vertices']} vertices ({facts['bytes'] / 1e6:.1f} MB)",
    )
