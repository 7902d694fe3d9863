"""What `edgekit optimize` found for each format: the picture of its front and the files on it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from edgekit.core.errors import BadInput
from edgekit.core.store import read_json


def precision_sections(run: Path) -> list[dict[str, Any]]:
    """Return one section for each search in ``RUN/optimize``; a damaged one is left out."""
    sections = []
    for path in sorted((run / "optimize").glob("*/front.json")):
        try:
            found = read_json(path)
        except BadInput:
            continue
        if isinstance(found, dict) and found.get("kind") == "optimize":
            sections.append(_section(found, path.with_name("front.svg")))
    return sections


def _section(found: dict[str, Any], drawn: Path) -> dict[str, Any]:
    rows = {row["number"]: row for row in found["rows"] if row["measured"]}
    best = rows.get(found["chosen"])
    # As an image, so that nothing inside the file can run as part of the page.
    picture = base64.b64encode(drawn.read_bytes()).decode() if drawn.is_file() else ""
    return {
        "format": found["format"],
        "count": len(found["rows"]),
        "samples": found["samples"],
        "picture": f"data:image/svg+xml;base64,{picture}" if picture else "",
        "choice": _told(best) if best else "no candidate keeps every limit",
        "recipe": best["words"] if best else "",
        "warnings": found["warnings"],
        "rows": [_row(rows[number], found["chosen"]) for number in found["front"]],
    }


def _told(row: dict[str, Any]) -> str:
    measured = row["measured"]
    return f"{measured['bytes'] / 1000:.0f} kB, {measured['db']:.1f} dB" + (
        f", {measured['speed']:.2f} times as fast as float32" if measured["ms"] else ""
    )


def _row(row: dict[str, Any], chosen: int | None) -> dict[str, str]:
    measured = row["measured"]
    return {
        "number": str(row["number"]),
        "back_end": "by layer" if row["back_end"] == "layers" else row["back_end"],
        "size": f"{measured['bytes'] / 1000:.0f} kB",
        "db": f"{measured['db']:.1f}",
        "worst_db": f"{measured['worst_db']:.1f}",
        "flip": "" if measured["flip"] is None else f"{measured['flip']:.4f}",
        "ms": "" if measured["ms"] is None else f"{measured['ms']:.2f}",
        "mark": "chosen" if row["number"] == chosen else "",
    }
