"""Everything that a user can put right, each with the exit code that scripts rely on.

EdgekitError            2  usage: an option, a name or a recipe that cannot be meant
├── DependencyMissing   3  an extra is not installed
├── BadInput            4  a photo, folder or file that cannot be used
│   └── OutputError     4  the place to write to is full or not writable
├── ParityFailed        5  an exported model does not compute what the student computes
├── QualityFailed       6  a quality, size or speed gate was missed
├── TargetUnsupported   7  this target cannot run here, or cannot express the model
└── DeviceUnreachable   8  a device does not answer, or is in no state to be measured
"""

from __future__ import annotations

from collections.abc import Iterable


class EdgekitError(Exception):
    """What failed in one sentence, and one hint that names the next thing to try.

    The command line prints both and exits with ``exit_code``; a traceback is shown only with
    ``--debug``.
    """

    exit_code = 2

    def __init__(self, what: str, *, hint: str) -> None:
        """Keep `what` (the cause) and `hint` (what to do), both without a final full stop."""
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        """Both sentences, so that a log or a test sees what the user sees."""
        return f"{self.what} ({self.hint})"


class DependencyMissing(EdgekitError):
    """A package that an extra brings is not installed."""

    exit_code = 3

    def __init__(self, package: str, *, extra: str) -> None:
        """Name the package and the one command that installs it."""
        super().__init__(
            f"{package} is not installed",
            hint=f"run: pip install 'edgekit-toolchain[{extra}]'",
        )
        self.package = package
        self.extra = extra


class BadInput(EdgekitError):
    """A photo, folder or file that the user named cannot be used."""

    exit_code = 4


class OutputError(BadInput):
    """The output cannot be written: disk full, no permission, or a file in the way."""


class ParityFailed(EdgekitError):
    """An exported model does not compute what the student computes."""

    exit_code = 5


class QualityFailed(EdgekitError):
    """A quality, size or speed gate was missed."""

    exit_code = 6


class TargetUnsupported(EdgekitError):
    """The target cannot run here or cannot express the model."""

    exit_code = 7


class DeviceUnreachable(EdgekitError):
    """A phone, browser or host does not answer, or is in no state to be measured."""

    exit_code = 8


def unknown_name(kind: str, name: str, known: Iterable[str]) -> EdgekitError:
    """Return the error for a name that is not in a table, with the nearest one as a suggestion.

    >>> unknown_name("target", "andriod", ["android", "ios"]).hint
    "did you mean 'android'? known: android, ios"
    """
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    suggestion = f"did you mean {near[0]!r}? " if near else ""
    return EdgekitError(f"unknown {kind} {name!r}", hint=f"{suggestion}known: {', '.join(names)}")
