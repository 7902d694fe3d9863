"""How long an edit blocks the web demo's page: with the model in its worker, and without.

    python benchmarks/web_responsiveness.py BUNDLE

Chromium opens the page of BUNDLE (a base's first concept is taken) and edits the page's own sample
of 640 x 480 pixels, in turns with the model in its worker and with ``?worker=0``, which runs the
same code on the page's thread. Kept of each edit: the page's tasks above 50 ms as Chromium's
long-task observer tells them, the longest gap between two frames, and the time of the whole edit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgekit.benchmarks.devices.browser import Browser, browser
from edgekit.benchmarks.host import host_facts, load_average
from edgekit.core.errors import EdgekitError
from edgekit.core.manifest import read_bundle
from edgekit.core.store import write_json
from edgekit.runtime.apps.web import build_site, server
from edgekit.runtime.bundle import bundle_folder

OUT = Path(__file__).resolve().parent / "results" / "web_responsiveness.json"
WAYS = {"worker": "", "page": "?worker=0"}
READY = """new Promise((done) => {
  const look = () => (document.body?.dataset.ready ? done(true) : setTimeout(look, 50));
  look();
})"""
EDIT = """new Promise((done) => {
  const tasks = [], gaps = [], before = Number(document.body.dataset.edited ?? 0);
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)))
    .observe({ type: "longtask" });
  const start = performance.now();
  let last = start, end = null;
  const frame = () => {
    const now = performance.now();
    gaps.push(now - last);
    last = now;
    if (end === null && Number(document.body.dataset.edited ?? 0) > before) end = now;
    if (end !== null && now > end + 300)
      done({ tasks_ms: tasks, gap_ms: Math.max(...gaps), edit_ms: end - start });
    else requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  document.getElementById("side").value = "0";
  document.getElementById("sample").click();
})"""


def main(words: Sequence[str] | None = None) -> int:
    """Measure and write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(words)
    try:
        result = measured(bundle_folder(given.bundle), given.rounds)
    except EdgekitError as error:
        print(f"web_responsiveness: {error.what}\n  hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    write_json(given.out, result)
    print(table(result))
    return 0


def measured(folder: Path, rounds: int) -> dict[str, Any]:
    """Edit the sample `rounds` times each way, in turns."""
    manifest = read_bundle(folder)
    rows: list[dict[str, Any]] = []
    before = load_average()
    with tempfile.TemporaryDirectory() as place:
        site = build_site([folder], Path(place) / "site")
        with server(site.folder) as running, browser() as opened:
            threading.Thread(target=running.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{running.server_address[1]}/"
            pages = {way: opened_page(opened, url + words) for way, words in WAYS.items()}
            for turn in range(rounds):
                for way, session in pages.items():
                    rows.append({"round": turn, "way": way, **asked(opened, session, EDIT)})
            version = opened.call("Browser.getVersion")["product"]
            running.shutdown()
    return {
        "what": "how long the web demo's page is blocked by an edit of 640 x 480 pixels",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "bundle": manifest.name,
        "size_px": manifest.student.size_px,
        "browser": version,
        "host": host_facts(),
        "load_average": {"before": before, "after": load_average()},
        "rows": rows,
    }


def opened_page(opened: Browser, url: str) -> str:
    """Open a page, wait for its model and return the session."""
    target = opened.call("Target.createTarget", {"url": url, "newWindow": True})["targetId"]
    told = opened.call("Target.attachToTarget", {"targetId": target, "flatten": True})
    asked(opened, told["sessionId"], READY)
    return str(told["sessionId"])


def asked(opened: Browser, session: str, expression: str) -> Any:
    """Return what a promise of the page gives; a page that reloads meanwhile is asked again."""
    words = {"expression": expression, "awaitPromise": True, "returnByValue": True}
    for _ in range(5):
        try:
            answer = opened.call("Runtime.evaluate", words, session=session)
        except EdgekitError as error:  # the first visit reloads once to be isolated
            reason = error
            continue
        if "exceptionDetails" in answer:
            raise EdgekitError(
                f"the page failed: {json.dumps(answer['exceptionDetails'])[:300]}",
                hint="open it yourself: edgekit app --serve",
            )
        return answer["result"].get("value")
    raise reason


def table(result: dict[str, Any]) -> str:
    """Return the table that docs/web.md holds."""
    lines = ["| model runs | longest task ms | longest gap between frames ms | whole edit ms |"]
    lines.append("|---|---|---|---|")
    for way, name in (("page", "on the page's thread"), ("worker", "in the worker")):
        rows = [row for row in result["rows"] if row["way"] == way]
        longest = [max(row["tasks_ms"], default=0.0) for row in rows]
        gaps, edits = ([row[key] for row in rows] for key in ("gap_ms", "edit_ms"))
        middle = [statistics.median(values) for values in (longest, gaps, edits)]
        first = f"{middle[0]:.0f}" if middle[0] else "none above 50"
        lines.append(f"| {name} | {first} | {middle[1]:.0f} | {middle[2]:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
