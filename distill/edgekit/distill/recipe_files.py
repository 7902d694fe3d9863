"""What the recipes of all students share: TOML in and out, known keys, values that can be meant."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgekit.core.errors import BadInput, EdgekitError, unknown_name
from edgekit.core.store import write_bytes

Range = tuple[str, float, float]
"""Name of a value, its least and its most."""
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "bool": bool, "float": (int, float)
}  # fmt: skip


def check_ranges(recipe: Any, ranges: Iterable[Range]) -> None:
    """Raise EdgekitError for the first value of `recipe` outside its range."""
    for key, low, high in ranges:
        value = getattr(recipe, key)
        if not low <= value <= high:
            raise EdgekitError(f"{key} = {value}", hint=f"choose from {low} to {high}")


def check_name(name: str, shown: str | None = None) -> None:
    """Raise EdgekitError for a name that cannot begin the names of files; `shown` was typed."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,47}", name):
        raise EdgekitError(
            f"name = {name!r}" if shown is None else f"name = {shown!r}",
            hint="use a-z, 0-9, _ and -, at most 48 characters",
        )


def check_keys(values: Mapping[str, Any], kind: type) -> None:
    """Raise EdgekitError, with the nearest known one, for a key that is no field of `kind`."""
    known = [field.name for field in fields(kind)]
    for key in values:
        if key not in known:
            raise unknown_name("key in the recipe", key, known)


def read_values(path: Path, kind: type) -> dict[str, Any]:
    """Return the values of a TOML file, each a field of the dataclass `kind` and of its type.

    Raises BadInput for a file that is missing or not TOML, EdgekitError for an unknown key (with
    the nearest known one) or a value of another type.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist", hint="check the path") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is not TOML: {error}", hint="mend that line") from error
    check_keys(values, kind)
    # Anything but numbers and booleans is a choice among words.
    wanted = {field.name: str(field.type) for field in fields(kind)}
    for key, value in values.items():
        name = wanted[key] if wanted[key] in _KINDS else "str"
        if not isinstance(value, _KINDS[name]) or isinstance(value, bool) != (name == "bool"):
            raise EdgekitError(f"{path}: {key} = {value!r}", hint=f"write a {name}")
    return values


def write_values(path: Path, values: Mapping[str, Any]) -> None:
    """Write text, numbers and booleans as TOML, at once or not at all."""
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    write_bytes(path, ("\n".join(lines) + "\n").encode())
