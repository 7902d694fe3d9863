"""Boards and computers by the OpenSSH client: keys and host names as in the user's own ssh."""

from __future__ import annotations

import atexit
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from edgekit.benchmarks.devices.transport import COPY_S, USUAL_S, called, copied
from edgekit.core.errors import DeviceUnreachable, EdgekitError

_ANSWERS = (
    ("permission denied", "load your key (ssh-add) or allow it on the device (ssh-copy-id)"),
    ("host key verification failed", "log in once with ssh and accept the host's key"),
    ("could not resolve hostname", "check the name"),
    ("connection refused", "start the ssh server on it, or give its port: ssh:HOST:PORT"),
    ("timed out", "check the network and the address"),
    ("no route to host", "check the network and the address"),
)


@dataclass(frozen=True, slots=True)
class Ssh:
    """A host that ssh logs in to without asking for anything."""

    host: str
    """As ssh takes it: [user@]name."""
    port: int | None = None
    options: tuple[str, ...] = ()
    """Further words for ssh, for example ("-F", "config")."""
    program: str = field(default="ssh", repr=False)

    @property
    def name(self) -> str:
        """The device as ``--device`` names it."""
        return f"ssh:{self.host}" + (f":{self.port}" if self.port else "")

    @property
    def folder(self) -> str:
        """Folder below the home of the user there."""
        return ".cache/edgekit-device"

    def argv(self, command: str) -> list[str]:
        """Return the process that runs the shell `command` on the host."""
        port = ["-p", str(self.port)] if self.port else []
        shared = ["-o", "ControlMaster=auto", "-o", f"ControlPath={_sockets()}/%C"]
        quiet = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ControlPersist=60"]
        # The first word on a setting wins, so the caller's come first.
        return [self.program, *self.options, *quiet, *shared, *port, "--", self.host, command]

    def check(self) -> None:
        """Raise DeviceUnreachable unless the host lets us in."""
        if shutil.which(self.program) is None:
            error = EdgekitError("ssh is not installed", hint="install OpenSSH's client")
            error.exit_code = 3
            raise error
        done = called(self.argv("true"), who=self.name, timeout_s=USUAL_S)
        if done.returncode == 0:
            return
        said = done.stderr.strip()
        last = said.splitlines()[-1] if said else f"exit code {done.returncode}"
        hint = next((hint for word, hint in _ANSWERS if word in said.lower()), "try ssh yourself")
        raise DeviceUnreachable(f"{self.name} does not let us in: {last}", hint=hint)

    def push(self, source: Path, place: str) -> None:
        """Copy a file to the host."""
        with source.open("rb") as content:
            self._piped(f"cat > {shlex.quote(place)}", place, stdin=content)

    def pull(self, place: str, target: Path) -> None:
        """Copy a file from the host."""
        with target.open("wb") as content:
            self._piped(f"cat {shlex.quote(place)}", place, stdout=content)

    def _piped(self, command: str, place: str, **streams: object) -> None:
        streams.setdefault("stdin", subprocess.DEVNULL)
        try:
            done = subprocess.run(  # type: ignore[call-overload]
                self.argv(command),
                stderr=subprocess.PIPE,
                timeout=COPY_S,
                check=False,
                **streams,
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceUnreachable(
                f"{self.name} took longer than {COPY_S:g} s for {place}", hint="check the network"
            ) from error
        copied(self.name, place, done.returncode, done.stderr.decode(errors="replace"))


@lru_cache(maxsize=1)
def _sockets() -> str:
    """Return a short private folder for connections that several commands share."""
    place = tempfile.mkdtemp(prefix="ek-ssh-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def ssh_host(text: str) -> Ssh:
    """Return the transport for "[user@]host[:port]"; EdgekitError for anything else.

    >>> ssh_host("pi@board:2222").name
    'ssh:pi@board:2222'
    """
    match = re.fullmatch(r"((?:[\w.-]+@)?[\w.-]+|\[[0-9a-fA-F:]+\])(?::(\d+))?", text)
    if match is None or text.startswith("-"):
        raise EdgekitError(
            f"ssh:{text} names no host", hint="write --device ssh:HOST or ssh:USER@HOST:PORT"
        )
    return Ssh(match[1].strip("[]"), int(match[2]) if match[2] else None)
