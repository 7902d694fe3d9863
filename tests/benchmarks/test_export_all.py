"""The stopwatch of a whole export: the real command, twice, the second time from the cache."""

import importlib.util
import json
from pathlib import Path

import pytest
from tests import needs

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks/results/export_all_256.json"


@pytest.fixture(scope="module")
def script():
    place = ROOT / "benchmarks" / "export_all.py"
    spec = importlib.util.spec_from_file_location("export_all", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_in_the_documentation_is_that_of_the_committed_result(script):
    result = json.loads(RESULT.read_text(encoding="utf-8"))

    assert script.table(result) in (ROOT / "docs/targets.md").read_text(encoding="utf-8")


def test_every_converter_stayed_within_its_estimate_of_memory():
    workers = json.loads(RESULT.read_text(encoding="utf-8"))["first"]["workers"]

    assert len(workers) == 8
    assert all(facts["peak_mib"] <= facts["estimate_mib"] for facts in workers.values())


@pytest.mark.slow
@needs.OPENVINO
def test_an_export_is_timed_and_repeated_from_the_cache(script, tmp_path):
    out = tmp_path / "result.json"

    words = ["--work", tmp_path, "--out", out, "--size", 64, "--target", "openvino"]
    code = script.main([*map(str, words), "--precision", "fp32", "--limit", "10000"])

    result = json.loads(out.read_text())
    assert code == 0
    assert [row["format"] for row in result["first"]["files"]] == ["openvino"]
    assert result["with_cache"]["same_files"]
    assert result["with_cache"]["cpu_seconds"] < result["first"]["cpu_seconds"]
    assert result["first"]["workers"]["openvino"]["peak_mib"] > 100
