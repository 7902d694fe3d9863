"""Android devices by adb, the client of Android's platform tools."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from edgekit.benchmarks.devices.transport import COPY_S, USUAL_S, called, copied
from edgekit.core.errors import DeviceUnreachable, EdgekitError

_STATES = {
    "unauthorized": "unlock it and accept the question about USB debugging on its screen",
    "authorizing": "unlock it and accept the question about USB debugging on its screen",
    "offline": "plug the cable out and in, or run `adb reconnect offline`",
    "no permissions": "allow your user to use the USB device (udev rules), then `adb kill-server`",
    "bootloader": "start Android on it first: `adb reboot` or the power button",
    "recovery": "start Android on it first: `adb reboot`",
    "sideload": "start Android on it first: `adb reboot`",
    "host": "name the phone, not this machine's adb server",
}


@dataclass(frozen=True, slots=True)
class Adb:
    """One device of the adb server."""

    serial: str
    program: str = "adb"

    @property
    def name(self) -> str:
        """The device as ``--device`` names it."""
        return f"adb:{self.serial}"

    @property
    def folder(self) -> str:
        """The folder whose files a shell may execute."""
        return "/data/local/tmp/edgekit"

    def argv(self, command: str) -> list[str]:
        """Return the process that runs the shell `command` on the device."""
        return [self.program, "-s", self.serial, "shell", "-n", command]

    def check(self) -> None:
        """Raise DeviceUnreachable unless the device takes commands."""
        states = connected(self.program)
        state = states.get(self.serial)
        if state is None:
            there = ", ".join(sorted(states)) or "none"
            raise DeviceUnreachable(
                f"adb knows no device {self.serial!r} (connected: {there})",
                hint="see `adb devices`; a device in the network needs `adb connect HOST:PORT`",
            )
        if state != "device":
            raise DeviceUnreachable(
                f"{self.serial} is {state}",
                hint=_STATES.get(state, "see `adb devices -l`, then plug it out and in"),
            )

    def push(self, source: Path, place: str) -> None:
        """Copy a file to the device."""
        self._copy(place, "push", str(source), place)

    def pull(self, place: str, target: Path) -> None:
        """Copy a file from the device."""
        self._copy(place, "pull", place, str(target))

    def _copy(self, place: str, *words: str) -> None:
        done = called([self.program, "-s", self.serial, *words], who=self.name, timeout_s=COPY_S)
        copied(self.name, place, done.returncode, done.stderr + done.stdout)


def connected(program: str = "adb") -> dict[str, str]:
    """Return serial -> state of every device that adb knows.

    Raises EdgekitError (exit code 3) without adb, DeviceUnreachable if its server does not start.
    """
    if shutil.which(program) is None:
        error = EdgekitError(
            "adb is not installed",
            hint="install Android's platform tools (Debian: apt-get install adb)",
        )
        error.exit_code = 3
        raise error
    done = called([program, "devices"], who="adb", timeout_s=USUAL_S)
    if done.returncode:
        last = (done.stderr.strip() or "no reason").splitlines()[-1]
        raise DeviceUnreachable(f"adb failed: {last}", hint="run `adb kill-server` and try again")
    found = {}
    for line in done.stdout.splitlines():
        serial, tab, state = line.partition("\t")
        if tab:  # "no permissions (user ...); see [http...]" is one state of many words
            known = next((word for word in _STATES if state.startswith(word)), state.strip())
            found[serial] = known
    return found


def only_device(program: str = "adb") -> Adb:
    """Return the one device that is connected; DeviceUnreachable for none or several."""
    states = connected(program)
    if len(states) == 1:
        return Adb(next(iter(states)), program)
    if not states:
        raise DeviceUnreachable(
            "adb knows no device",
            hint="connect a phone with USB debugging switched on, see `adb devices`",
        )
    raise DeviceUnreachable(
        f"adb knows {len(states)} devices", hint=f"name one: --device adb:{sorted(states)[0]}"
    )
