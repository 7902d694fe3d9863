"""A bundle measured in a browser: the web demo's own page, its benchmark, its own comparison.

What is timed is what a visitor runs. The page prints a JSON line for each thing it does; processor
time comes from the browser's task manager, for all calls together.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from edgekit.benchmarks.devices.browser import Browser, browser, chromium_program
from edgekit.benchmarks.devices.facts import DeviceFacts, device_facts
from edgekit.benchmarks.devices.judging import Accuracy, judged
from edgekit.benchmarks.devices.local import Local
from edgekit.benchmarks.devices.measure import PROTOCOL
from edgekit.benchmarks.devices.plan import Plan
from edgekit.benchmarks.devices.samples import samples_of
from edgekit.benchmarks.devices.session import Event, Run
from edgekit.core.errors import BadInput, DeviceUnreachable, unknown_name
from edgekit.core.manifest import ModelEntry, read_bundle
from edgekit.core.progress import Report, silent
from edgekit.runtime.apps.web import FORMATS, build_site, server
from edgekit.runtime.verify import IDENTICAL_DB

PREFIX = "edgekit-bench "
BROWSERS = {"chromium": "wasm", "chromium-webgpu": "webgpu"}
"""Name of the device -> accelerator that the page is asked for."""
WEBGPU_FLAGS = ("--enable-unsafe-webgpu", "--enable-features=Vulkan")


@dataclass(slots=True)
class _Page:
    """What a page said, and the processor time around its timed calls."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    cpu_before: float | None = None
    cpu_after: float | None = None
    problem: str = ""
    reason: str = ""


def bench_web(
    folder: Path,
    name: str,
    *,
    plan: Plan,
    wanted: Callable[[ModelEntry], bool],
    report: Report = silent,
) -> dict[str, Any]:
    """Measure the files of the bundle in `folder` that browsers run, in the browser called `name`.

    Raises EdgekitError for an unknown browser or none (exit code 3), BadInput for a bundle without
    such a file, and what putting the page together raises.
    """
    chosen = name or "chromium"
    if chosen not in BROWSERS:
        raise unknown_name("browser", chosen, BROWSERS)
    chromium_program()  # before a page is put together for nobody
    manifest = read_bundle(folder, check_files=True)
    formats = FORMATS if BROWSERS[chosen] == "wasm" else ("tflite",)
    entries = [entry for entry in manifest.models if entry.format in formats and wanted(entry)]
    if not entries:
        raise BadInput(
            f"{manifest.name} holds no file for browsers that was asked for",
            hint="export it with --target web",
        )
    rows: list[dict[str, Any]] = []
    version, adapter = "", ""
    with tempfile.TemporaryDirectory() as place:
        engines = tuple(sorted({entry.format for entry in entries}))
        site = build_site([folder], Path(place) / "site", engines=engines, report=report)
        with server(site.folder) as running:
            threading.Thread(target=running.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{running.server_address[1]}/"
            for index, entry in enumerate(entries):
                report("bench", index, len(entries), entry.path)
                flags = WEBGPU_FLAGS if BROWSERS[chosen] == "webgpu" else ()
                with browser(flags) as opened:  # a fresh one each: nothing is warm
                    version = opened.call("Browser.getVersion")["product"]
                    page = _measured(opened, url, manifest.name, entry, BROWSERS[chosen], plan)
                    if BROWSERS[chosen] == "webgpu":
                        adapter = _adapter(opened, url)
                facts = _facts(chosen, version, adapter)
                rows.append(_row(entry, page, plan, facts, BROWSERS[chosen]))
                if page.problem == "interrupted":
                    break
            running.shutdown()
    report("bench", len(entries), len(entries))
    return {
        "protocol": f"{PROTOCOL}/web",
        "name": manifest.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": asdict(_facts(chosen, version, adapter)),
        "notes": ["processor time is the mean over all calls, not a median"],
        "plan": asdict(plan),
        "threads": plan.threads,
        "size_px": manifest.student.size_px,
        "rows": rows,
        "skipped": [
            {"path": entry.path, "reason": f"no engine for .{entry.format} with {chosen}"}
            for entry in manifest.models
            if entry.format not in formats
        ],
    }


def _facts(chosen: str, version: str, adapter: str) -> DeviceFacts:
    """Return this machine with the browser in place of its system."""
    here = device_facts(Local())
    software = "swiftshader" in adapter.lower()
    return replace(
        here,
        name=f"web:{chosen}",
        model=f"{version} on {here.cpu or here.model}",
        abi=f"web-{BROWSERS[chosen]}",
        soc=adapter,
        emulated=here.emulated or software,
        emulated_because="WebGPU computed by the processor (SwiftShader)"
        if software
        else here.emulated_because,
    )


def _measured(
    opened: Browser, url: str, bundle: str, entry: ModelEntry, accelerator: str, plan: Plan
) -> _Page:
    """Open the page on one file and collect its lines until it is done."""
    asked = {
        "bench": 1,
        "bundle": bundle,
        "model": entry.path,
        "accelerator": accelerator,
        "threads": plan.threads,
        "calls": plan.calls,
        "warmup": plan.warmup,
        "seconds": plan.min_seconds,
    }
    page = _Page()
    ends = time.monotonic() + plan.timeout_seconds
    try:
        target = opened.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        words = {"targetId": target, "flatten": True}
        session = opened.call("Target.attachToTarget", words)["sessionId"]
        opened.call("Runtime.enable", session=session)
        opened.call("Page.enable", session=session)
        opened.call("Page.navigate", {"url": f"{url}?{urlencode(asked)}"}, session=session)
        while not page.lines or page.lines[-1]["event"] not in ("accuracy", "failed"):
            line = _line(opened.event(ends))
            if line is None:
                continue
            page.lines.append(line)
            if line["event"] == "warm":
                page.cpu_before = opened.processor_seconds()
            elif line["event"] == "end":
                page.cpu_after = opened.processor_seconds()
    except TimeoutError:
        page.problem, page.reason = "time-out", _silence(page, plan)
    except DeviceUnreachable as error:
        page.problem, page.reason = "lost", error.what
    except KeyboardInterrupt:
        page.problem, page.reason = "interrupted", "it was interrupted"
    return page


def _silence(page: _Page, plan: Plan) -> str:
    if not page.lines:
        return f"the page said nothing in {plan.timeout_seconds:g} s"
    return f"it did not finish in {plan.timeout_seconds:g} s"


def _line(message: dict[str, Any]) -> dict[str, Any] | None:
    """Return the benchmark's line of a console message, None for anything else."""
    if message.get("method") != "Runtime.consoleAPICalled":
        return None
    words = message["params"]["args"]
    text = str(words[0].get("value", "")) if words else ""
    if not text.startswith(PREFIX):
        return None
    value: dict[str, Any] = json.loads(text.removeprefix(PREFIX))
    return value


def _adapter(opened: Browser, url: str) -> str:
    """Return what the browser calls its graphics adapter."""
    target = opened.call("Target.createTarget", {"url": url})["targetId"]
    words = {"targetId": target, "flatten": True}
    session = opened.call("Target.attachToTarget", words)["sessionId"]
    ask = "navigator.gpu?.requestAdapter().then(a => a ? `${a.info.vendor} ${a.info.architecture}`"
    ask += " : '') ?? ''"
    told = {"expression": ask, "awaitPromise": True, "returnByValue": True}
    found = opened.call("Runtime.evaluate", told, session=session)
    return str(found["result"].get("value", ""))


def events_of(lines: list[dict[str, Any]]) -> list[Event]:
    """Return the page's lines as the events that every other runner writes."""

    def event(name: str, index: int, ms: float, **more: Any) -> Event:
        return {"event": name, "index": index, "ns": ms * 1e6, "cpu_ns": -1, **more}

    found: list[Event] = []
    total_ms = 0.0
    for line in lines:
        kind = line["event"]
        if kind == "start":
            found.append({**line, "engine": f"{line['format']} in the browser"})
        elif kind == "loaded":
            found[0]["library_ns"] = line["engine_ms"] * 1e6
            found.append(event("load", 0, line["load_ms"]))
        elif kind == "first":
            found.append(event("first", 0, line["ms"]))
        elif kind == "run":
            total_ms += line["ms"]
            found.append(event("run", line["i"], line["ms"]))
        elif kind == "end":
            found.append({"event": "end", "ended": "done", "wall_ns": total_ms * 1e6})
    return found


def _row(
    entry: ModelEntry, page: _Page, plan: Plan, facts: DeviceFacts, accelerator: str
) -> dict[str, Any]:
    last = page.lines[-1] if page.lines else {}
    start = page.lines[0] if page.lines else {}
    hint = "open the page yourself: edgekit app --serve"
    run = Run((), page.problem, page.reason, hint)  # type: ignore[arg-type]
    accuracy: Accuracy | None = None
    if last.get("event") == "failed":
        run = Run((), "failed", str(last.get("what")), str(last.get("hint") or hint))
    elif last.get("event") == "accuracy":
        db = last["worst_db"]
        accuracy = (IDENTICAL_DB if db is None else db, last["max_abs"])
        if start.get("accelerator") != accelerator:
            said = f"the browser took {start.get('accelerator')} instead of {accelerator}"
            note = str(start.get("note") or "").rstrip(".")
            run = Run((), "failed", said + (f": {note}" if note else ""), "use web:chromium")
            accuracy = None
    samples = samples_of(events_of(page.lines))
    told = judged(plan, samples, run, accuracy, facts, None, entry)
    if told["summary"] and page.cpu_before is not None and page.cpu_after is not None:
        cpu_ms = (page.cpu_after - page.cpu_before) * 1e3
        told["summary"]["cpu_mean_ms"] = cpu_ms / len(samples.wall_ms)
    return {
        "name": entry.path,
        "kind": "file",
        "target": entry.target,
        "precision": entry.precision,
        "runtime": f"{entry.format} engine of the web demo",
        "runtime_version": "",
        "runner": "browser",
        "threads": start.get("threads"),
        "isolated": start.get("isolated"),
        "sha256": entry.sha256,
        "bytes": entry.bytes,
        **told,
    }
