"""A bundle in a real browser: the web demo's own benchmark, started and read from outside."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import platformdirs
import pytest
from tests import needs

from edgekit.benchmarks.devices import web
from edgekit.benchmarks.devices.browser import browser
from edgekit.benchmarks.devices.facts import read_facts
from edgekit.benchmarks.devices.plan import Plan
from edgekit.benchmarks.devices.samples import samples_of
from edgekit.cli.main import run
from edgekit.core.errors import EdgekitError
from edgekit.core.manifest import read_bundle
from edgekit.runtime.apps.packages import install, libraries
from edgekit.runtime.apps.web import sources

pytestmark = [needs.BROWSER, pytest.mark.xdist_group("web")]


@pytest.fixture(scope="module")
def engines(tmp_path_factory) -> Path:
    """Where the engines are: the user's own cache, filled by npm if it is empty."""
    place = platformdirs.user_cache_path("edgekit") / "npm"
    try:
        for packages in libraries(sources() / "libraries.json").values():
            for package in packages:
                install(package, tmp_path_factory.mktemp("check"), cache=place)
    except EdgekitError as error:
        pytest.skip(f"the web demo's libraries are not here: {error}")
    return place


@pytest.fixture
def page(engines, monkeypatch) -> None:
    """Let the page be put together from those engines."""
    monkeypatch.setattr(web, "build_site", partial(web.build_site, cache=engines))


def bench(bundle: Path, file: Path, *words: str) -> tuple[int, dict]:
    code = run(["bench", str(bundle), "--device", "web:chromium", "--out", str(file), *words, "-q"])
    return code, json.loads(file.read_text())


def test_a_bundle_is_measured_in_the_browser_and_compared_there(page, toy_bundle, tmp_path, capsys):
    code, result = bench(toy_bundle, tmp_path / "web.json", "--calls", "20", "--target", "android")

    (row,) = result["rows"]
    assert code == 0
    assert row["max_abs"] == 0.0
    assert len(row["wall_ms"]) == 20
    assert row["cpu_ms"] == []
    assert row["summary"]["cpu_mean_ms"] >= 0
    assert row["first_ms"] > 0
    assert row["threads"] == 1
    assert result["device"]["abi"] == "web-wasm"
    assert "Chrome" in capsys.readouterr().out


def test_a_wrong_answer_in_the_browser_gets_no_number(page, make_bundle, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", op="Identity")

    code, result = bench(bundle, tmp_path / "web.json", "--calls", "5", "--target", "onnx")

    assert code == 5
    assert (result["rows"][0]["problem"], result["rows"][0]["summary"]) == ("wrong", None)


def test_a_page_that_says_nothing_is_not_waited_for_for_ever(page, toy_bundle, tmp_path):
    words = ["--calls", "100000", "--timeout", "1", "--budget", "1", "--target", "android"]

    code, result = bench(toy_bundle, tmp_path / "web.json", *words)

    assert code == 8
    assert result["rows"][0]["problem"] == "time-out"


def test_a_browser_that_dies_leaves_its_raw_samples(toy_bundle):
    entry = next(e for e in read_bundle(toy_bundle).models if e.format == "tflite")
    page = web._Page()
    page.lines = [{"event": "start", "format": "tflite", "accelerator": "wasm"}]
    page.lines += [{"event": "run", "i": 0, "ms": 1.0}]
    page.problem, page.reason = "lost", "the browser ended by itself"

    row = web._row(entry, page, Plan(), read_facts("web", {}), "wasm")

    assert (row["problem"], row["wall_ms"], row["summary"]) == ("lost", (1.0,), None)


def test_the_browser_answers_and_its_end_is_noticed():
    with browser() as running:
        version = running.call("Browser.getVersion")["product"]
        running.process.kill()
        running.process.wait()

        with pytest.raises(EdgekitError, match="ended by itself") as gone:
            running.call("Browser.getVersion")

    assert "Chrome" in version
    assert gone.value.exit_code == 8


def test_a_machine_without_a_browser_says_so(page, toy_bundle, capsys, monkeypatch):
    monkeypatch.setenv("EDGEKIT_CHROMIUM", "nothing-like-chromium")

    code = run(["bench", str(toy_bundle), "--device", "web:chromium", "-q"])

    assert code == 3
    assert "nothing-like-chromium is not installed" in capsys.readouterr().err


def test_another_accelerator_than_was_asked_for_is_no_measurement(toy_bundle):
    entry = next(e for e in read_bundle(toy_bundle).models if e.format == "tflite")
    start = {"event": "start", "format": "tflite", "accelerator": "wasm", "note": "WebGPU is out."}
    lines = [start, {"event": "run", "i": 0, "ms": 2.0}]
    page = web._Page([*lines, {"event": "accuracy", "worst_db": 90.0, "max_abs": 0.0}])

    row = web._row(entry, page, Plan(), read_facts("web", {}), "webgpu")

    assert row["problem"] == "failed"
    assert row["reason"] == "the browser took wasm instead of webgpu: WebGPU is out"
    assert row["summary"] is None


def test_the_lines_of_the_page_become_samples():
    lines = [
        {"event": "start", "format": "onnx"},
        {"event": "loaded", "engine_ms": 30.0, "load_ms": 8.0},
        {"event": "first", "ms": 5.0},
        {"event": "warm", "calls": 2},
        *({"event": "run", "i": i, "ms": 2.0} for i in range(3)),
        {"event": "end"},
    ]

    samples = samples_of(web.events_of(lines))

    assert (samples.library_ms, samples.loads_ms, samples.first_ms) == (30.0, (8.0,), 5.0)
    assert samples.wall_ms == (2.0, 2.0, 2.0)
    assert samples.cpu_ms == ()
    assert samples.ended == "done"
