"""Files on the device, named by their sha256: sent once, compared before and after."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.benchmarks.devices.transport import COPY_S, Transport, ask
from edgekit.core.errors import DeviceUnreachable
from edgekit.core.store import file_sha256

SHOWN_DIGITS = 16
"""Of the sha256, in the name on the device; the whole of it is compared."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Where files are on the device, and which of them had to be copied."""

    places: Mapping[str, str]
    copied: tuple[str, ...]


def send(
    transport: Transport, files: Mapping[str, Path], *, programs: tuple[str, ...] = ()
) -> Sent:
    """Put `files` (name -> file of this machine) on the device; `programs` become executable.

    A file whose bytes are there already is not copied. Every copy is hashed by the device.
    Raises DeviceUnreachable if a copy fails or arrives with other bytes.
    """
    hashes = {name: file_sha256(path) for name, path in files.items()}
    folder = f"{transport.folder}/files"
    places = {
        name: f"{folder}/{hashes[name][:SHOWN_DIGITS]}-{_plain(path.name)}"
        for name, path in files.items()
    }
    there = _hashes(transport, folder, [*places.values()])
    copied = []
    for name, path in files.items():
        place = places[name]
        if there.get(place) == hashes[name]:
            continue
        part = f"{place}.part"
        transport.push(path, part)
        if _hashes(transport, folder, [part]).get(part) != hashes[name]:
            ask(transport, f"rm -f {shlex.quote(part)}")
            raise DeviceUnreachable(
                f"{path.name} arrived on {transport.name} with other bytes than were sent",
                hint="check the cable and the room on the device, then try again",
            )
        mode = "755" if name in programs else "644"
        quoted = f"{shlex.quote(part)} {shlex.quote(place)}"
        done = ask(transport, f"chmod {mode} {shlex.quote(part)} && mv -f {quoted}")
        if done.code:
            raise DeviceUnreachable(
                f"{place} cannot be put in place: {done.err.strip()}", hint="check the device"
            )
        copied.append(name)
    return Sent(places, tuple(copied))


def _hashes(transport: Transport, folder: str, places: list[str]) -> dict[str, str]:
    words = " ".join(shlex.quote(place) for place in places)
    answer = ask(
        transport,
        f"mkdir -p {shlex.quote(folder)}; command -v sha256sum >/dev/null || exit 66; "
        f"sha256sum {words} 2>/dev/null; true",
        timeout_s=COPY_S,
    )
    if answer.code == 66:
        raise DeviceUnreachable(
            f"{transport.name} has no sha256sum, so nothing that is sent can be checked",
            hint="install coreutils or busybox on it",
        )
    rows = (line.split(maxsplit=1) for line in answer.out.splitlines() if " " in line)
    return {place.lstrip("*"): digest.lstrip("\\") for digest, place in rows}


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
