"""The search of ranks on the report's page: the front is the table's, and nothing is invented."""

from __future__ import annotations

import re

import pytest

from edgekit.benchmarks.report import write_report
from edgekit.benchmarks.report.search import front_chart, search_section
from edgekit.core.store import write_json

GROUPS = ("down", "ds", "transformer", "us", "up")


def trial(number, ranks, size, distance, state="complete"):
    return {
        "number": number,
        "ranks": dict(zip(GROUPS, ranks, strict=True)),
        "bytes": size,
        "state": state,
        "distance": distance,
        "scores": {"frechet": 200.5, "perceptual": 0.2, "l1": 0.03},
        "curve": [[10, distance + 0.1], [20, distance]],
        "steps": 20,
        "seconds": 12.5,
    }


@pytest.fixture
def search():
    return {
        "kind": "search",
        "schema": 1,
        "protocol": "search-1",
        "validation_pairs": 12,
        "settings": {"mode": "tpe", "gain": 0.01, "budget_kb": 100.0},
        "untouched": {"frechet": 560.0, "perceptual": 0.6, "l1": 0.2},
        "seconds": 61.5,
        "stopped": "budget",
        "counts": {"complete": 4, "pruned": 1, "stopped": 0},
        "best": 3,
        "front": [0, 2, 3],
        "trials": [
            trial(0, (1, 1, 1, 1, 1), 32364, 0.38),
            trial(1, (2, 0, 4, 2, 2), 76532, 0.377),
            trial(2, (2, 2, 2, 2, 2), 58216, 0.36),
            trial(3, (16, 4, 0, 8, 2), 92510, 0.339),
            trial(4, (16, 1, 4, 0, 0), 92046, 0.39, "pruned"),
        ],
    }


def test_every_trial_has_a_dot_and_the_front_a_staircase(search):
    chart = front_chart(search)

    assert chart.svg.count("<circle") == 5
    assert chart.svg.count("dot uniform") == 2
    assert chart.svg.count("dot best") == chart.svg.count("dot pruned") == 1
    steps = re.search(r'class="front" points="([^"]+)"', chart.svg)
    assert steps is not None
    assert len(steps[1].split()) == 5  # three corners of the front and two below them
    assert "rank 2 everywhere" in chart.svg
    assert "chosen: 92.5 kB, 0.339" in chart.summary


def test_smaller_is_further_left_and_better_is_lower(search):
    found = {}
    for circle in re.findall(r'cx="([\d.]+)" cy="([\d.]+)".*?trial (\d+)', front_chart(search).svg):
        found[int(circle[2])] = (float(circle[0]), float(circle[1]))

    assert found[0][0] < found[2][0] < found[1][0] < found[3][0]
    assert found[3][1] > found[2][1] > found[0][1]  # SVG counts down the page


def test_a_trial_that_ended_early_and_far_off_does_not_flatten_the_rest(search):
    search["trials"].append(trial(5, (0, 0, 0, 0, 1), 9000, 3.0, "pruned"))

    assert "trial 5" not in front_chart(search).svg
    assert len(search_section(search)["rows"]) == 6


def test_one_trial_is_enough_for_a_chart(search):
    search |= {"trials": search["trials"][:1], "best": 0, "front": [0]}

    assert front_chart(search).svg.count("<circle") == 1


def test_a_search_without_a_complete_trial_has_a_table_only(search):
    search |= {"trials": search["trials"][4:], "best": None, "front": []}

    section = search_section(search)

    assert section["chart"] is None
    assert section["choice"] == ""
    assert [row["state"] for row in section["rows"]] == ["ended early"]


def test_the_page_says_what_a_search_found_and_cost(search, tmp_path):
    write_json(
        tmp_path / "manifest.json",
        {"kind": "student", "name": "snow", "search": {"seconds": 61.5, "trials": 5, "pruned": 1}},
    )
    write_json(tmp_path / "search.json", search)

    page = write_report(tmp_path, tmp_path / "report.html").read_text()

    assert '<a href="#search">' in page
    assert "The search took 62 s for 5 trials: 4 trained to their end, 1 ended early" in page
    assert "down 16, ds 4, transformer 0, us 8, up 2, 92.5 kB" in page
    assert page.count('class="dot') == 5
    assert "62 s, 5 trials, 1 ended early, not in the training time" in page


def test_a_run_without_a_search_says_nothing_of_one(tmp_path):
    write_json(tmp_path / "manifest.json", {"kind": "student", "name": "snow"})
    write_json(tmp_path / "search.json", {"kind": "something else"})

    page = write_report(tmp_path, tmp_path / "report.html").read_text()

    assert 'id="search"' not in page
