"""Look at pairs: a contact sheet for the eye, a summary for the terminal and for scripts."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgekit.core.images import resized
from edgekit.core.store import write_bytes
from edgekit.core.tensors import Photo
from edgekit.distill.pairs.store import PairEntry, PairSet

SHOWN_PX = 128
GAP = 10
CAPTION = 32
PAPER, INK, GRAY, RED = (250, 250, 248), (25, 25, 25), (110, 110, 110), (196, 30, 30)


def summary(pairs: PairSet) -> dict[str, Any]:
    """Return counts, reasons of rejection and the spread of each score, as JSON values."""
    everything = [*pairs.entries, *pairs.rejected]
    reasons = Counter(_kind(entry.reason or "") for entry in pairs.rejected)
    return {
        "folder": str(pairs.folder),
        "prompt": pairs.manifest["prompt"],
        "teacher": pairs.manifest["teacher"],
        "size_px": pairs.manifest["size_px"],
        "made": len(everything),
        "kept": len(pairs.entries),
        "train": len(pairs.split("train")),
        "heldout": len(pairs.split("heldout")),
        "split_by": pairs.manifest["split_by"],
        "varied": sum(entry.variation is not None for entry in pairs.entries),
        "rejected": dict(reasons.most_common()),
        "skipped_photos": pairs.manifest["skipped"],
        "scores": {
            name: _spread([getattr(entry.scores, name) for entry in everything])
            for name in ("change", "structure", "shift_px", "source_contrast", "edit_contrast")
        },
        "bytes": sum(shard["bytes"] for shard in pairs.manifest["shards"]),
    }


def summary_text(facts: dict[str, Any]) -> str:
    """Return `summary` for a person."""
    lines = [
        f"{facts['prompt']!r} by {facts['teacher']}, {facts['size_px']} px, "
        f"{facts['bytes'] / 1e6:.1f} MB in {facts['folder']}",
        f"kept {facts['kept']} of {facts['made']}: {facts['train']} to train on "
        f"({facts['varied']} from varied sources), {facts['heldout']} held out "
        f"(split by {facts['split_by']})",
    ]
    lines += [f"  rejected {count}: {reason}" for reason, count in facts["rejected"].items()]
    lines += [f"  skipped {photo['name']}: {photo['reason']}" for photo in facts["skipped_photos"]]
    lines += [
        f"  {name:15} {found['median']:.3f}, from {found['least']:.3f} to {found['most']:.3f}"
        for name, found in facts["scores"].items()
    ]
    return "\n".join(lines)


def contact_sheet(pairs: PairSet, out: Path, *, limit: int = 48) -> Path:
    """Write a picture of at most `limit` pairs to `out`: source and edit side by side.

    Rejected pairs come first, framed in red with their reason, and take at most half of the room.
    Raises OutputError if `out` cannot be written, ValueError for a limit below 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    rejected = _evenly(pairs.rejected, max(limit // 2, limit - len(pairs.entries)))
    chosen = [*rejected, *_evenly(pairs.entries, limit - len(rejected))]
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    cell_width, cell_height = 2 * SHOWN_PX + GAP, SHOWN_PX + CAPTION + GAP
    sheet = Image.new("RGB", (columns * cell_width + GAP, rows * cell_height + 36), PAPER)
    draw = ImageDraw.Draw(sheet)
    made = len(pairs.entries) + len(pairs.rejected)
    draw.text(
        (GAP, 8),
        f"{pairs.manifest['prompt']}   source | edit   {len(pairs.entries)} of {made} kept, "
        f"{len(chosen)} shown",
        INK,
        ImageFont.load_default(size=14),
    )
    sources, edits = pairs.load(chosen)
    for place, (entry, source, edit) in enumerate(zip(chosen, sources, edits, strict=True)):
        left = GAP + place % columns * cell_width
        top = 36 + place // columns * cell_height
        sheet.paste(Image.fromarray(np.hstack([_shown(source), _shown(edit)])), (left, top))
        _caption(draw, entry, left, top)
    buffer = io.BytesIO()
    sheet.save(buffer, {".jpg": "JPEG", ".jpeg": "JPEG"}.get(out.suffix.lower(), "PNG"), quality=90)
    write_bytes(out, buffer.getvalue())
    return out


def _caption(draw: ImageDraw.ImageDraw, entry: PairEntry, left: int, top: int) -> None:
    font = ImageFont.load_default(size=11)
    found = entry.scores
    numbers = (
        f"{entry.key} {entry.split}  change {found.change:.2f}  structure {found.structure:.2f}"
    )
    second = entry.reason or (f"varied: {entry.variation}" if entry.variation else entry.photo)
    while draw.textlength(second, font) > 2 * SHOWN_PX:
        second = second[:-2].rstrip(".") + "."
    draw.text((left, top + SHOWN_PX + 2), numbers, INK, font)
    draw.text((left, top + SHOWN_PX + 15), second, GRAY if entry.kept else RED, font)
    if not entry.kept:
        box = (left - 2, top - 2, left + 2 * SHOWN_PX + 1, top + SHOWN_PX + 1)
        draw.rectangle(box, outline=RED, width=3)


def _shown(photo: Photo) -> Photo:
    return resized(photo, SHOWN_PX, SHOWN_PX)


def _evenly(entries: Sequence[PairEntry], count: int) -> list[PairEntry]:
    if len(entries) <= count:
        return list(entries)
    return [entries[i * len(entries) // count] for i in range(count)]


def _kind(reason: str) -> str:
    """Return a reason without its numbers, so that equal ones can be counted."""
    if reason.startswith("the source nearly repeats"):
        return "the source nearly repeats another one"
    if reason.startswith("the edit is displaced"):
        return "the edit is displaced"
    return reason.partition(" (")[0]


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "least": round(float(np.min(values)), 4),
        "median": round(float(np.median(values)), 4),
        "most": round(float(np.max(values)), 4),
    }
