"""Draw docs/images/ios_demo.png: the app's two screens as a web page, with what its classes showed.

    python ios_demo/LinuxEngine/picture.py

Not a screenshot: no iPhone and no Xcode were at hand. The shipped base is exported, opened by the
app's own studio on Linux, edits its own sample picture and is measured; the sentences and numbers
are what the studio says. Needs `ios_demo/toolchain.sh install` and Chromium.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np
from PIL import Image

DEMO = Path(__file__).parents[1]
PICTURE = DEMO.parent / "docs" / "images" / "ios_demo.png"
WORK = "/tmp/edgekit-swift/release"
CONCEPTS = ("make it night", "make it snowy")

STYLE = """
:root { --page: #e9e9ee; }
* { box-sizing: border-box; }
body { margin: 0; padding: 36px 44px; background: var(--page); display: flex; gap: 44px;
  font: 15px/1.35 -apple-system, "Inter", "Helvetica Neue", "Liberation Sans", Arial, sans-serif; }
.phone { width: 390px; height: 844px; border-radius: 46px; overflow: hidden; display: flex;
  flex-direction: column; box-shadow: 0 0 0 9px #1c1c1e, 0 18px 44px #0006;
  background: var(--back); color: var(--text); }
.light { --back: #f2f2f7; --cell: #fff; --text: #000; --dim: #6b6b70; --line: #d9d9de;
  --accent: #2b67c8; --bar: #f9f9fb; }
.dark { --back: #000; --cell: #1c1c1e; --text: #fff; --dim: #9a9aa1; --line: #38383a;
  --accent: #7ab3ff; --bar: #141416; }
.nav { padding: 46px 16px 10px; display: flex; justify-content: space-between;
  background: var(--bar); color: var(--accent);
  border-bottom: 1px solid var(--line); font-size: 15px; }
.nav b { color: var(--text); }
.compare { position: relative; width: 390px; aspect-ratio: 4 / 3; flex: none; }
.compare img { position: absolute; inset: 0; width: 100%; height: 100%; }
.compare img.before { clip-path: inset(0 50% 0 0); }
.compare i { position: absolute; left: 50%; top: 0; bottom: 0; width: 3px; margin-left: -1.5px;
  background: #fff; box-shadow: 0 0 4px #0008; }
.compare i::after { content: "\\2194"; position: absolute; top: 50%; left: 50%; width: 26px;
  height: 26px; margin: -13px; border-radius: 13px; background: #fff;
  color: #000; text-align: center; font: 700 17px/25px sans-serif; }
.form { padding: 0 16px; overflow: hidden; flex: 1; }
h2 { font-size: 12.5px; font-weight: 400; color: var(--dim); margin: 9px 14px 4px;
  text-transform: uppercase; letter-spacing: .02em; }
.group { background: var(--cell); border-radius: 11px; }
.row { padding: 7.5px 14px; display: flex; justify-content: space-between; gap: 12px; }
.row + .row { border-top: 1px solid var(--line); }
.row > span:last-child:not(:first-child) { color: var(--dim); text-align: right; }
.row.button { color: var(--accent); }
.row.text { display: block; font-size: 13.5px; }
.row small { color: var(--dim); font-size: 12px; display: block; }
.status { padding: 9px 16px 26px; color: var(--dim); background: var(--bar);
  border-top: 1px solid var(--line); font-size: 12.5px; }
"""


def main() -> None:
    """Export, run the studio, draw."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--out", type=Path, default=PICTURE)
    words.add_argument("--work", type=Path, help="folder that keeps what was shown, to draw again")
    given = words.parse_args()
    out: Path = given.out
    with tempfile.TemporaryDirectory() as name:
        folder = given.work or Path(name)
        if not (folder / "screens.json").exists():
            screens(folder)
        facts = json.loads((folder / "screens.json").read_text(encoding="utf-8"))
        size = (facts["height"], facts["width"], 3)
        before, after = (
            data_uri(np.frombuffer((folder / f"{side}.rgb").read_bytes(), np.uint8).reshape(size))
            for side in ("before", "after")
        )
        page = folder / "page.html"
        page.write_text(document(facts, before, after), encoding="utf-8")
        shot(page, folder / "shot.png")
        with Image.open(folder / "shot.png") as drawn:
            drawn.convert("RGB").quantize(200, dither=Image.Dither.NONE).save(out, optimize=True)
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB")


def screens(folder: Path) -> None:
    """Write what the studio shows of the shipped base: screens.json and two pictures."""
    edgekit = Path(sys.executable).with_name("edgekit")
    base = folder / "base"
    export = ["export", "--base", "--size", "256", "--target", "android", "--precision", "fp32"]
    subprocess.run([edgekit, "-q", *export, "--out", base], check=True, stdout=sys.stderr)
    prompts = [word for prompt in CONCEPTS for word in ("--prompt", prompt)]
    subprocess.run(
        [edgekit, "-q", "adapters", "add", base, *prompts], check=True, stdout=sys.stderr
    )
    (folder / "bundles").mkdir()
    shutil.copytree(base / "bundle", folder / "bundles" / "base")
    library = folder / "libLiteRt.so"
    shutil.copyfile(Path(next(iter(ai_edge_litert.__path__))) / library.name, library)
    build = ["swift", "build", "-c", "release", "--scratch-path", WORK]
    swift(folder, *build, "-Xlinker", "--allow-shlib-undefined")
    swift(folder, f"{WORK}/release/edgekit-linux", "screens", folder / "bundles", folder)


def swift(folder: Path, *words: str | Path) -> None:
    """Run a command of the toolchain, which sees `folder`."""
    library = str(folder / "libLiteRt.so")
    subprocess.run(
        [DEMO / "toolchain.sh", "run", *words],
        cwd=DEMO / "LinuxEngine",
        env={**os.environ, "EDGEKIT_SEE": str(folder), "EDGEKIT_LITERT": library},
        check=True,
        capture_output=True,
    )


def document(facts: dict[str, Any], before: str, after: str) -> str:
    """Lay both screens out."""
    say = {key: html.escape(value) for key, value in facts.items() if isinstance(value, str)}
    edit = f"""
<div class="phone light">
  <div class="nav"><span>Benchmark</span><b>{say["title"]}</b><span>Share</span></div>
  <div class="compare">
    <img src="{after}" alt=""><img class="before" src="{before}" alt=""><i></i>
  </div>
  <div class="form">
    <h2></h2>
    <div class="group">{rows(("Choose a photo",), ("Live camera",), button=True)}</div>
    <h2>Concept</h2>
    <div class="group">{rows(("First", say["concept"]), ("Second", "None"))}</div>
    <h2>Model</h2>
    <div class="group">{rows(("File", say["file"]), ("Runs on", say["unit"]))}</div>
    <h2>Latency</h2>
    <div class="group"><div class="row text">{say["latency"]}</div></div>
  </div>
  <div class="status">Done.</div>
</div>"""
    history = "".join(
        f'<div class="row text"><b>{html.escape(row["file"])}</b>'
        f"<small>{html.escape(row['facts'])}</small>{html.escape(row['line'])}"
        + ("<small>Baseline</small>" if row["baseline"] else "")
        + (f"<div>{html.escape(row['comparison'])}</div>" if row["comparison"] else "")
        + "".join(f"<small>&#9888; {html.escape(text)}</small>" for text in row["warnings"])
        + "</div>"
        for row in facts["rows"]
    )
    bench = f"""
<div class="phone dark">
  <div class="nav"><span>Delete</span><b>Benchmark</b><span>Done</span></div>
  <div class="form">
    <h2>&nbsp;</h2>
    <div class="group">
      {rows(("File", say["path"]), ("Calls: 100", "&minus; &nbsp; +"))}
      {rows(("Measure",), ("Compare with Python",), button=True)}
      <div class="row text">{say["check"]}</div>
    </div>
    <h2>History</h2>
    <div class="group">{history}</div>
  </div>
</div>"""
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{edit}{bench}"


def rows(*cells: tuple[str, ...], button: bool = False) -> str:
    """Return lines of a list."""
    kind = "row button" if button else "row"
    return "".join(
        f'<div class="{kind}">{"".join(f"<span>{cell}</span>" for cell in row)}</div>'
        for row in cells
    )


def data_uri(photo: np.ndarray) -> str:
    """Return a picture as part of a page."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def shot(page: Path, out: Path) -> None:
    """Have Chromium draw the page."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("picture: Chromium is not installed: apt-get install chromium")
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu", "--no-first-run"]
    size = ["--window-size=912,916", "--force-device-scale-factor=1.5"]
    words = [browser, *flags, *size, f"--screenshot={out}", page.as_uri()]
    subprocess.run(words, check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    main()
