"""Phone latency estimates: what they know, what they refuse, and how their error was found."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgekit.benchmarks.estimate import (
    USUAL,
    Graph,
    NoEstimate,
    coefficients,
    devices,
    estimated,
    estimates,
)
from edgekit.cli.main import run
from edgekit.core.manifest import read_bundle

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GRAPH = Graph(parameters=1_000_000, pixels=256 * 256, operators=110)


@pytest.fixture(scope="module")
def fit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fit", BENCHMARKS / "phone_latency_fit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_more_pixels_take_longer_and_int8_takes_less():
    usual = estimated(GRAPH, USUAL[0])

    assert estimated(replace(GRAPH, pixels=512 * 512), USUAL[0]).ms > 1.5 * usual.ms
    assert estimated(replace(GRAPH, precision="w8a8"), USUAL[0]).ms < usual.ms
    assert usual.low_ms < usual.ms < usual.high_ms


def test_a_newer_phone_of_one_line_is_faster():
    years = [estimated(GRAPH, name).ms for name in USUAL[:3]]

    assert years == sorted(years, reverse=True)


def test_the_error_was_found_on_models_left_out_and_beats_both_baselines():
    errors = json.loads((BENCHMARKS / "results" / "phone_latency.json").read_text())["errors"]

    assert errors == coefficients()["errors"]
    mine = errors["leave_family_out"]
    for other in errors["baselines_leave_model_out"].values():
        assert mine["all"]["median_factor"] < other["all"]["median_factor"]
        assert mine["dense"]["median_factor"] < other["dense"]["median_factor"]


def test_the_band_holds_four_of_five_families_that_were_left_out():
    band, errors = coefficients()["band"]["dense"], coefficients()["errors"]["leave_family_out"]

    assert band[0] < 1 / errors["dense"]["median_factor"]
    assert band[1] > errors["dense"]["median_factor"]


def test_a_graph_beyond_the_seen_ones_says_so():
    huge = estimated(replace(GRAPH, parameters=9_000_000_000), USUAL[0])

    assert any("parameters 9,000,000,000" in text for text in huge.beyond)
    assert estimated(GRAPH, USUAL[0]).beyond == ()


def test_files_that_the_table_knows_nothing_about_have_no_estimate(toy_bundle):
    manifest = read_bundle(toy_bundle)
    dynamic = manifest.models[1].model_copy(
        update={"precision": "int8", "recipe": "dynamic int8 weights"}
    )
    apple = manifest.models[0].model_copy(update={"format": "aimodel"})

    made, none = estimates(manifest.model_copy(update={"models": (dynamic, apple)}))

    assert made == []
    assert [type(row) for row in none] == [NoEstimate, NoEstimate]
    assert "CPU" in none[0].reason
    assert ".aimodel" in none[1].reason


def test_an_estimate_is_never_written_where_measurements_are(toy_bundle, tmp_path, capsys):
    shutil.copytree(toy_bundle, tmp_path / "run" / "bundle")
    (tmp_path / "run" / "manifest.json").write_text('{"kind": "student"}')
    before = (tmp_path / "run" / "bundle" / "manifest.json").read_bytes()

    code = run(["bench", str(tmp_path / "run"), "--estimate", "--json"])

    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert said["protocol"] == "estimate-1/no-measurement"
    assert {row["device"] for row in said["estimates"]} == set(USUAL)
    assert not (tmp_path / "run" / "bench.json").exists()
    assert (tmp_path / "run" / "bundle" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--estimate", "--device", "Galaxy S24"], "did you mean 'Samsung Galaxy S24'"),
        (["--device", "Samsung Galaxy S24"], "the names of phones go with --estimate"),
        (["--estimate", "--baseline", "teacher"], "--estimate measures nothing"),
    ],
)
def test_a_mistake_is_one_sentence(toy_bundle, capsys, words, sentence):
    assert run(["bench", str(toy_bundle), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_the_fit_finds_a_law_and_the_devices_behind_a_table(fit, tmp_path):
    random = np.random.default_rng(0)
    rows = []
    for number in range(60):
        weights, pixels = 10 ** random.uniform(5, 8), 10 ** random.uniform(4, 6)
        operators = round(10 ** random.uniform(1.3, 2.8))
        for device, slow in (("a", 1.0), ("b", 3.0)):
            ms = 1e-6 * slow * weights**0.5 * pixels**0.7 * operators**0.3
            rows.append(
                {
                    "model": f"{chr(97 + number % 26)}{chr(97 + number // 26)}net",
                    "component": "",
                    "use_case": "Super Resolution",
                    "params": f"{weights / 1e6:.6f}M",
                    "resolution": f"{round(pixels**0.5)}x{round(pixels**0.5)}",
                    "precision": "float",
                    "device": device,
                    "runtime": "onnx",
                    "ms": f"{ms:.6f}",
                    "primary": "NPU",
                    "total": str(operators),
                }
            )
    with gzip.open(tmp_path / "table.csv.gz", "wt", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    table = fit.Table(tmp_path / "table.csv.gz")

    _, offsets = fit.fitted(table, np.ones(len(table.target), dtype=bool))
    errors = fit.left_out(table, table.families)

    assert offsets["b"] - offsets["a"] == pytest.approx(np.log(3), abs=0.05)
    assert fit.said(errors)["median_factor"] < 1.2
    assert fit.said(fit.by_device(table))["median_factor"] > 2


def test_a_size_is_taken_off_a_name_to_find_its_family(fit):
    assert fit.family("resnet50") == fit.family("resnet101_quantized") == "resnet"


def test_every_usual_device_is_known():
    assert set(USUAL) <= set(devices())
