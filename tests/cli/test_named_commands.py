"""Commands that hints and help name: each exists and has the options that are written there."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer

from edgekit.cli.main import FLAGS, app, run
from edgekit.core.assets import MADE

ROOT = Path(__file__).parents[2]
PARTS = ("core", "distill", "export", "runtime", "benchmarks")
ANYWHERE = {*FLAGS, "--config", "--help"}


def texts(file: Path) -> list[str]:
    """Every string of a file, joined as Python joins it; a value in it is the word ``VALUE``."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else "VALUE" for p in node.values]
            found.append("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def named() -> list[str]:
    """Commands in backticks, of files of source; ``edgekit COMMAND`` stands for any."""
    files = [file for part in PARTS for file in (ROOT / part / "edgekit").rglob("*.py")]
    every = [text for file in files for text in texts(file)]
    found = [match for text in every for match in re.findall(r"`(edgekit [a-z][^`]*)`", text)]
    return sorted({" ".join(command.split()) for command in found})


def resolved(words: list[str]):
    """The command that `words` call, and its options among them."""
    command = typer.main.get_command(app)
    while words and hasattr(command, "get_command"):
        following = command.get_command(typer.Context(command), words[0])
        if following is None:
            return None, words
        command, words = following, words[1:]
    return command, [word.partition("=")[0] for word in words if re.match("--?[a-z]", word)]


@pytest.mark.parametrize("line", named())
def test_a_command_that_is_named_exists_with_its_options(line):
    command, options = resolved(shlex.split(line)[1:])

    assert command is not None, line
    known = {name for parameter in command.params for name in parameter.opts}
    assert not {option for option in options if option not in known | ANYWHERE}


@pytest.mark.parametrize("name", MADE)
def test_the_command_that_makes_a_shipped_student_has_a_plan(name, capsys):
    status = run([*MADE[name].split()[1:], "--dry-run"])

    assert status == 0, capsys.readouterr().err
