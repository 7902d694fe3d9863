"""Write the generated parts of the documentation: the schema, the command reference, pictures.

python docs/generate.py                     schema and commands
python docs/generate.py --run demo-out/run  the picture strip of the README as well
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "examples"))

SCENE = "fjord"
SHEET_SCENES = ("coast", "fjord", "alps")
GAP = 6


def schema_text() -> str:
    """Return the JSON schema of a bundle's manifest."""
    from edgekit.core.manifest import schema

    return json.dumps(schema(), indent=2) + "\n"


def commands_text() -> str:
    """Return the help pages of all commands as one Markdown page."""
    from edgekit.cli.main import COMMANDS, run

    pages = ["# Commands\n\nWritten by `make docs` from the commands' own help.\n"]
    groups: dict[str, list[list[str]]] = {name: [[name]] for name in COMMANDS}
    groups["teacher"] += [["teacher", name] for name in ("info", "sample", "train")]
    groups["pairs"] += [["pairs", name] for name in ("make", "faces", "inspect")]
    people = ("enrol", "show", "compare", "delete", "train")
    groups["identity"] += [["identity", name] for name in people]
    groups["trt"] += [["trt", "build"]]
    groups["adapters"] += [["adapters", name] for name in ("add", "list", "remove")]
    for words in [[], *(path for paths in groups.values() for path in paths)]:
        buffer = io.StringIO()
        with contextlib.redirect_stdout(buffer):
            run([*words, "--help"])
        title = " ".join(["edgekit", *words])
        page = "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()).strip()
        pages.append(f"## {title}\n\n```text\n{page}\n```\n")
    return "\n".join(pages)


def strip(run: Path, out: Path) -> None:
    """Write source, teacher, student and int8 LiteRT of a rendered scene side by side."""
    from PIL import Image
    from scenes import scene_photo

    from edgekit.core.store import read_manifest
    from edgekit.distill.teachers.loader import load_teacher
    from edgekit.runtime.bundle import open_bundle

    student = read_manifest(run, kind="student")
    source = scene_photo(SCENE, 256)
    teacher = load_teacher("bundled").edit(source[None], student["prompt"], seed=0)[0]
    shown = [source, teacher]
    for target, precision in (("onnx", "fp32"), ("android", "int8")):
        bundle = open_bundle(run / "bundle", target=target, precision=precision)
        shown.append(bundle.edit(source))
    Image.fromarray(row(shown)).save(out, quality=90)


def teacher_sheet(out: Path, *, side: int = 150, columns: int = 10) -> None:
    """Write what the bundled teacher makes of three rendered scenes, one column an edit."""
    from PIL import Image, ImageDraw
    from scenes import scene_photo

    from edgekit.core.images import resized
    from edgekit.distill.teachers.loader import load_teacher
    from edgekit.distill.teachers.vocabulary import EDITS

    photos = np.stack([scene_photo(name, 256) for name in SHEET_SCENES])
    teacher = load_teacher("bundled")
    prompts = {edit.name: edit.wordings[0] for edit in EDITS.values()}
    prompts |= {
        "snowy night": "make it night and snowy",
        "autumn watercolor": "autumn as a watercolor",
    }
    shown = {"photo": photos}
    shown |= {name: teacher.edit(photos, prompt, seed=0) for name, prompt in prompts.items()}
    height = len(photos) * side + 22
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * side, rows * height), "white")
    for place, (name, edits) in enumerate(shown.items()):
        left, top = place % columns * side, place // columns * height
        ImageDraw.Draw(sheet).text((left + 4, top + 5), name, fill="black", font_size=13)
        for number, edit in enumerate(edits):
            tile = Image.fromarray(resized(edit, side, side))
            sheet.paste(tile, (left, top + 22 + number * side))
    sheet.save(out, quality=88)


def students_sheet(runs: Path, out: Path, *, side: int = 128) -> None:
    """Write source, teacher and student of two rendered scenes for every run below `runs`."""
    import torch
    from PIL import Image, ImageDraw
    from scenes import scene_photo

    from edgekit.core.images import resized, to_bytes, to_pixels
    from edgekit.core.store import read_json
    from edgekit.distill.teachers.loader import load_teacher

    scenes = np.stack([scene_photo(name, 256) for name in SHEET_SCENES[:2]])
    small = np.stack([resized(scene, side, side) for scene in scenes])
    teacher = load_teacher("bundled")
    blocks = {}
    for manifest in sorted(runs.glob("*/manifest.json")):
        facts = read_json(manifest)
        if facts.get("kind") != "student" or not facts["base_sha256"] or "-random" in str(manifest):
            continue
        program = torch.export.load(manifest.parent / "student.pt2").module()
        edits = teacher.edit(scenes, facts["prompt"], seed=0)
        rows = []
        for scene, edit in zip(small, edits, strict=True):
            image = torch.from_numpy(to_pixels(scene[None])).permute(0, 3, 1, 2)
            with torch.no_grad():
                made = program(image).permute(0, 2, 3, 1).numpy()
            rows.append(row([scene, resized(edit, side, side), to_bytes(made)[0]]))
        blocks[facts["prompt"]] = np.concatenate(rows)
    height, width = next(iter(blocks.values())).shape[:2]
    columns = 2
    lines = -(-len(blocks) // columns)
    sheet = Image.new("RGB", (columns * (width + 20), lines * (height + 30)), "white")
    for place, (prompt, block) in enumerate(blocks.items()):
        left, top = place % columns * (width + 20), place // columns * (height + 30)
        ImageDraw.Draw(sheet).text((left + 2, top + 6), prompt, fill="black", font_size=14)
        sheet.paste(Image.fromarray(block), (left, top + 26))
    sheet.save(out, quality=88)


def row(photos: Sequence[np.ndarray]) -> np.ndarray:
    """Return photos of one size in a row with white gaps."""
    gap = np.full((photos[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for photo in photos for part in (photo, gap)]
    return np.concatenate(parts[:-1], axis=1)


def main() -> None:
    """Write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="a run folder with a bundle")
    parser.add_argument("--teacher", action="store_true", help="draw the teacher's sheet")
    parser.add_argument("--students", type=Path, help="draw the runs below this folder")
    arguments = parser.parse_args()
    (DOCS / "bundle.schema.json").write_text(schema_text(), encoding="utf-8")
    (DOCS / "commands.md").write_text(commands_text(), encoding="utf-8")
    if arguments.run:
        strip(arguments.run, DOCS / "images" / "strip.jpg")
    if arguments.teacher:
        teacher_sheet(DOCS / "images" / "teacher_edits.jpg")
    if arguments.students:
        students_sheet(arguments.students, DOCS / "images" / "students.jpg")


if __name__ == "__main__":
    main()
