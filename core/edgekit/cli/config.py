"""Configuration: defaults < ``--config`` file < ``EDGEKIT_*`` environment < flags.

The file is TOML with one table a command and the options' long names as keys::

    [distill]
    steps = 400
    [teacher.sample]
    seed = 3
"""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from edgekit.core.errors import BadInput, unknown_name


def default_map(file: str | None) -> dict[str, Any] | None:
    """Return click's map of defaults from the TOML `file`, or None without one.

    Raises BadInput for a file that is missing or not TOML, EdgekitError (with the nearest name)
    for a table or key that no command has.
    """
    if file is None:
        return None
    try:
        tables = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{file} does not exist", hint="check the path of --config") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} is not TOML: {error}", hint="mend that line") from error
    from edgekit.cli.main import COMMANDS

    checked = {}
    for name, table in tables.items():
        if name not in COMMANDS:
            raise unknown_name("table in the configuration", name, COMMANDS)
        command = typer.main.get_command(import_module(COMMANDS[name][0]).app)
        checked[name] = _checked(command, table, name)
    return checked


def _checked(command: Any, table: dict[str, Any], path: str) -> dict[str, Any]:
    known: dict[str, Any] = getattr(command, "commands", {})
    parameters = {
        (parameter.name or "").replace("_", "-"): parameter.name for parameter in command.params
    }
    result: dict[str, Any] = {}
    for key, value in table.items():
        kebab = key.replace("_", "-")
        if key in known and isinstance(value, dict):
            result[key] = _checked(known[key], value, f"{path}.{key}")
        elif kebab in parameters:
            result[str(parameters[kebab])] = value
        else:
            raise unknown_name(f"key in [{path}]", key, [*parameters, *known])
    return result
