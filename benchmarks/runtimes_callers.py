"""One way to call a network in every runtime: `call(n)` gives wall times and processor time.

Processor time is what counts here: a wall time says as much about the machine's other work. Of the
browser it is the renderer's, over all its threads, so its compiler and its garbage collector are
in it; the calls themselves happen in a worker of the web demo.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.benchmarks.devices.browser import Browser, browser
from edgekit.core.seams import Session
from edgekit.core.store import file_sha256, write_bytes
from edgekit.runtime.apps.packages import install, libraries
from edgekit.runtime.apps.web import ENGINES, page_files, server, sources
from edgekit.runtime.sessions import open_session

Call = Callable[[int], tuple[list[float], float]]
"""Number of calls -> wall milliseconds of each, processor milliseconds of all."""
PATIENCE_MS = 15_000
"""An answer of the browser has to come within 30 s: a longer call is asked for again."""
NARROW = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}
"""PyTorch on vectors of 128 bits, which is all that WebAssembly has."""


def here(work: Callable[[], object]) -> Call:
    """Return calls of a function of this process."""

    def call(count: int) -> tuple[list[float], float]:
        walls, cpu = [], time.process_time()
        for _ in range(count):
            start = time.perf_counter()
            work()
            walls.append((time.perf_counter() - start) * 1e3)
        return walls, (time.process_time() - cpu) * 1e3

    return call


def of_file(path: Path) -> Call:
    """Return calls of a model file on one thread."""
    session = open_session(path, threads=1)
    feeds = {session.inputs[0].name: picture(session)}
    return here(lambda: session.run(feeds))


def picture(session: Session) -> np.ndarray:
    """Return noise in [-1, 1] as the session's picture."""
    values = np.random.default_rng(0).uniform(-1, 1, session.inputs[0].shape)
    return values.astype(np.float32)


def of_torch(network: str, size_px: int) -> Call:
    """Return calls of a network in PyTorch on one thread."""
    import torch

    from runtimes_rows import NETWORKS

    torch.set_num_threads(1)
    module = NETWORKS[network]().build(size_px).float().eval()
    image = torch.from_numpy(
        np.random.default_rng(0).uniform(-1, 1, (1, 3, size_px, size_px)).astype(np.float32)
    )

    def work() -> object:
        with torch.inference_mode():
            return module(image)

    return here(work)


def of_teacher(size_px: int) -> Call:
    """Return calls of the bundled teacher at its default sampling."""
    import torch

    from edgekit.distill.teachers.loader import load_teacher

    torch.set_num_threads(1)
    teacher = load_teacher("bundled", device="cpu")
    photos = np.random.default_rng(0).integers(0, 256, (1, size_px, size_px, 3), np.uint8)
    return here(lambda: teacher.edit(photos, "make it night", seed=0))


@contextmanager
def narrow_torch(network: str, size_px: int) -> Iterator[Call]:
    """Yield calls of a network in a PyTorch of its own, held to 128-bit vectors."""
    process = subprocess.Popen(
        [sys.executable, __file__, network, str(size_px)],
        env={**os.environ, **NARROW},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    to, answers = process.stdin, process.stdout

    def call(count: int) -> tuple[list[float], float]:
        print(count, file=to, flush=True)
        walls, cpu = json.loads(answers.readline())
        return walls, cpu

    try:
        yield call
    finally:
        to.close()
        process.wait(timeout=60)


@dataclass(frozen=True, slots=True)
class Page:
    """A browser's page in which files of `folder`'s ``models`` can be opened."""

    opened: Browser
    session: str
    folder: Path

    def ask(self, expression: str) -> Any:
        """Return what a promise of the page gives, however long it takes."""
        self._evaluated(f"void (self.asked = ({expression}).then((value) => ({{ value }})))")
        later = f"new Promise((done) => setTimeout(() => done(null), {PATIENCE_MS}))"
        while (answer := self._evaluated(f"Promise.race([self.asked, {later}])")) is None:
            pass
        return answer.get("value")

    def _evaluated(self, expression: str) -> Any:
        words = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self.opened.call("Runtime.evaluate", words, session=self.session)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", details).get("description", str(details)))
        return answer["result"].get("value")

    def cpu_ms(self) -> float:
        """Return the processor time of the renderers so far, to the nanosecond where told so."""
        rows = self.opened.call("SystemInfo.getProcessInfo")["processInfo"]
        total = 0.0
        for row in rows:
            if row["type"] != "renderer":
                continue
            spent = 0
            for task in Path(f"/proc/{row['id']}/task").iterdir():
                spent += int((task / "schedstat").read_text().split()[0])
            total += spent / 1e6
        return total

    def of_file(self, path: Path) -> Call:
        """Return calls of a .tflite or .onnx file in a worker of the page, on one thread."""
        place = self.folder / "models" / path.name
        write_bytes(place, path.read_bytes())
        told = open_session(path)
        entry = {
            "path": path.name,
            "sha256": file_sha256(path),
            "format": path.suffix[1:],
            "inputs": [asdict(port) for port in told.inputs],
            "outputs": [asdict(port) for port in told.outputs],
        }
        bundle = {"folder": "/models/", "manifest": {"name": "runtimes"}}
        name = json.dumps(path.name)
        words = f"{json.dumps(bundle)}, {json.dumps(entry)}, {{accelerator: 'wasm', threads: 1}}"
        self.ask(
            "import('/core/remote.js')"
            f".then(({{ RemoteEditor }}) => RemoteEditor.open({words}))"
            f".then((editor) => {{ (self.models ??= {{}})[{name}] = editor; return true; }})"
        )

        def call(count: int) -> tuple[list[float], float]:
            before = self.cpu_ms()
            walls = self.ask(f"self.models[{name}].repeat({count}).then((found) => found.ms)")
            return walls, self.cpu_ms() - before

        return call


@contextmanager
def page(folder: Path) -> Iterator[Page]:
    """Serve the web demo's modules from `folder` and open an empty page on them."""
    origin = sources()
    for name in [*page_files(origin), *ENGINES.values()]:
        write_bytes(folder / name, (origin / name).read_bytes())
    for packages in libraries(origin / "libraries.json").values():
        for package in packages:
            install(package, folder)
    write_bytes(folder / "empty.html", b"<!doctype html><title>runtimes</title>")
    with ExitStack() as stack:
        running = stack.enter_context(server(folder))
        threading.Thread(target=running.serve_forever, daemon=True).start()
        stack.callback(running.shutdown)
        opened = stack.enter_context(browser())
        url = f"http://127.0.0.1:{running.server_address[1]}/empty.html"
        target = opened.call("Target.createTarget", {"url": url})["targetId"]
        words = {"targetId": target, "flatten": True}
        found = Page(opened, opened.call("Target.attachToTarget", words)["sessionId"], folder)
        ready = "new Promise((done) => document.readyState === 'complete' ? done(location.href) : "
        ends = time.monotonic() + 20
        while found.ask(ready + "setTimeout(() => done(''), 100))") != url:
            if time.monotonic() > ends:
                raise TimeoutError(url)
            time.sleep(0.1)
        yield found


if __name__ == "__main__":
    answer_call = of_torch(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        print(json.dumps(answer_call(int(line))), flush=True)
