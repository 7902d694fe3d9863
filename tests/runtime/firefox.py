"""Firefox driven by its own protocol, Marionette, over a socket: no driver program is needed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREFERENCES: dict[str, Any] = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


def program() -> str | None:
    """Return Firefox, None if it is not installed."""
    return shutil.which("firefox-esr") or shutil.which("firefox")


class Firefox:
    """A session: `run` executes a function's body in the page."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.rest = b""
        self.number = 0
        self._message()
        self.call("WebDriver:NewSession", capabilities={})

    def call(self, name: str, **parameters: Any) -> Any:
        self.number += 1
        text = json.dumps([0, self.number, name, parameters]).encode()
        self.socket.sendall(str(len(text)).encode() + b":" + text)
        while (answer := self._message())[1] != self.number:
            pass
        if answer[2]:
            raise RuntimeError(answer[2]["message"])
        return answer[3]

    def run(self, script: str) -> Any:
        return self.call("WebDriver:ExecuteScript", script=script, args=[])["value"]

    def wait(self, script: str, seconds: float = 60) -> Any:
        """Wait until the script gives something; a page that reloads meanwhile is asked again."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            try:
                if found := self.run(script):
                    return found
            except RuntimeError:
                pass
            time.sleep(0.2)
        raise TimeoutError(script)

    def _message(self) -> Any:
        while b":" not in self.rest:
            self.rest += self._part()
        length, _, self.rest = self.rest.partition(b":")
        while len(self.rest) < int(length):
            self.rest += self._part()
        text, self.rest = self.rest[: int(length)], self.rest[int(length) :]
        return json.loads(text)

    def _part(self) -> bytes:
        if not (part := self.socket.recv(1 << 16)):
            raise ConnectionError("Firefox ended")
        return part


@contextmanager
def firefox(preferences: Mapping[str, Any]) -> Iterator[Firefox]:
    """Start Firefox with a fresh profile and end it afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        rows = {**PREFERENCES, **preferences, "marionette.port": port}
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in rows.items()]
        Path(home, "user.js").write_text("\n".join(lines))
        process = subprocess.Popen(
            [str(program()), "--headless", "--no-remote", "--marionette", "--profile", home],
            env={**os.environ, "HOME": home},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield _connected(port)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _connected(port: int) -> Firefox:
    for _ in range(150):
        try:
            return Firefox(port)
        except OSError:
            time.sleep(0.2)
    raise TimeoutError("Firefox did not start")
