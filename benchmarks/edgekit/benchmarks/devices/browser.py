"""Chromium driven through its debugging pipe: no port is opened and nothing is installed for it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgekit.core.errors import DeviceUnreachable, EdgekitError

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
)
Message = dict[str, Any]


def chromium_program() -> str:
    """Return the browser's program: EDGEKIT_CHROMIUM, or the first one that is installed.

    Raises EdgekitError (exit code 3) without one.
    """
    named = os.environ.get("EDGEKIT_CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else NAMES)), None)
    if found is None:
        error = EdgekitError(
            f"{named or 'Chromium'} is not installed",
            hint="install it (Debian: apt-get install chromium) or set EDGEKIT_CHROMIUM",
        )
        error.exit_code = 3
        raise error
    return found


@dataclass(slots=True)
class Browser:
    """A running browser: calls of the DevTools protocol, and the events that came meanwhile."""

    process: subprocess.Popen[bytes]
    to: int
    messages: queue.Queue[Message | None]
    events: list[Message] = field(default_factory=list)
    last: int = 0

    def call(self, method: str, parameters: Message | None = None, *, session: str = "") -> Message:
        """Call a method of the protocol and return its result; DeviceUnreachable if it fails."""
        self.last += 1
        message: Message = {"id": self.last, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        try:
            os.write(self.to, json.dumps(message).encode() + b"\0")
        except OSError as error:
            raise _closed() from error
        while True:
            answer = self._message(30.0)
            if answer.get("id") != self.last:
                self.events.append(answer)
            elif "error" in answer:
                raise DeviceUnreachable(
                    f"the browser refused {method}: {answer['error'].get('message')}",
                    hint="update Chromium",
                )
            else:
                result: Message = answer["result"]
                return result

    def event(self, ends: float) -> Message:
        """Return the next event; TimeoutError when the monotonic clock passes `ends`."""
        if self.events:
            return self.events.pop(0)
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return self._message(left)

    def _message(self, timeout_s: float) -> Message:
        try:
            message = self.messages.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError from None
        if message is None:
            raise _closed()
        return message

    def processor_seconds(self, kind: str = "renderer") -> float:
        """Return the processor time of all processes of a kind: renderer, GPU, browser."""
        rows = self.call("SystemInfo.getProcessInfo")["processInfo"]
        return float(sum(row["cpuTime"] for row in rows if row["type"] == kind))


def _closed() -> DeviceUnreachable:
    return DeviceUnreachable("the browser ended by itself", hint="see whether it starts at all")


@contextlib.contextmanager
def browser(more: Sequence[str] = ()) -> Iterator[Browser]:
    """Start Chromium with a fresh profile; it is ended and the profile removed afterwards."""
    program = chromium_program()
    flags = [*FLAGS, *more]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # the sandbox refuses root
    from_us, to = os.pipe()
    out, from_them = os.pipe()
    with tempfile.TemporaryDirectory(prefix="edgekit-browser-", ignore_cleanup_errors=True) as home:
        words = [program, f"--user-data-dir={home}", *flags, "about:blank"]
        process = subprocess.Popen(
            # The browser reads from descriptor 3 and writes to 4; a shell may refuse <&12.
            ["/bin/sh", "-c", f'exec "$@" 3</dev/fd/{from_us} 4>/dev/fd/{from_them}', "sh", *words],
            pass_fds=(from_us, from_them),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(from_us)
        os.close(from_them)
        messages: queue.Queue[Message | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(out, messages.put), daemon=True)
        reader.start()
        running = Browser(process, to, messages)
        try:
            yield running
        finally:
            with contextlib.suppress(DeviceUnreachable, TimeoutError):
                running.call("Browser.close")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            process.wait()
            os.close(to)
            reader.join(timeout=5)


def _read(source: int, put: Callable[[Message | None], None]) -> None:
    rest = b""
    with open(source, "rb", buffering=0) as stream:
        while part := stream.read(1 << 16):
            *whole, rest = (rest + part).split(b"\0")
            for text in whole:
                put(json.loads(text))
    put(None)
