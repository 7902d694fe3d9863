"""A device for the tests of adb: Debian's own adbd in a network namespace, and the ordinary client.

Everything between the command line and the device's shell is real. Android's own commands are
not: `getprop` and `dumpsys` print text that a test puts there (see benchmarks/device_chroot.sh).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

SERIAL = "127.0.0.1:15555"
ADBD = "/usr/lib/android-sdk/platform-tools/adbd"


def chroot_folder(arch: str = "") -> Path:
    """Where benchmarks/device_chroot.sh puts it."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    own = names.get(os.uname().machine, os.uname().machine)
    named = os.environ.get("EDGEKIT_DEVICE_CHROOT")
    cache = platformdirs.user_cache_path("edgekit")
    return Path(named) if named else cache / f"adb-device-{arch or own}"


@dataclass(slots=True)
class Device:
    """The running adbd."""

    root: Path
    process: subprocess.Popen[bytes]
    bin: Path
    """Folder with the adb client that talks to it; to be first in PATH."""

    def adb(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / "adb"), *words], capture_output=True, text=True, check=False, timeout=30
        )

    def says(self, **texts: str) -> None:
        """Let Android's commands print these texts: props, battery, thermalservice, power."""
        shutil.rmtree(self.root / "android")
        (self.root / "android").mkdir()
        for name, text in texts.items():
            (self.root / "android" / name).write_text(text)

    def lose(self) -> None:
        """Pull the plug."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running_device(scratch: Path, root: Path, environment: Mapping[str, str]) -> Iterator[Device]:
    """Start adbd and connect the client; both end with the block."""
    start = (
        f"ip link set lo up; mount -t proc proc {root}/proc; mount --rbind /dev {root}/dev; "
        f"exec chroot {root} env ADBD_PORT=15555 {ADBD}"
    )
    words = ["unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", start]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    program = scratch / "bin" / "adb"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!/bin/sh\nexport HOME={scratch}\n"
        f'exec nsenter --net=/proc/{os.getpid()}/fd/$EDGEKIT_TEST_NET /usr/bin/adb "$@"\n'
    )
    program.chmod(0o755)
    ends = time.monotonic() + 20
    namespace = Path(f"/proc/{process.pid}/ns/net")
    own = Path("/proc/self/ns/net").readlink()
    while namespace.readlink() == own and time.monotonic() < ends:
        time.sleep(0.02)
    # Held open, so that the client still gets in after the device is gone.
    held = os.open(namespace, os.O_RDONLY)
    program.write_text(program.read_text().replace("$EDGEKIT_TEST_NET", str(held)))
    device = Device(root, process, program.parent)
    device.says()
    try:
        while "connected to" not in device.adb("connect", SERIAL).stdout:
            if time.monotonic() > ends:
                raise RuntimeError(f"adbd does not answer: {device.adb('devices').stdout}")
            time.sleep(0.2)
        yield device
    finally:
        device.adb("kill-server")
        os.close(held)
        device.lose()
        shutil.rmtree(root / "data" / "local" / "tmp" / "edgekit", ignore_errors=True)
