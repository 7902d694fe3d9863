"""Draw the app's screens from its layout files: the documentation's pictures, without a phone.

    .venv/bin/python android_demo/tools/draw_screens.py BUNDLE PHOTO --out docs/images/android.jpg

It knows the few kinds of view that the layouts use, sizes them by Android's rules (dp, weights,
wrapped text) and stops at anything that it does not know. Fonts and spacing are near to a phone's,
not equal: what is drawn is no screenshot. The edited photo and the times come from the app's own
classes on this machine's JVM.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgekit.core.images import load_photo
from edgekit.core.manifest import read_bundle
from edgekit.runtime.apps.android_code import RESOURCES, built_code
from edgekit.runtime.apps.android_tools import sources, tools
from edgekit.runtime.bundle import limited

ROOT = Path(__file__).resolve().parents[2]
ANDROID = "{http://schemas.android.com/apk/res/android}"
SCALE = 2
"""Pixels a dp; a phone of 411 dp is then 822 pixels wide."""
WIDTH, HEIGHT = 411, 860
SHADE = {"light": "#d6d7d7", "dark": "#3a3f46"}
"""Material's own button colour, which no file of the app states."""


@dataclass
class View:
    """One view with its resolved attributes, and after layout its place."""

    tag: str
    told: dict[str, str]
    children: list[View] = field(default_factory=list)
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0

    @property
    def name(self) -> str:
        """Its id without what stands before."""
        return self.told.get("id", "").split("/")[-1]


class Screen:
    """A layout file, the resources that it names, and what the app has put into it."""

    def __init__(self, layout: str, *, dark: bool, content: dict[str, str], gone: set[str]) -> None:
        """`content` maps a view's id to its words; `gone` are the ids of hidden views."""
        self.content, self.gone, self.dark = content, gone, dark
        self.resources = sources() / RESOURCES
        self.strings = self._values("values/strings.xml")
        self.colors = self._values(f"values{'-night' * dark}/colors.xml")
        self.styles = {
            row.get("name", ""): (
                row.get("parent"),
                {_bare(i.get("name")): i.text or "" for i in row},
            )
            for row in self._root("values/styles.xml")
        }
        self.root = self._view(self._root(f"layout/{layout}.xml"))

    def _root(self, name: str) -> ElementTree.Element:
        return ElementTree.parse(self.resources / name).getroot()

    def _values(self, name: str) -> dict[str, str]:
        return {
            row.get("name", ""): (row.text or "").replace("\\'", "'") for row in self._root(name)
        }

    def _view(self, node: ElementTree.Element) -> View:
        style = (node.get("style") or "").split("/")[-1]
        told = {
            **self._style(style),
            **{_bare(k): v for k, v in node.attrib.items() if k != "style"},
        }
        view = View(node.tag.split(".")[-1], told)
        view.children = [self._view(child) for child in node]
        return view

    def _style(self, name: str) -> dict[str, str]:
        if name not in self.styles:
            return {}
        parent, items = self.styles[name]
        return {**self._style(parent or name.rpartition(".")[0]), **items}

    def word(self, value: str) -> str:
        """Return a text of the resources, or the value itself."""
        return self.strings[value.split("/")[1]] if value.startswith("@string/") else value

    def color(self, value: str) -> str:
        """Return a colour of the resources, or the value itself."""
        if value == "@color/action":  # ink, paler where the button is off
            return self.colors["ink"]
        return self.colors[value.split("/")[1]] if value.startswith("@color/") else value

    def text(self, view: View) -> str:
        """Return what a view says."""
        return self.content.get(view.name, self.word(view.told.get("text", "")))

    def font(self, view: View) -> ImageFont.FreeTypeFont:
        """Return the font of a view, in pixels."""
        name = (
            "Medium" if view.told.get("textStyle") == "bold" or view.tag == "Button" else "Regular"
        )
        place = tools().folder / "root/usr/share/fonts/truetype/roboto/unhinted/RobotoTTF"
        size = _dp(view.told.get("textSize", "16sp"))
        return ImageFont.truetype(str(place / f"Roboto-{name}.ttf"), size * SCALE)

    def lines(self, view: View, width: float) -> list[str]:
        """Break a text where it no longer fits."""
        found, font = [""], self.font(view)
        for word in self.text(view).split():
            longer = f"{found[-1]} {word}".strip()
            if font.getlength(longer) <= width * SCALE or not found[-1]:
                found[-1] = longer
            else:
                found.append(word)
        return found

    def measure(self, view: View, width: float) -> None:
        """Size a view and what is in it, `width` dp being there."""
        told = view.told
        view.width = width if told.get("layout_width") != "0dp" else view.width
        pad = _dp(told.get("padding", "0dp"))
        inner = view.width - 2 * pad
        if view.name in self.gone:
            view.width = view.height = 0
            return
        if view.tag == "ScrollView":
            self.measure(view.children[0], inner)
            view.height = view.children[0].height
        elif view.tag == "LinearLayout" and told.get("orientation") == "horizontal":
            shown = [child for child in view.children if child.name not in self.gone]
            weights = sum(float(child.told["layout_weight"]) for child in shown)
            for child in shown:
                child.width = inner * float(child.told["layout_weight"]) / weights
                self.measure(child, child.width)
            view.height = max(child.height for child in shown) + 2 * pad
        elif view.tag == "LinearLayout":
            for child in view.children:
                self.measure(child, inner)
            space = sum(
                c.height + _dp(c.told.get("layout_marginTop", "0dp")) * (c.height > 0)
                for c in view.children
            )
            view.height = max(space + 2 * pad, 0)
        elif view.tag in ("TextView", "Button", "Spinner", "SeekBar", "EditText"):
            size = _dp(told.get("textSize", "16sp"))
            rows = len(self.lines(view, inner)) if view.tag == "TextView" and self.text(view) else 0
            view.height = max(rows * size * 1.25, _dp(told.get("minHeight", "0dp")))
        elif view.tag == "BeforeAfterView":
            view.height = inner * 3 / 4
        else:
            raise SystemExit(f"draw_screens.py does not know a {view.tag}")

    def place(self, view: View, x: float, y: float) -> None:
        """Give every view its place."""
        view.x, view.y = x, y
        pad = _dp(view.told.get("padding", "0dp"))
        at_x, at_y = x + pad, y + pad
        across = view.told.get("orientation") == "horizontal"
        for child in view.children:
            if child.name in self.gone:
                continue
            margin = 0 if across else _dp(child.told.get("layout_marginTop", "0dp"))
            self.place(child, at_x, at_y + margin)
            if across:
                at_x += child.width
            else:
                at_y += margin + child.height

    def draw(self, photos: tuple[Image.Image, Image.Image] | None) -> Image.Image:
        """Return the screen as a picture, as long as its content."""
        self.measure(self.root, WIDTH)
        self.place(self.root, 0, 0)
        size = (WIDTH * SCALE, round(max(HEIGHT, self.root.height)) * SCALE)
        image = Image.new("RGB", size, self.colors["paper"])
        self._draw(self.root, ImageDraw.Draw(image), image, photos)
        return image

    def _draw(
        self,
        view: View,
        pen: ImageDraw.ImageDraw,
        image: Image.Image,
        photos: tuple[Image.Image, Image.Image] | None,
    ) -> None:
        if view.name in self.gone:
            return
        box = [
            round(v * SCALE) for v in (view.x, view.y, view.x + view.width, view.y + view.height)
        ]
        ink = self.color(view.told.get("textColor", "@color/ink"))
        middle = (box[1] + box[3]) / 2
        if view.tag == "BeforeAfterView" and photos:
            before, after = (photo.resize((box[2] - box[0], box[3] - box[1])) for photo in photos)
            image.paste(after, (box[0], box[1]))
            half = before.width // 2
            image.paste(before.crop((0, 0, half, before.height)), (box[0], box[1]))
            pen.line([box[0] + half, box[1], box[0] + half, box[3]], "white", 2 * SCALE)
        elif view.tag == "Button":
            inset = [box[0] + 4 * SCALE, box[1] + 6 * SCALE, box[2] - 4 * SCALE, box[3] - 6 * SCALE]
            off = view.told.get("enabled") == "false" and not self.content.get(f"{view.name}.on")
            shade = view.told.get("backgroundTint", SHADE["dark" if self.dark else "light"])
            pen.rounded_rectangle(inset, 2 * SCALE, self.color(shade))
            color = self.colors["line"] if off else ink
            at = ((box[0] + box[2]) / 2, middle)
            pen.text(at, self.text(view), color, self.font(view), anchor="mm")
        elif view.tag == "Spinner":
            pen.text(
                (box[0] + 8 * SCALE, middle), self._cut(view), ink, self.font(view), anchor="lm"
            )
            x = box[2] - 20 * SCALE
            pen.polygon(
                [(x, middle - 5), (x + 20, middle - 5), (x + 10, middle + 6)], self.colors["line"]
            )
        elif view.tag == "SeekBar":
            share = int(self.content.get(view.name, view.told.get("progress", "0"))) / 100
            x = box[0] + 16 * SCALE + share * (box[2] - box[0] - 32 * SCALE)
            pen.line(
                [box[0] + 16 * SCALE, middle, box[2] - 16 * SCALE, middle], self.colors["line"], 3
            )
            pen.line([box[0] + 16 * SCALE, middle, x, middle], self.colors["accent"], 4)
            pen.ellipse([x - 13, middle - 13, x + 13, middle + 13], self.colors["accent"])
        elif view.tag == "EditText":
            pen.text(
                (box[0] + 4 * SCALE, middle), self.text(view), ink, self.font(view), anchor="lm"
            )
            pen.line([box[0], box[3] - 8, box[2], box[3] - 8], self.colors["line"], 2)
        elif view.tag == "TextView":
            step = _dp(view.told.get("textSize", "16sp")) * 1.25 * SCALE
            end = view.told.get("gravity") == "end"
            for row, line in enumerate(self.lines(view, view.width)):
                at = (box[2] if end else box[0], box[1] + row * step)
                pen.text(at, line, ink, self.font(view), anchor="ra" if end else "la")
        for child in view.children:
            self._draw(child, pen, image, photos)

    def _cut(self, view: View) -> str:
        text, font = self.text(view), self.font(view)
        while text and font.getlength(text) > (view.width - 36) * SCALE:
            text = text.removesuffix("…")[:-1].rstrip() + "…"
        return text


def _bare(name: str | None) -> str:
    return (name or "").removeprefix(ANDROID).removeprefix("android:")


def _dp(value: str) -> float:
    return float(value.removesuffix("dp").removesuffix("sp"))


def edited(bundle: Path, photo: np.ndarray, choice: list[str]) -> tuple[np.ndarray, dict[str, Any]]:
    """Edit a photo with the app's own classes; return it and the facts that the screens show."""
    sys.path.insert(0, str(ROOT))
    from tests.android.jvm import compiled_tests

    kit = tools()
    code = built_code(kit)
    height, width = photo.shape[:2]
    jars = [
        compiled_tests(kit, code),
        code.classes,
        kit.onnxruntime / "classes.jar",
        kit.kotlin_library,
    ]
    with tempfile.NamedTemporaryFile() as pixels:
        Path(pixels.name).write_bytes(photo.tobytes())
        words = [bundle, width, height, pixels.name, *choice]
        option = f"-Donnxruntime.native.path={kit.onnxruntime / 'linux'}"
        done = kit.java("dev.edgekit.core.Picture", *words, jars=jars, options=[option])
        made = np.frombuffer(Path(pixels.name).read_bytes(), np.uint8).reshape(photo.shape)
    return made, json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Draw the three screens side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="bundle of a base with two concepts or more")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--second", type=int, default=1)
    parser.add_argument("--percent", type=int, default=40)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/android.jpg")
    given = parser.parse_args()
    concepts = read_bundle(given.bundle).concepts
    one, two = concepts[given.first], concepts[given.second]
    photo = limited(load_photo(given.photo), 512)
    photo = photo[: photo.shape[1] * 3 // 4]
    made, facts = edited(given.bundle, photo, [one.name, two.name, str(given.percent)])
    photos = (Image.fromarray(photo), Image.fromarray(made))
    words = Screen("main", dark=False, content={}, gone=set()).strings
    engine = filled(words["engine"], facts["title"], facts["accelerator"], facts["load"], "")
    latency = filled(
        words["latency"],
        *(photo.shape[1], photo.shape[0], facts["pre"], facts["model"], facts["tiles"]),
        *(facts["model"] / facts["tiles"], facts["post"], facts["first"]),
    )
    content = {
        "title": words["base_title"],
        "first": one.prompt,
        "second": two.prompt,
        "mix": str(given.percent),
        "file": str(facts["title"]),
        "accelerator": str(facts["accelerator"]),
        "side": "512 px",
        "engine": engine,
        "latency": latency,
        "status": words["done"],
        "share.on": "yes",
        "save.on": "yes",
    }
    head = [words[f"head_{name}"] for name in ("file", "on", "load", "first", "p50", "p90")]
    verdict = (
        words["passes" if facts["golden"] <= 1e-4 else "fails"]
        if facts["precision"] == "fp32"
        else ""
    )
    checked = {
        "checked": filled(words["checked"], facts["samples"], facts["golden"], verdict),
        "engine": content["engine"],
        "export.on": "yes",
    }
    screens = [
        Screen("main", dark=False, content=content, gone={"bundles"}).draw(photos),
        Screen("main", dark=True, content=content, gone={"bundles"}).draw(photos),
        _bench(checked, [head, list(facts["row"])], words["measured"]),
    ]
    beside(screens).save(given.out, quality=88, subsampling=0)


def filled(words: str, *values: object) -> str:
    """Return a text of strings.xml with its places filled, as Android does it."""
    return re.sub(
        r"%(\d+)\$(\.\d)?([sdfe])",
        lambda place: ("%" + (place[2] or "") + place[3]) % values[int(place[1]) - 1],
        words,
    )


def beside(screens: list[Image.Image]) -> Image.Image:
    """Return screens side by side, half as large, all as tall as the tallest."""
    gap, tall = 24, max(screen.height for screen in screens)
    sheet = Image.new("RGB", (sum(s.width + gap for s in screens) - gap, tall), "#9aa0a6")
    x = 0
    for screen in screens:
        sheet.paste(
            screen.crop((0, screen.height - 1, 1, screen.height)).resize((screen.width, tall)),
            (x, 0),
        )
        sheet.paste(screen, (x, 0))
        x += screen.width + gap
    return sheet.resize((sheet.width // 2, sheet.height // 2), Image.Resampling.LANCZOS)


def _bench(content: dict[str, str], rows: list[list[str]], status: str) -> Image.Image:
    screen = Screen("bench", dark=False, content={**content, "status": status}, gone=set())
    table = next(view for view in _all(screen.root) if view.name == "results")
    for number, row in enumerate(rows):
        line = screen._view(screen._root("layout/result.xml"))
        for at, cell in enumerate(line.children):
            screen.content[f"row{number}cell{at}"] = row[at]
            cell.told["id"] = f"row{number}cell{at}"
        table.children.append(line)
    return screen.draw(None)


def _all(view: View) -> list[View]:
    return [view, *(below for child in view.children for below in _all(child))]


if __name__ == "__main__":
    main()
