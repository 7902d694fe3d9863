"""The report's page, parsed: whole, offline, accessible, and with the run's own numbers."""

import base64
import io
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.benchmarks.bench import bench_bundle
from edgekit.benchmarks.report import write_report
from edgekit.benchmarks.report.charts import bar_chart, curve_charts, nice_ticks
from edgekit.core.errors import BadInput
from edgekit.core.store import write_json
from edgekit.runtime.sessions.fake import fake_image_session

VOID = {"meta", "link", "img", "br", "line", "rect", "polyline"}


class Page(HTMLParser):
    """Collects the tags of a page and whether they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory, toy_bundle) -> Path:
    folder = tmp_path_factory.mktemp("night") / "run"
    shutil.copytree(toy_bundle, folder / "bundle")
    golden = np.load(folder / "bundle/golden/vectors.npz")["image"]
    photos = np.rint((golden.transpose(0, 2, 3, 1) + 1) * 127.5).astype(np.uint8)
    np.savez(folder / "heldout.npz", image=photos, teacher=250 - (photos // 2))
    write_json(
        folder / "manifest.json",
        {
            "kind": "student",
            "name": "night <owls>",
            "prompt": "make it night & quiet",
            "teacher": "bundled@0123456789ab",
            "recipe_sha256": "1" * 64,
            "seed": 7,
            "size_px": 32,
            "parameters": 1234567,
            "gmac": 0.5,
            "seconds": 61.2,
            "adapter": {
                "bytes": 123456,
                "ranks": {"ds": 4, "up": 2},
                "trainable": 61728,
                "sha256": "a" * 64,
            },
            "files": {"student.pt2": {"sha256": "b" * 64, "bytes": 5}},
            "quality": {
                "protocol": "quality-1/32px",
                "samples": 3,
                "student": {"l1": 0.03, "psnr_db": 26.8, "ms_ssim": None},
                "source": {"l1": 0.29, "psnr_db": 29.4, "ms_ssim": None},
            },
            "licences": {"photos": "CC0-1.0"},
            "tools": {"torch": "2.13.0"},
        },
    )
    rows = [{"step": s, "l1": 1 / (s + 1), "val_l1": 1.5 / (s + 1), "lr": 1e-3} for s in range(9)]
    lines = [json.dumps(row) for row in rows]
    (folder / "log.jsonl").write_text("\n".join([*lines, '{"step": 9, "l1"']))
    (folder / "recipe.toml").write_text('concept = "make it night"\n')
    write_json(folder / "bench.json", bench_bundle(folder / "bundle", calls=12, warmup=1))
    return folder


@pytest.fixture(scope="module")
def html(run, tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(run, file).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_every_tag_is_closed_in_order(page):
    assert page.open == []


def test_the_page_asks_for_nothing_from_any_network(html, page):
    addresses = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "action", "data")
    ]

    assert addresses
    assert all((address or "").startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"https?://|@import|url\(", html)
    assert not page.all("script")
    assert "default-src 'none'" in html


def test_the_page_is_small(html):
    assert len(html.encode()) < 300_000


def test_each_picture_has_a_text_and_each_table_a_caption_and_scoped_headings(page):
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg["aria-label"] and svg["role"] == "img" for svg in page.all("svg"))
    assert len(page.all("caption")) == len(page.all("table")) >= 5
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    assert len(page.all("h1")) == 1
    assert page.all("html")[0]["lang"] == "en"


def test_links_lead_to_sections_that_exist(page):
    ids = {attributes.get("id") for _, attributes in page.tags}

    assert {link["href"] for link in page.all("a")} <= {f"#{name}" for name in ids}


def test_names_from_the_run_are_escaped(html, page):
    assert "night <owls>" not in html
    assert "night <owls>" in page.text
    assert "make it night & quiet" in page.text


def test_pictures_come_from_the_files_run_on_the_photos(run, page):
    golden = np.load(run / "bundle/golden/vectors.npz")
    shown = [
        (image["alt"], np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"][23:])))))
        for image in page.all("img")
    ]

    assert len(shown) == 3 * 5  # source, teacher, student, ONNX, LiteRT
    for path in ("onnx/toy.fp32.onnx", "android/toy.fp32.tflite"):
        picture = next(pixels for alt, pixels in shown if path in alt)
        expected = (golden["image_out"][0].transpose(1, 2, 0) + 1) * 127.5
        assert np.abs(picture - expected).mean() < 12  # JPEG of noise
        assert np.abs(picture - (255 - expected)).mean() > 60


def test_what_cannot_run_here_is_said_with_the_reason(page):
    if sys.platform == "darwin":
        pytest.skip("Core ML runs on macOS")

    assert "ios/toy.fp16.mlpackage" in page.text
    assert "macOS only" in page.text


@pytest.mark.parametrize(
    "words",
    [
        "l1",
        "no better than doing nothing",
        "closer than doing nothing",
        "33.1 dB, below 35 dB",
        "1,234,567",
        "123,456 bytes, ranks ds 4, up 2",
        "bundled@0123456789ab",
        "a" * 64,
        "CC0-1.0",
        "torch 2.13.0",
        "latency-1/interleaved",
        "NEG 1",
        'concept = "make it night"',
    ],
)
def test_the_runs_own_numbers_and_sentences_are_on_the_page(page, words):
    assert words in page.text


def test_a_stand_in_for_a_runtime_is_marked_as_such(toy_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("edgekit.runtime.sessions.sys.platform", "linux")
    stand_ins = {".mlpackage": lambda path: fake_image_session(np.negative, size=32)}

    page = Page(write_report(toy_bundle, tmp_path / "r.html", evaluators=stand_ins).read_text())

    assert "Core ML fp16 (evaluated)" in page.text
    assert "not by the runtime of the format" in page.text
    assert len(page.all("img")) == 3 * 5


def test_a_stand_in_that_gives_up_leaves_the_file_unrun(toy_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("edgekit.runtime.sessions.sys.platform", "linux")

    def gives_up(path):
        raise NotImplementedError("MIL operations fancy")

    page = Page(
        write_report(
            toy_bundle, tmp_path / "r.html", evaluators={".mlpackage": gives_up}
        ).read_text()
    )

    assert "ios/toy.fp16.mlpackage" in page.text
    assert "macOS only" in page.text


def test_a_half_run_says_what_is_missing_and_what_to_do(run, tmp_path):
    (tmp_path / "half").mkdir()
    shutil.copy(run / "manifest.json", tmp_path / "half")

    text = Page(write_report(tmp_path / "half", tmp_path / "r.html").read_text()).text

    assert "edgekit export" in text
    assert "edgekit bench" in text
    assert "no training log" in text


def test_a_bundle_on_its_own_has_a_report(toy_bundle, tmp_path):
    page = Page(write_report(toy_bundle, tmp_path / "r.html").read_text())

    assert "onnx/toy.fp32.onnx" in page.text
    assert len(page.all("img")) == 3 * 4  # no teacher without held-out pairs


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir()], ids=["missing", "empty"])
def test_a_folder_that_is_no_run_is_refused(tmp_path, make):
    make(tmp_path / "x")

    with pytest.raises(BadInput, match=r"does not exist|holds neither"):
        write_report(tmp_path / "x", tmp_path / "r.html")


def test_training_and_validation_share_a_chart():
    rows = [{"step": s, "l1": 1.0 / (s + 1), "val/l1": 2.0} for s in range(5)]

    (chart,) = curve_charts(rows)

    assert chart.title == "l1"
    assert chart.svg.count("<polyline") == 2
    assert "training from 1 to 0.2; validation from 2 to 2" in chart.summary


def test_a_loss_that_became_nan_does_not_break_the_chart():
    rows = [{"step": 0, "l1": 1.0}, {"step": 1, "l1": float("nan")}, {"step": 2, "l1": 0.5}]

    (chart,) = curve_charts(rows)

    assert "nan" not in chart.svg


def test_points_lie_inside_the_chart_and_bars_grow_with_the_value():
    (chart,) = curve_charts([{"step": s, "l1": s * s - 3.0} for s in range(20)])
    bars = bar_chart([("a", 1.5, "file"), ("b", 30.0, "file"), ("c", 2e5, "baseline")], title="t")
    lengths = [float(w) for w in re.findall(r'width="([0-9.]+)" height', bars.svg)]

    points = re.search(r'points="([^"]+)"', chart.svg)
    assert points
    assert all(
        0 <= float(x) <= 340 and 0 <= float(y) <= 170
        for x, y in (pair.split(",") for pair in points[1].split())
    )
    assert lengths == sorted(lengths)
    assert "200 s" in bars.svg


@pytest.mark.parametrize(("low", "high"), [(0.13, 0.92), (-3, 358), (1e-7, 2e-7), (5, 5), (0, 0)])
def test_ticks_are_round_and_cover_the_values(low, high):
    ticks = nice_ticks(low, high)

    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 7
