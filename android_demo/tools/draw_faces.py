"""Draw the app's screen of a restorer, light and dark, as draw_screens.py draws the others.

    .venv/bin/python android_demo/tools/draw_faces.py shipped:restorer

The face is rendered: a head of docs/images/heads.jpg, blurred and with noise.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from draw_screens import ROOT, Screen, beside, edited, filled
from PIL import Image, ImageFilter

from edgekit.cli.shipped import bundle_at
from edgekit.core.seams import PRECISIONS
from edgekit.runtime.apps.android import FORMATS
from edgekit.runtime.apps.android_assets import usable, write_assets

TILE, WALL = 128, (112, 136, 178)
ROW, COLUMN, SIDE, PLACE = 2, 2, 324, (54, 0)
"""Which head of the sheet, how large it is shown and where."""


def photo() -> np.ndarray:
    """Return a bad photo of somebody who does not exist."""
    canvas = Image.new("RGB", (432, 324), WALL)
    with Image.open(ROOT / "docs/images/heads.jpg") as sheet:
        box = (COLUMN * TILE, ROW * TILE, (COLUMN + 1) * TILE, (ROW + 1) * TILE)
        canvas.paste(sheet.crop(box).resize((SIDE, SIDE), Image.Resampling.BICUBIC), PLACE)
    blurred = np.asarray(canvas.filter(ImageFilter.GaussianBlur(4)), np.float32)
    noise = np.random.default_rng(0).normal(0, 7, blurred.shape)
    return np.clip(blurred + noise, 0, 255).astype(np.uint8)


def main() -> None:
    """Draw the two screens side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="bundle of a restorer, or shipped:restorer")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/android_faces.jpg")
    given = parser.parse_args()
    bundle = bundle_at(given.bundle, targets=["onnx"], precisions=PRECISIONS)
    before = photo()
    with tempfile.TemporaryDirectory() as folder:
        write_assets([bundle], usable([bundle], FORMATS), Path(folder), FORMATS)
        made, facts = edited(bundle, before, [folder])
    words = Screen("main", dark=False, content={}, gone=set()).strings
    time = facts["find"] + facts["pre"]
    content = {
        "title": words["portrait_title"],
        "subtitle": words["portrait_subtitle"],
        "file": str(facts["title"]),
        "accelerator": str(facts["accelerator"]),
        "side": "1024 px",
        "engine": filled(words["engine"], facts["title"], facts["accelerator"], facts["load"], ""),
        "latency": filled(
            words["latency_faces"],
            *(before.shape[1], before.shape[0], time, facts["model"], facts["faces"]),
            *(facts["model"] / facts["faces"], facts["post"], facts["first"]),
        ),
        "status": "; ".join([filled(words["faces_done"], facts["faces"]), *facts["notes"]]),
        "share.on": "yes",
        "save.on": "yes",
    }
    photos = (Image.fromarray(before), Image.fromarray(made))
    gone = {"bundles", "concepts", "camera"}
    beside(
        [
            Screen("main", dark=dark, content=content, gone=gone).draw(photos)
            for dark in (False, True)
        ]
    ).save(given.out, quality=88, subsampling=0)


if __name__ == "__main__":
    main()
