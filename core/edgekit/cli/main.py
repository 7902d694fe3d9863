"""``edgekit``: one place where options that stand anywhere, configuration and errors are handled.

A command's module is imported only when that command is called (or its help is asked for), so that
``edgekit --help`` costs a fraction of a second and imports nothing heavy.
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from edgekit.cli.common import Options, use_options
from edgekit.core.errors import EdgekitError

COMMANDS = {
    "doctor": ("edgekit.cli.doctor", "Say per target: ready, or the command that makes it so."),
    "teacher": ("edgekit.cli.teacher", "Inspect, sample or train a diffusion teacher."),
    "pairs": ("edgekit.cli.pairs", "Make and inspect (photo, edit) pairs with a teacher."),
    "distill": ("edgekit.cli.distill", "Train a small student for one concept."),
    "check": ("edgekit.cli.check", "Say which unit of a phone would run each part of a student."),
    "export": ("edgekit.cli.export", "Turn a student into verified files for phones."),
    "optimize": ("edgekit.cli.optimize", "Find the best precision of each layer by measuring."),
    "adapters": ("edgekit.cli.adapters", "Add concepts to an exported base, list and remove them."),
    "identity": (
        "edgekit.cli.identity",
        "Make, compare and delete a person's identity code.",
    ),
    "restore": ("edgekit.cli.restore", "Restore a portrait with photos of the same person."),
    "mesh": ("edgekit.cli.mesh", "Make a mesh of a prompt."),
    "trt": ("edgekit.cli.trt", "Build TensorRT engines of a bundle on the device that runs them."),
    "verify": ("edgekit.cli.verify", "Check every file of a bundle against its golden vectors."),
    "run": ("edgekit.cli.run", "Edit a photo of any size with a bundle."),
    "bench": ("edgekit.cli.bench", "Measure the latency of a bundle's files."),
    "app": ("edgekit.cli.app", "Put a demo app together from bundles."),
    "report": ("edgekit.cli.report", "Write one offline HTML page about a run."),
}
"""Command -> (module with an `app`, its one line of help). A module's `app` is a Typer app."""

FLAGS = {
    "--json": "json",
    "-q": "quiet",
    "--quiet": "quiet",
    "--debug": "debug",
    "--dry-run": "dry_run",
}
EPILOG = (
    "Anywhere on the line: --json (data on stdout as JSON), -q/--quiet, --dry-run (print the plan, "
    "do nothing), --debug (tracebacks), --config FILE.toml. Environment: EDGEKIT_COMMAND_OPTION. "
    "Exit codes: 0 ok, 2 usage, 3 missing dependency, 4 bad input, 5 parity failed, 6 quality "
    "gate failed, 7 target unsupported, 8 device unreachable, 130 interrupted."
)


ClickException: type[Exception] = typer.BadParameter.__mro__[2]
"""Typer may carry its own copy of click; this is the class of the usage errors that it raises."""


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called, and which suggests near names."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command's module and return its command."""
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command = typer.main.get_command(import_module(module).app)
        command.name = cmd_name
        command.epilog = command.epilog or EPILOG
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Resolve the command; an unknown one is refused with the nearest name."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise EdgekitError(
                f"unknown command {name!r}", hint=f"{hint}commands: {', '.join(COMMANDS)}"
            )
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """Return the page of help without importing any command."""
        width = max(len(name) for name in COMMANDS) + 2
        commands = "\n".join(f"  {name:{width}}{line}" for name, (_, line) in COMMANDS.items())
        about = textwrap.dedent(edgekit.__doc__ or "").strip()
        options = (
            "  --version             Print versions and leave.\n"
            "  --install-completion  Install completion for the current shell.\n"
            "  --show-completion     Print the completion script.\n"
            "  -h, --help            Show this page; `edgekit COMMAND --help` for a command."
        )
        ending = textwrap.fill(EPILOG, 96)
        return (
            f"Usage: edgekit COMMAND [OPTIONS] [ARGUMENTS]\n\n{about}\n\n"
            f"Commands:\n{commands}\n\nOptions:\n{options}\n\n{ending}"
        )


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "EDGEKIT"},
    epilog=EPILOG,
)


def _version(asked: bool) -> None:
    if asked:
        from edgekit.core.versions import installed_versions

        for package, version in installed_versions().items():
            typer.echo(f"{package} {version}")
        raise typer.Exit()


@app.callback()
def edgekit(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print versions and leave."
    ),
) -> None:
    """Put image edits of diffusion models on phones.

    edgekit distill --concept "make it night" --out runs/night
    edgekit export runs/night --target ios --target android --target onnx
    edgekit report runs/night
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: list[str]) -> int:
    """Run the command line on `argv` and return the exit code; never raises for a user's error."""
    chosen = Options(debug=bool(os.environ.get("EDGEKIT_DEBUG")))
    try:
        rest, chosen = _taken(argv)
        use_options(chosen)
        if not chosen.debug:
            _hush()
        command = typer.main.get_command(app)
        from edgekit.cli.config import default_map

        result = command.main(
            rest, prog_name="edgekit", standalone_mode=False, default_map=default_map(chosen.config)
        )
        return int(result) if isinstance(result, int) else 0
    except EdgekitError as error:
        if chosen.debug:
            raise
        _complain(error.what, error.hint)
        return error.exit_code
    except typer.Exit as leave:
        return int(leave.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _complain("interrupted", "run the same command again; it continues where it stopped")
        return 130
    except ClickException as error:
        what, hint = _usage(error)
        _complain(what, hint)
        return 2
    except ModuleNotFoundError as error:
        from edgekit.core.versions import extra_of

        extra = extra_of(error.name or "")
        if chosen.debug or extra is None:
            raise
        _complain(
            f"{error.name} is not installed", f"run: pip install 'edgekit-toolchain[{extra}]'"
        )
        return 3
    except BrokenPipeError:
        return 0


def _hush() -> None:
    """Keep remarks of packages about themselves off stderr; ``--debug`` shows them."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _taken(argv: list[str]) -> tuple[list[str], Options]:
    """Take the options that may stand anywhere out of `argv`."""
    rest: list[str] = []
    found: dict[str, Any] = {"debug": bool(os.environ.get("EDGEKIT_DEBUG"))}
    found["config"] = os.environ.get("EDGEKIT_CONFIG")
    words = iter(argv)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in FLAGS:
            found[FLAGS[word]] = True
        elif word == "--config" or word.startswith("--config="):
            found["config"] = word[9:] if "=" in word else next(words, None)
            if not found["config"]:
                raise EdgekitError("--config needs a file", hint="write --config edgekit.toml")
        else:
            rest.append(_kebab(word))
    return rest, Options(**found)


def _kebab(word: str) -> str:
    """Accept --snake_case for --kebab-case, silently."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _usage(error: Any) -> tuple[str, str]:
    """Return cause and remedy of an error that the parser found."""
    message = str(error.format_message()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "edgekit")
    option = getattr(error, "option_name", None)
    if option and context is not None:
        known = [name for parameter in context.command.params for name in parameter.opts]
        if near := difflib.get_close_matches(option, [*known, *FLAGS, "--config"], n=1):
            return f"{path} has no option {option}", f"did you mean {near[0]}?"
    first = message[:1].lower() + message[1:]
    return " ".join(first.split()), f"see `{path} --help`"


def _complain(what: str, hint: str) -> None:
    typer.echo(f"edgekit: {what}\n  hint: {hint}", err=True)


if __name__ == "__main__":
    main()
