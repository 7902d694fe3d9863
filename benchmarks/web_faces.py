"""Whether a browser finds faces where Python finds them, and how long it takes.

    python benchmarks/web_faces.py RESTORER --heads faces/heads

Rendered heads (`edgekit pairs faces --head-model`) are turned by up to 20 degrees, scaled to 96 to
288 pixels and laid on smooth pictures of 640 x 480. The web demo's own modules find the faces in
Chromium, on one thread of the page, with the nets that the site of RESTORER holds; Python finds
them with the same nets. Kept of each picture: both sets of five points and the times.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgekit.benchmarks.devices.browser import browser
from edgekit.benchmarks.host import host_facts, load_average
from edgekit.core.errors import EdgekitError
from edgekit.core.images import resized
from edgekit.core.store import write_json
from edgekit.core.tensors import Photo
from edgekit.distill.faces.detect import found_faces
from edgekit.distill.faces.sets import load_faces
from edgekit.runtime.apps.web import build_site, server
from edgekit.runtime.bundle import bundle_folder
from web_responsiveness import asked, opened_page

OUT = Path(__file__).resolve().parent / "results" / "web_faces.json"
WIDTH, HEIGHT = 640, 480
ROUNDS = 3
OPEN = """(async () => {
  const { foundFaces } = await import("./core/faces.js");
  const { startEngine } = await import("./engines/litert.js");
  const { nets } = await (await fetch("site.json")).json();
  const openFile = await startEngine({ accelerator: "wasm", threads: 1 });
  const start = performance.now();
  const opened = {};
  for (const net of nets) {
    const buffer = await (await fetch(net.path)).arrayBuffer();
    opened[net.name] = await openFile(buffer, { outputs: [], ...net });
  }
  const run = async (name, input) => {
    const port = nets.find((net) => net.name === name).inputs[0].name;
    const outputs = Object.values(await opened[name].run({ [port]: input }));
    return outputs.sort((a, b) => b.length - a.length);
  };
  self.find = async (text, width, height) => {
    const data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const begin = performance.now();
    const faces = await foundFaces({ width, height, data }, run);
    return { points: faces[0]?.points ?? null, faces: faces.length, ms: performance.now() - begin };
  };
  return performance.now() - start;
})()"""


def main(words: Sequence[str] | None = None) -> int:
    """Measure and write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("restorer", type=Path)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(words)
    try:
        result = measured(bundle_folder(given.restorer), given.heads, given.pictures)
    except EdgekitError as error:
        print(f"web_faces: {error.what}\n  hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    write_json(given.out, result)
    print(json.dumps(result["summary"], indent=1))
    return 0


def measured(folder: Path, heads: Path, count: int) -> dict[str, Any]:
    """Find the faces of all pictures in the browser and in Python, in turns."""
    pictures = [picture_of(head, seed) for seed, head in enumerate(some_heads(heads, count))]
    before, rows = load_average(), []
    with tempfile.TemporaryDirectory() as place:
        site = build_site([folder], Path(place) / "site", engines=["tflite"])
        with server(site.folder) as running, browser() as opened:
            threading.Thread(target=running.serve_forever, daemon=True).start()
            session = opened_page(opened, f"http://127.0.0.1:{running.server_address[1]}/")
            open_ms = asked(opened, session, OPEN)
            for picture in pictures:
                text = base64.b64encode(picture.tobytes()).decode()
                find = f"find({json.dumps(text)}, {WIDTH}, {HEIGHT})"
                turns = [(asked(opened, session, find), in_python(picture)) for _ in range(ROUNDS)]
                rows.append(row_of(turns))
            version = opened.call("Browser.getVersion")["product"]
            running.shutdown()
    return {
        "what": "five points of faces that the web demo finds, against Python's",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "browser": version,
        "host": host_facts(),
        "load_average": {"before": before, "after": load_average()},
        "open_ms": open_ms,
        "summary": summary(rows),
        "rows": rows,
    }


def some_heads(folder: Path, count: int) -> list[Photo]:
    """Return heads of as many different people as there are."""
    faces = load_faces(folder)
    chosen = np.linspace(0, len(faces.images) - 1, count).round().astype(int)
    return [faces.images[i].permute(1, 2, 0).numpy() for i in chosen.tolist()]


def picture_of(head: Photo, seed: int) -> Photo:
    """Lay a head, turned and scaled, on a smooth picture."""
    random = np.random.default_rng(seed)
    ground = resized(random.integers(0, 256, (4, 5, 3)).astype(np.uint8), HEIGHT, WIDTH)
    side = int(random.integers(96, 289))
    turned = Image.fromarray(head).resize((side, side), Image.Resampling.BICUBIC).convert("RGBA")
    turned = turned.rotate(float(random.uniform(-20, 20)), Image.Resampling.BICUBIC)
    canvas = Image.fromarray(ground)
    place = (int(random.integers(0, WIDTH - side)), int(random.integers(0, HEIGHT - side)))
    canvas.paste(turned, place, turned)
    return np.asarray(canvas)


def in_python(picture: Photo) -> dict[str, Any]:
    """Return what the page returns, found by Python."""
    start = time.perf_counter()
    faces = found_faces(picture)
    points = faces[0].five.round(3).tolist() if faces else None
    return {"points": points, "faces": len(faces), "ms": 1000 * (time.perf_counter() - start)}


def row_of(turns: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Return points of the first turn and the times of all."""
    page, python = turns[0]
    row: dict[str, Any] = {
        "page": page["points"] and np.round(page["points"], 3).tolist(),
        "python": python["points"],
        "faces": [page["faces"], python["faces"]],
        "page_ms": [round(one["ms"], 1) for one, _ in turns],
        "python_ms": [round(one["ms"], 1) for _, one in turns],
    }
    if row["page"] and row["python"]:
        apart = np.hypot(*(np.array(row["page"]) - np.array(row["python"])).T)
        eyes = float(np.hypot(*np.subtract(row["python"][1], row["python"][0])))
        row |= {"apart_px": apart.round(3).tolist(), "eyes_px": round(eyes, 1)}
    return row


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what docs/web.md quotes."""
    apart = [max(row["apart_px"]) for row in rows if "apart_px" in row]
    share = [max(row["apart_px"]) / row["eyes_px"] for row in rows if "apart_px" in row]
    return {
        "pictures": len(rows),
        "found_by_both": len(apart),
        "found_by_neither": sum(row["faces"] == [0, 0] for row in rows),
        "worst_point_px": {"median": statistics.median(apart), "max": max(apart)},
        "worst_point_eye_distances": round(max(share), 4),
        "page_ms": statistics.median(ms for row in rows for ms in row["page_ms"][1:]),
        "python_ms": statistics.median(ms for row in rows for ms in row["python_ms"][1:]),
    }


if __name__ == "__main__":
    raise SystemExit(main())
