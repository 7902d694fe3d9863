"""The scripts that measure, search and draw: each stage at toy size, as it is called."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgekit.core.progress import silent
from edgekit.distill.students.shape import Shape, shape_facts

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TABLE = BENCHMARKS / "results" / "architecture_latency.json"
USUAL = "w64-f16-h32-e192-b2-1-t1-d11"


@pytest.fixture(scope="module")
def scripts() -> ModuleType:
    """The scripts import each other by name, as they do when one of them is run."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import architecture
        import architecture_files
        import architecture_front
    finally:
        sys.path.remove(str(BENCHMARKS))
    found = ModuleType("scripts")
    found.main, found.files, found.front = architecture, architecture_files, architecture_front
    return found


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    from edgekit.distill.pairs.make import make_pairs
    from edgekit.distill.pairs.settings import PairSettings

    class Dim:
        identity = "dim@0"

        def edit(self, images, prompt, *, seed):
            return images // 2

    folder = tmp_path_factory.mktemp("pairs") / "night"
    settings = PairSettings(prompt="make it night", count=12, size_px=64, variation=0.0)
    make_pairs(settings, Dim(), folder)
    return folder


def test_a_search_on_pairs_of_ones_own_writes_what_it_found(scripts, pairs, tmp_path, capsys):
    words = ["search", "--pairs", str(pairs), "--out", str(tmp_path), "--budget-ms", "3.2"]
    words += ["--trials", "2", "--steps", "2", "--batch", "2", "--checks", "2", "--device", "cpu"]
    words += ["--references", "1", "--reference-width", "8"]

    code = scripts.main.main(words)

    result = json.loads((tmp_path / "search.json").read_text())
    assert code == 0
    assert result["concepts"] == ["make it night"]
    assert len(result["found"]) == 2
    assert all(row["ms"] <= 3.2 for row in result["found"])
    assert set(result["front"]) <= {row["name"] for row in result["found"]}
    assert {row["name"] for row in result["references"]} >= {"pix2pix ResNet-9", USUAL}
    assert "front:" in capsys.readouterr().out


def test_settings_are_repeated_with_several_seeds(scripts, pairs, tmp_path):
    words = ["search", "--pairs", str(pairs), "--out", str(tmp_path), "--budget-ms", "3.2"]
    words += ["--steps", "2", "--batch", "2", "--checks", "1", "--device", "cpu", "--seeds", "2"]
    words += ["--reference-width", "8", "--repeat", "w32-f8-h16-e96-b1-1-t1-d11", "e2gan"]

    code = scripts.main.main(words)

    rows = json.loads((tmp_path / "repeated.json").read_text())["repeated"]
    assert code == 0
    assert [row["seed"] for row in rows] == [0, 0, 1, 1]
    assert len({row["score"] for row in rows}) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget-ms", "0.1", "--pairs", "PAIRS"], "more than 0.1"),
        (["--budget-ms", "5"], "either --pairs or --photos"),
    ],
)
def test_a_search_that_cannot_be_meant_is_one_sentence(
    scripts, pairs, tmp_path, capsys, words, said
):
    words = [str(pairs) if word == "PAIRS" else word for word in words]

    code = scripts.main.main(["search", "--out", str(tmp_path), "--device", "cpu", *words])

    assert code == 2
    assert said in capsys.readouterr().err


def test_a_network_is_exported_timed_and_counted(scripts, tmp_path):
    files = scripts.files
    network = files.generator_of(Shape(width=8, context_dim=128, transformer=False))
    photos = files.calibration_photos(32, 2)

    failed = files.make_files(tmp_path, network, 32, ["onnx.fp32", "onnx.int8"], photos=photos)
    timed = files.timed_files(tmp_path, [network], 32, threads=1, calls=3, warmup=1, report=silent)

    assert failed == {}
    assert photos.shape == (2, 3, 32, 32)
    assert np.abs(photos).max() <= 1
    rows = timed[network.name]
    assert set(rows) == {"onnx.fp32", "onnx.int8"}
    assert all(row["p50_ms"] > 0 and len(row["wall_ms"]) == 3 for row in rows.values())
    assert rows["onnx.int8"]["bytes"] < rows["onnx.fp32"]["bytes"]


def test_a_format_that_cannot_be_written_is_said_and_the_others_are_written(
    scripts, tmp_path, monkeypatch
):
    from edgekit.export.targets import onnx as target

    def fails(*args, **kwargs):
        raise ValueError("no such operator\nand more")

    monkeypatch.setattr(target, "static_int8", fails)
    network = scripts.files.generator_of(Shape(width=8, context_dim=128, transformer=False))
    photos = scripts.files.calibration_photos(32, 1)

    failed = scripts.files.make_files(
        tmp_path, network, 32, ["onnx.fp32", "onnx.int8"], photos=photos
    )

    assert failed == {"onnx.int8": "ValueError: no such operator"}
    assert scripts.files.file_of(tmp_path, network, 32, "onnx.fp32").is_file()


def found(name: str, ms: float, score: float, **more: Any) -> dict[str, Any]:
    width = {"small": 32, "usual": 64, "large": 80}[name]
    return {
        "shape": shape_facts(Shape(width=width)),
        "ms": ms,
        "measured": False,
        "score": score,
        "curve": [[1, score]],
        "pruned": False,
        "seconds": 1.0,
        "terms": {"psnr_db": 20.0},
        **more,
    }


def test_what_was_predicted_is_measured_beside_the_default_and_put_on_the_tables_scale(
    scripts, tmp_path, monkeypatch
):
    table = json.loads(TABLE.read_text())
    usual = scripts.front.table_of(table, "onnx.int8").measured[USUAL]
    result = {
        "size_px": 128,
        "file": "onnx.int8",
        "found": [found("small", 2.0, 0.9), found("usual", usual, 0.5, measured=True)],
    }
    monkeypatch.setattr(scripts.files, "make_files_apart", lambda *args: {})

    def timed(work, networks, size_px, **how):  # today the machine takes twice as long
        return {
            network.name: {"onnx.int8": {"cpu_p50_ms": 2 * ms}}
            for network, ms in zip(networks, (3.0, usual), strict=True)
        }

    monkeypatch.setattr(scripts.files, "timed_files", timed)

    measured = scripts.front.measured_front(result, table, tmp_path, calls=1, default=Shape())

    assert [row["ms"] for row in measured["found"]] == [3.0, usual]
    assert all(row["measured"] for row in measured["found"])
    assert measured["session_factor"] == 0.5


def test_the_front_is_drawn_as_svg_with_every_setting(scripts):
    from xml.etree import ElementTree

    result = {
        "size_px": 128,
        "file": "onnx.int8",
        "default": USUAL,
        "found": [
            found("small", 2.0, 0.9),
            found("usual", 4.0, 0.5),
            found("large", 6.0, 0.7, pruned=True),
        ],
    }

    drawn = ElementTree.fromstring(scripts.front.drawn_front(result))

    kinds = [node.get("class") for node in drawn.iter() if node.tag.endswith("circle")]
    assert sorted(kinds) == ["front", "front", "pruned", "usual"]
    assert "hollow: pruned" in "".join(drawn.itertext())


def test_the_page_shows_the_committed_measurements(scripts):
    table = json.loads(TABLE.read_text())
    page = (BENCHMARKS.parent / "docs" / "architecture.md").read_text()

    shown = scripts.front.reference_table(table)

    assert shown in page
    assert {"pix2pix ResNet-9", "E2GAN, paper size", USUAL} <= {
        row["name"] for row in table["references"]["rows"]
    }


def test_a_search_can_measure_what_the_table_lacks(scripts, tmp_path, monkeypatch):
    table = scripts.front.table_of(json.loads(TABLE.read_text()), "tflite.int8")
    asked: list[str] = []
    monkeypatch.setattr(scripts.files, "make_files", lambda *args, **how: {})

    def timed(work, networks, size_px, **how):
        asked.append(networks[0].name)
        return {
            network.name: {"tflite.int8": {"cpu_p50_ms": ms}}
            for network, ms in zip(networks, (6.0, 4.0), strict=True)
        }

    monkeypatch.setattr(scripts.files, "timed_files", timed)
    new, known = Shape(width=48, full=8, half=16, eighth=64), Shape()
    measuring = scripts.files.Measuring(table, "tflite.int8", tmp_path, limit_ms=5.0)

    found = [measuring.lookup(new), measuring.lookup(known), measuring.lookup(Shape(width=96))]
    again = scripts.files.Measuring(table, "tflite.int8", tmp_path, 5.0).lookup(new)
    tight = scripts.files.Measuring(table, "tflite.int8", tmp_path / "other", 0.5).lookup(new)

    usual = table.measured[USUAL]
    assert found[0] == again == (round(usual * 1.5, 4), True)
    assert found[1] == (usual, True)
    assert tight[1] is False
    assert len(asked) == 1
