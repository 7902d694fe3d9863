"""How commands and files reach a device: one protocol, three ways (`local`, `adb`, `ssh`)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from edgekit.core.errors import DeviceUnreachable

USUAL_S = 30.0
"""Longest that a question to a device may take."""
COPY_S = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command on the device came back with."""

    code: int
    out: str
    err: str


@runtime_checkable
class Transport(Protocol):
    """A device that takes shell commands and files."""

    @property
    def name(self) -> str:
        """The device as ``--device`` names it."""
        ...

    @property
    def folder(self) -> str:
        """Folder on the device for everything of edgekit; created when it is needed."""
        ...

    def argv(self, command: str) -> list[str]:
        """Return the process that runs the shell `command` on the device, streams attached."""
        ...

    def check(self) -> None:
        """Raise DeviceUnreachable, with what to do, unless the device takes commands."""
        ...

    def push(self, source: Path, place: str) -> None:
        """Copy the file `source` to `place` on the device; DeviceUnreachable if it fails."""
        ...

    def pull(self, place: str, target: Path) -> None:
        """Copy the file `place` of the device to `target`; DeviceUnreachable if it fails."""
        ...


def ask(transport: Transport, command: str, *, timeout_s: float = USUAL_S) -> Answer:
    """Run a short shell command on the device and return what came back.

    Raises DeviceUnreachable without an answer in time.
    """
    done = called(transport.argv(command), who=transport.name, timeout_s=timeout_s)
    return Answer(done.returncode, done.stdout, done.stderr)


def called(argv: Sequence[str], *, who: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a client program of this machine; DeviceUnreachable if it hangs."""
    try:
        return subprocess.run(
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceUnreachable(
            f"{who} gave no answer in {timeout_s:g} s", hint="check the cable or the network"
        ) from error


def copied(who: str, place: str, code: int, said: str) -> None:
    """Raise the error of a copy that ended with `code` and said `said`; nothing for 0."""
    if code == 0:
        return
    last = said.strip().splitlines()[-1] if said.strip() else f"exit code {code}"
    if "no space left" in said.lower():
        raise DeviceUnreachable(
            f"{who} has no room left for {place}",
            hint="delete files on the device (edgekit's own are in that folder) and try again",
        )
    raise DeviceUnreachable(f"copying {place} to or from {who} failed: {last}", hint="try again")
