import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.benchmarks.bench import bench_bundle, check_speedups, shown
from edgekit.benchmarks.compare import Candidate, measure, turns
from edgekit.benchmarks.host import host_facts
from edgekit.benchmarks.statistics import cautious, interval, ratio, summary
from edgekit.benchmarks.timing import Clocks, Timing, time_session
from edgekit.core.errors import BadInput, EdgekitError, QualityFailed
from edgekit.runtime.sessions.fake import fake_image_session


class FakeClock:
    """Time that passes only when something is called, by a known amount."""

    def __init__(self) -> None:
        self.now_ns = 0

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.now_ns, lambda: self.now_ns // 2)

    def candidate(self, name: str, costs_ms, **options) -> Candidate:
        """Take 7 ms to load, then `costs_ms` one after the other, the last one for ever."""
        costs = itertools.chain(costs_ms, itertools.repeat(costs_ms[-1]))

        def load():
            self.now_ns += 7_000_000
            return call

        def call() -> None:
            self.now_ns += int(next(costs) * 1e6)

        return Candidate(name, load, **options)


def timing(name: str, wall: list[float], cpu: list[float] | None = None) -> Timing:
    return Timing(name, 1.0, 1.0, 0, tuple(wall), tuple(cpu or wall))


def test_load_first_call_warm_up_and_samples_are_kept_apart():
    clock = FakeClock()

    (found,) = measure(
        [clock.candidate("a", [50, 9, 9, 3])], calls=4, warmup=2, clocks=clock.clocks()
    )

    assert (found.load_ms, found.first_ms, found.warmup) == (7, 50, 2)
    assert found.wall_ms == (3, 3, 3, 3)
    assert found.cpu_ms == (1.5, 1.5, 1.5, 1.5)


def test_candidates_take_turns_and_each_goes_first_as_often():
    order = turns([4, 4])

    assert order == [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2), (1, 3), (0, 3)]


@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_every_candidate_gets_its_calls_spread_over_the_rounds(counts):
    order = turns(counts)

    rounds = max(counts)
    for index, count in enumerate(counts):
        own = [turn for which, turn in order if which == index]
        assert len(own) == count
        assert max(np.diff([*own, rounds]), default=1) <= -(-rounds // count)


def test_a_candidate_of_one_call_is_called_once_and_let_go():
    clock = FakeClock()
    slow = clock.candidate("slow", [60_000], once=True)

    found = measure([clock.candidate("a", [1]), slow], calls=3, warmup=5, clocks=clock.clocks())

    assert found[1].wall_ms == (60_000,)
    assert found[1].warmup == 0
    assert len(found[0].wall_ms) == 3


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_no_candidate_or_one_name_twice_is_refused(names):
    with pytest.raises(ValueError, match="no name twice"):
        measure([FakeClock().candidate(name, [1]) for name in names])


def test_a_session_can_be_timed_alone():
    session = fake_image_session(np.negative, size=4)
    clock = itertools.count(0, 2_000_000)

    found = time_session(
        session,
        {"image": np.zeros((1, 3, 4, 4), np.float32)},
        calls=3,
        warmup=1,
        clocks=Clocks(lambda: next(clock), lambda: 0),
    )

    assert found.wall_ms == (2, 2, 2)


@pytest.mark.parametrize(("calls", "warmup"), [(0, 1), (1, -1)])
def test_impossible_counts_are_refused(calls, warmup):
    with pytest.raises(ValueError, match="calls >= 1"):
        time_session(fake_image_session(np.negative), {}, calls=calls, warmup=warmup)


def test_percentiles_are_numpys_and_p90_needs_ten_calls():
    many = summary(timing("a", [float(n) for n in range(1, 12)]), threads=1)
    few = summary(timing("a", [1.0] * 9), threads=1)

    assert (many.p50_ms, many.p90_ms, many.min_ms) == (6, 10, 1)
    assert few.p90_ms is None
    assert few.warnings == ("only 9 calls",)


@pytest.mark.parametrize(
    ("wall", "cpu", "word"),
    [
        ([1.0, 2.0] * 10, None, "unstable"),
        ([1.0] * 10 + [1.5] * 10, None, "drifting"),
        ([1.0] * 20, [0.5] * 20, "other processes"),
        ([1.0] * 20, None, None),
    ],
)
def test_each_reason_to_doubt_is_told_and_a_steady_run_has_none(wall, cpu, word):
    warnings = summary(timing("a", wall, cpu), threads=1).warnings

    assert (word is None and not warnings) or any(word in text for text in warnings)


def test_the_interval_holds_the_ratio_and_widens_with_noise():
    rng = np.random.default_rng(0)
    base = list(10 + 0.1 * rng.standard_normal(50))
    calm = list(30 + 0.3 * rng.standard_normal(50))
    wild = list(30 + 9 * rng.standard_normal(50))

    narrow, wide = interval(calm, base), interval(wild, base)

    assert narrow[0] < 3 < narrow[1]
    assert narrow[1] - narrow[0] < 0.2 < wide[1] - wide[0]
    assert interval(calm, base) == narrow  # the seed is fixed


def test_a_single_call_has_a_ratio_but_no_interval():
    found = ratio(timing("slow", [3000.0]), timing("fast", [3.0, 3.0]))

    assert (found.wall, found.wall_low, found.wall_high) == (1000, None, None)


def test_a_bundle_is_timed_and_what_cannot_be_is_told(toy_bundle, monkeypatch):
    monkeypatch.setattr("edgekit.runtime.sessions.sys.platform", "linux")
    clock = FakeClock()
    teacher = clock.candidate("teacher", [5], calls=2, facts={"kind": "baseline"})

    result = bench_bundle(toy_bundle, calls=12, warmup=1, baselines=[teacher])

    assert json.loads(json.dumps(result))["name"] == "toy"
    names = ["onnx/toy.fp32.onnx", "android/toy.fp32.tflite", "teacher"]
    assert [row["name"] for row in result["rows"]] == names
    assert [len(row["wall_ms"]) for row in result["rows"]] == [12, 12, 2]
    assert [row.get("max_abs") for row in result["rows"]] == [0.0, 0.0, None]
    assert [row["path"] for row in result["skipped"]] == ["ios/toy.fp16.mlpackage"]
    assert result["fastest"] in names[:2]
    assert all(name in shown(result) for name in (*names, "not timed"))


def test_only_the_wanted_target_is_timed(toy_bundle):
    result = bench_bundle(toy_bundle, target="onnx", calls=2, warmup=0)

    assert [row["name"] for row in result["rows"]] == ["onnx/toy.fp32.onnx"]


def test_a_target_that_is_not_in_the_bundle_names_those_that_are(toy_bundle):
    with pytest.raises(EdgekitError, match="android, ios, onnx"):
        bench_bundle(toy_bundle, target="andriod")


def test_a_bundle_with_nothing_to_time_says_why(toy_bundle, monkeypatch):
    monkeypatch.setattr("edgekit.runtime.sessions.sys.platform", "linux")

    with pytest.raises(BadInput, match="macOS only"):
        bench_bundle(toy_bundle, target="ios")


def test_a_speedup_bar_passes_or_ends_with_6():
    result = {
        "fastest": "a",
        "threads": 1,
        "ratios": [{"of": "teacher", "wall": 90.0, "cpu": 42.0}],
    }

    assert "42.0 times as fast as teacher" in check_speedups(result, {"teacher": 30})[0]
    with pytest.raises(QualityFailed, match="less than 50") as caught:
        check_speedups(result, {"teacher": 50})
    assert caught.value.exit_code == 6


def test_with_one_thread_the_smaller_ratio_is_claimed():
    found = {"wall": 90.0, "cpu": 42.0}

    assert cautious(found, threads=1) == 42
    assert cautious(found, threads=4) == 90


def test_the_host_is_described():
    facts = host_facts()

    assert facts["cpu"]
    assert facts["cores"] >= facts["usable_cores"] >= 1
    assert "onnxruntime" in facts["versions"]
