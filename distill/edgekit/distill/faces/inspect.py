"""Look at a set of faces: a sheet with a row for each person, and its counts."""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from edgekit.core.images import resized
from edgekit.core.store import write_bytes
from edgekit.distill.faces.store import REFUSED, FaceEntry, FaceSet, decoded

SHOWN_PX = 128
ACROSS = 8
PAPER, INK, DOT = (250, 250, 248), (25, 25, 25), (40, 220, 90)


def summary(faces: FaceSet) -> dict[str, Any]:
    """Return counts, causes of refusal, spread of pose and photos a person, as JSON values."""
    lines = (faces.folder / REFUSED).read_text(encoding="utf-8").splitlines()
    causes = Counter(json.loads(line)["what"].split(":")[-1].strip() for line in lines)
    photos = Counter(entry.identity for entry in faces.entries)
    yaw = np.abs([entry.pose[0] for entry in faces.entries])
    native = [entry.native_px for entry in faces.entries]
    names = ("faces", "people", "splits", "size_px", "alone", "licences", "warnings")
    return {
        "folder": str(faces.folder),
        **{name: faces.manifest[name] for name in names},
        "refused": dict(causes.most_common()),
        "photos_a_person": {str(n): k for n, k in sorted(Counter(photos.values()).items())},
        "gray": sum(entry.gray for entry in faces.entries),
        "yaw_deg": {"median": round(float(np.median(yaw)), 1), "most": round(float(yaw.max()), 1)},
        "native_px": {"median": int(np.median(native)), "least": min(native)},
    }


def summary_text(facts: dict[str, Any]) -> str:
    """Return `summary` for a person."""
    splits = ", ".join(
        f"{split} {own['faces']} of {own['people']}" for split, own in facts["splits"].items()
    )
    lines = [
        f"{facts['faces']} faces of {facts['people']} people, {facts['size_px']} px ({splits})",
        f"  turned {facts['yaw_deg']['median']} degrees in the median, {facts['yaw_deg']['most']} "
        f"at most; {facts['gray']} gray; crops of {facts['native_px']['median']} pixels in the "
        f"median, {facts['native_px']['least']} at least",
    ]
    lines += [f"  {count} people with {n} photos" for n, count in facts["photos_a_person"].items()]
    lines += [f"  licence {name}: {count}" for name, count in facts["licences"].items()]
    lines += [f"  refused {count}: {cause}" for cause, count in facts["refused"].items()]
    return "\n".join([*lines, *(f"  warning: {line}" for line in facts["warnings"])])


def contact_sheet(faces: FaceSet, out: Path, *, limit: int = 48) -> Path:
    """Write a picture of about `limit` faces to `out`, people with many photos first.

    Each row is a person; dots are the landmarks. Raises OutputError if `out` cannot be written.
    """
    own: dict[str, list[FaceEntry]] = defaultdict(list)
    for entry in faces.entries:
        own[entry.identity].append(entry)
    order = sorted(own, key=lambda name: (-min(len(own[name]), ACROSS), name))
    rows: list[list[FaceEntry]] = []
    shown = 0
    for name in order:
        if shown and shown + len(own[name][:ACROSS]) > limit:
            break
        rows.append(own[name][:ACROSS])
        shown += len(rows[-1])
    cell = SHOWN_PX + 4
    sheet = Image.new("RGB", (ACROSS * cell + 4, len(rows) * (cell + 16) + 4), PAPER)
    draw = ImageDraw.Draw(sheet)
    place = {entry.key: (r, c) for r, row in enumerate(rows) for c, entry in enumerate(row)}
    scale = SHOWN_PX / faces.manifest["size_px"]
    for entry, jpeg in faces.jpegs([entry for row in rows for entry in row]):
        row, column = place[entry.key]
        left, top = 4 + column * cell, 18 + row * (cell + 16)
        sheet.paste(Image.fromarray(resized(decoded(jpeg), SHOWN_PX, SHOWN_PX)), (left, top))
        for x, y in entry.landmarks:
            at = (round(left + x * scale), round(top + y * scale))
            if left <= at[0] < left + SHOWN_PX and top <= at[1] < top + SHOWN_PX:
                draw.point(at, DOT)
        if column == 0:
            draw.text((left, top - 14), f"{entry.identity} ({entry.split})", INK)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_bytes(out, buffer.getvalue())
    return out
