"""Runs of an experiment: each once, in any number of processes, and none lost."""

import json
import time

import pytest
from filelock import FileLock

from edgekit.benchmarks.runs import Runs, lines, spread


def runs(folder, seconds=60.0) -> Runs:
    return Runs(folder, time.monotonic() + seconds)


def test_what_has_a_line_is_not_run_again(tmp_path):
    done = []

    def do(arm, seed):
        done.append((arm, seed))
        return {"arm": arm, "seed": seed}

    runs(tmp_path).work([("a", 0), ("b", 0)], do)
    runs(tmp_path).work([("a", 0), ("b", 0), ("b", 1)], do)

    assert done == [("a", 0), ("b", 0), ("b", 1)]
    assert [row["arm"] for row in lines(tmp_path / "runs.jsonl")] == ["a", "b", "b"]


def test_a_run_that_another_process_has_begun_is_left_to_it(tmp_path):
    with FileLock(tmp_path / ".a-0.lock"):
        left = runs(tmp_path, 0.2).work(
            [("a", 0), ("b", 0)], lambda arm, seed: {"arm": arm, "seed": seed}
        )

    assert left == [("a", 0)]
    assert runs(tmp_path).finished() == {("b", 0)}


def test_a_run_that_had_no_time_is_left_over(tmp_path):
    left = runs(tmp_path, 0.05).work([("a", 0)], lambda arm, seed: time.sleep(0.1))

    assert left == [("a", 0)]
    assert runs(tmp_path).finished() == set()


def test_what_can_never_begin_does_not_keep_the_process(tmp_path):
    began = time.monotonic()

    left = runs(tmp_path).work([("a", 0)], pytest.fail, lambda arm, seed: "never")

    assert left == [("a", 0)]
    assert time.monotonic() - began < 5


def test_a_line_that_was_cut_short_counts_as_none(tmp_path):
    (tmp_path / "runs.jsonl").write_text(json.dumps({"arm": "a", "seed": 0}) + '\n{"arm": "b"')

    assert runs(tmp_path).finished() == {("a", 0)}


def test_shared_stages_are_made_by_whoever_comes_first_and_end_with_the_time(tmp_path):
    made = runs(tmp_path).shared({"base": lambda: 1, "recognizer": lambda: 2})
    with FileLock(tmp_path / ".base.lock"):
        late = runs(tmp_path, 0.2).shared({"base": lambda: 1, "recognizer": lambda: 2})

    assert made == {"base": 1, "recognizer": 2}
    assert late is None
    assert runs(tmp_path).shared({"base": lambda: None}) is None


def test_each_visible_gpu_gets_one_worker_and_the_worst_exit_counts(monkeypatch):
    begun = []

    class Worker:
        def __init__(self, command, env):
            begun.append((command[-1], env["CUDA_VISIBLE_DEVICES"]))

        def wait(self):
            return len(begun) - 2

    monkeypatch.setattr("edgekit.benchmarks.runs.subprocess.Popen", Worker)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")

    with pytest.raises(SystemExit) as ended:
        spread(2)

    assert begun == [("--worker", "3"), ("--worker", "5")]
    assert ended.value.code == 0
    spread(1)
