"""What ``--device`` may say, as a transport."""

from __future__ import annotations

from edgekit.benchmarks.devices.adb import Adb, only_device
from edgekit.benchmarks.devices.local import Local
from edgekit.benchmarks.devices.ssh import ssh_host
from edgekit.benchmarks.devices.transport import Transport
from edgekit.core.errors import EdgekitError, unknown_name

KINDS = ("local", "adb", "ssh", "web", "ios")


def device_kind(text: str) -> tuple[str, str]:
    """Split "KIND" or "KIND:NAME"; EdgekitError for an unknown kind.

    >>> device_kind("adb:127.0.0.1:5555")
    ('adb', '127.0.0.1:5555')
    """
    kind, _, name = text.partition(":")
    if kind not in KINDS:
        error = unknown_name("kind of device", kind, KINDS)
        raise EdgekitError(error.what, hint=f"{error.hint}; the names of phones go with --estimate")
    return kind, name


def transport_named(text: str) -> Transport:
    """Return the transport that ``--device`` names: local, adb, adb:SERIAL or ssh:HOST.

    Raises EdgekitError for anything else, DeviceUnreachable for `adb` alone with no or several
    devices.
    """
    kind, name = device_kind(text)
    if kind == "local" and not name:
        return Local()
    if kind == "adb":
        return Adb(name) if name not in ("", "auto") else only_device()
    if kind == "ssh" and name:
        return ssh_host(name)
    raise EdgekitError(
        f"--device {text} names no device",
        hint="write local, adb, adb:SERIAL, ssh:HOST, web:chromium or ios:UDID",
    )
