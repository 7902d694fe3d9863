"""The card of a teacher: where it came from, under which licences, and what it is worth."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARD = "card.json"


def file_facts(folder: Path) -> dict[str, dict[str, int | str]]:
    """Bytes and sha256 of every file of `folder` except the card."""
    return {
        str(file.relative_to(folder)): {
            "bytes": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != CARD
    }


def write_card(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Write `card.json` with `facts` and the facts of every file."""
    card = folder / CARD
    files = file_facts(folder)
    total = sum(int(fact["bytes"]) for fact in files.values())
    card.write_text(json.dumps({**facts, "bytes": total, "files": files}, indent=1) + "\n")
    return card


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a teacher folder; FileNotFoundError if it has none."""
    card: dict[str, Any] = json.loads((folder / CARD).read_text())
    return card


def changed_files(folder: Path) -> list[str]:
    """Files that are missing or differ from the card: empty for an intact teacher."""
    promised, found = read_card(folder)["files"], file_facts(folder)
    return [name for name, fact in promised.items() if found.get(name, {}) != fact]
