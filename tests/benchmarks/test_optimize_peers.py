"""The tables of docs/optimize.md are those that were measured, and ours are better than peers."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = [
    ROOT / f"benchmarks/results/{name}.json" for name in ("optimize_peers", "optimize_concept_gan")
]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("peers", ROOT / "benchmarks/optimize_peers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("result", RESULTS, ids=lambda path: path.stem)
def test_the_page_shows_what_was_measured(script, result):
    measured = json.loads(result.read_text(encoding="utf-8"))

    page = (ROOT / "docs/optimize.md").read_text(encoding="utf-8")

    assert script.table(measured) in page


@pytest.mark.parametrize("result", RESULTS, ids=lambda path: path.stem)
def test_ours_at_about_the_anchors_bytes_is_more_exact_than_the_anchor(result):
    for part in json.loads(result.read_text(encoding="utf-8"))["formats"]:
        anchor = next(row for row in part["rows"] if row.get("back_end") == part["anchor"])
        ours = [row["measured"] for row in part["rows"] if row["who"] == "ours"]

        fitting = [m for m in ours if m["bytes"] <= 1.02 * anchor["measured"]["bytes"]]

        assert max(m["db"] for m in fitting) > anchor["measured"]["db"], part["format"]
