"""Every runtime in one run: tables and plot of the documentation are what was measured."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import runtimes  # noqa: E402 - scripts, found by the line above
import runtimes_callers  # noqa: E402
import runtimes_rows  # noqa: E402
import runtimes_tables  # noqa: E402
import vector_width  # noqa: E402
import web_responsiveness  # noqa: E402


@pytest.fixture(scope="module")
def lines():
    return runtimes_rows.read(runtimes_rows.OUT)


def test_the_page_of_benchmarks_quotes_the_raw_file(lines):
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")

    assert runtimes_tables.table(lines) in page
    assert runtimes_tables.browser_table(lines) in page
    assert runtimes_tables.PLOT.read_text(encoding="utf-8") == runtimes_tables.plot(lines)


def test_the_page_quotes_the_control_with_narrow_vectors():
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")

    assert vector_width.table(json.loads(vector_width.OUT.read_text(encoding="utf-8"))) in page


def test_every_network_ran_in_every_runtime_that_is_told(lines):
    found = set(runtimes_tables.medians(lines))
    wanted = {
        (network, *row) for network in runtimes_rows.NETWORKS for row in runtimes_tables.ROWS
    } | {(runtimes_rows.TEACHER, runtimes_rows.TORCH, "fp32")}

    assert found == wanted
    assert len(lines) > 5


def test_the_page_of_the_web_demo_quotes_how_long_it_is_blocked():
    result = json.loads(web_responsiveness.OUT.read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "web.md").read_text(encoding="utf-8")

    assert web_responsiveness.table(result) in page
    worker = [row for row in result["rows"] if row["way"] == "worker"]
    alone = [row for row in result["rows"] if row["way"] == "page"]
    assert all(max(row["tasks_ms"], default=0) < max(alone[0]["tasks_ms"]) for row in worker)


def test_rounds_begin_with_another_one_and_keep_raw_samples():
    order = []

    def call(name):
        def work(count):
            order.append(name)
            return [1.0] * count, 2.0 * count

        return work

    keys = [("ours", "a", "fp32"), ("x", "b", "fp32"), (runtimes_rows.TEACHER, "PyTorch", "fp32")]
    callers = {key: call(key[1]) for key in keys}

    rounds = [runtimes.measured_round(callers, turn) for turn in range(6)]

    assert order[:3] != order[3:6]
    assert len(rounds[0]["rows"][0]["wall_ms"]) == runtimes.CALLS["ours"]
    assert {row["cpu_ms"] for line in rounds for row in line["rows"]} == {2.0}
    assert sum(key == "PyTorch" for key in order) == runtimes.TEACHER_ROUNDS


def test_ratios_are_taken_within_a_round_and_then_their_median():
    def line(one, two):
        rows = [
            {"network": "ours", "runtime": name, "precision": "fp32", "cpu_ms": ms}
            for name, ms in (("a", one), ("b", two))
        ]
        return {"rows": rows}

    lines = [{}, line(2, 1), line(60, 20), line(8, 2)]

    assert runtimes_tables.ratio(lines, ("ours", "a", "fp32"), ("ours", "b", "fp32")) == 3


def test_a_call_here_counts_processor_time_and_not_sleep():
    import time

    walls, cpu = runtimes_callers.here(lambda: time.sleep(0.02))(3)

    assert len(walls) == 3
    assert min(walls) >= 20
    assert cpu < 30
