"""How ranks are searched: what is proposed, pruned, resumed and chosen, without any training.

The trainings are a formula here, so that a case takes milliseconds; `test_search_run.py` trains.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from edgekit.core.errors import EdgekitError
from edgekit.distill.ranks import GROUPS, as_ranks
from edgekit.distill.search.candidates import Candidates
from edgekit.distill.search.greedy import search_greedy
from edgekit.distill.search.settings import SearchSettings, seconds_of
from edgekit.distill.search.tpe import JOURNAL, search_tpe
from edgekit.distill.search.trials import (
    Table,
    Trial,
    best_trial,
    front,
    opened_table,
    trial_from,
)

STEPS = 6
WORTH = {"down": 0.01, "ds": 0.05, "transformer": 0.02, "us": 0.3, "up": 0.1}


class Killed(Exception):
    pass


def size(ranks):
    """Bytes of a made-up file: groups cost differently, and a header."""
    full = as_ranks(ranks)
    return 500 + sum(full[group] * 1000 * (i + 1) for i, group in enumerate(GROUPS))


def loss(ranks):
    """Falls with every rank, with diminishing returns; ``us`` matters most."""
    return 1 - sum(worth * (1 - 0.5 ** (ranks[group] ** 0.7)) for group, worth in WORTH.items())


@dataclass
class Toy:
    """An `Evaluate` by formula that remembers what it was asked; trial `kill_at` dies early."""

    kill_at: int = -1
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, number, ranks, stop):
        self.asked.append(tuple(ranks[group] for group in GROUPS))
        value, curve = loss(ranks), []
        for step in range(2, STEPS + 1, 2):
            curve.append((step, value + (STEPS - step) / 10))
            enough = step < STEPS and stop(*curve[-1])
            if number == self.kill_at:
                raise Killed
            if enough:
                return self.trial(number, ranks, "pruned", curve)
        return self.trial(number, ranks, "complete", curve)

    def trial(self, number, ranks, state, curve):
        return Trial(
            number=number,
            ranks=dict(ranks),
            bytes=size(ranks),
            state=state,
            distance=curve[-1][1],
            curve=tuple(curve),
            steps=curve[-1][0],
            seconds=1.0,
        )


def table_in(folder: Path) -> Table:
    return opened_table(folder, folder, "same", {}, gain=0.01)


def searched(folder: Path, toy: Toy, **changes):
    settings = SearchSettings(**{"trials": 20, "budget_kb": 60.0, **changes})
    candidates = Candidates(settings.choices, size, settings.budget_kb * 1000)
    table = table_in(folder)

    def over():
        return "trials" if len(table.trials) >= settings.trials else None

    if settings.mode == "greedy":
        reason = search_greedy(toy, candidates, settings, table, over, steps=STEPS)
    else:
        reason = search_tpe(toy, candidates, settings, table, over, folder=folder, steps=STEPS)
    return table, reason


def rows(table):
    return [
        (trial.number, dict(trial.ranks), trial.state, trial.distance) for trial in table.trials
    ]


@pytest.mark.parametrize("mode", ["tpe", "greedy"])
def test_the_same_seed_and_number_of_trials_give_the_same_trials(mode, tmp_path):
    one, _ = searched(tmp_path / "one", Toy(), mode=mode, trials=14)
    two, _ = searched(tmp_path / "two", Toy(), mode=mode, trials=14)

    assert rows(one) == rows(two)


def test_another_seed_proposes_other_ranks(tmp_path):
    one, _ = searched(tmp_path / "one", Toy(), seed=1)
    two, _ = searched(tmp_path / "two", Toy(), seed=2)

    assert rows(one) != rows(two)


@pytest.mark.parametrize("mode", ["tpe", "greedy"])
@pytest.mark.parametrize("kill_at", [0, 3, 6])
def test_a_killed_search_makes_the_trials_of_one_that_was_not(mode, kill_at, tmp_path):
    whole, _ = searched(tmp_path / "whole", Toy(), mode=mode, trials=12)
    with pytest.raises(Killed):
        searched(tmp_path / "broken", Toy(kill_at=kill_at), mode=mode, trials=12)

    again = Toy()
    table, _ = searched(tmp_path / "broken", again, mode=mode, trials=12)

    assert rows(table) == rows(whole)
    assert len(again.asked) == len(whole.trials) - kill_at


def test_a_trial_that_the_study_was_not_told_of_is_not_made_twice(tmp_path, monkeypatch):
    def lost(self, *given, **options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("optuna.Study.tell", lost)
        with pytest.raises(Killed):
            searched(tmp_path, Toy())

    again = Toy()
    table, _ = searched(tmp_path, again, trials=3)

    assert [trial.number for trial in table.trials] == [0, 1, 2]
    assert len(again.asked) == 2


def test_a_half_written_line_and_the_lock_of_a_killed_process_do_no_harm(tmp_path):
    searched(tmp_path, Toy(), trials=5)
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"op_code": 6, "worker')
    (tmp_path / f"{JOURNAL}.lock").touch()

    table, _ = searched(tmp_path, Toy(), trials=8)

    assert [trial.number for trial in table.trials] == list(range(8))
    for line in (tmp_path / JOURNAL).read_text().splitlines():
        json.loads(line)


def test_a_larger_number_of_trials_continues_a_finished_search(tmp_path):
    first, reason = searched(tmp_path, Toy(), trials=6)
    more, _ = searched(tmp_path, Toy(), trials=9)

    assert reason == "trials"
    assert rows(more)[:6] == rows(first)
    assert len(more.trials) == 9


@pytest.mark.parametrize("budget_kb", [8.5, 20.0, 90.0])
def test_no_trial_is_larger_than_the_budget_and_none_is_repeated(budget_kb, tmp_path):
    toy = Toy()
    table, _ = searched(tmp_path, toy, budget_kb=budget_kb, trials=25)

    assert all(trial.bytes <= budget_kb * 1000 for trial in table.trials)
    assert len(set(toy.asked)) == len(toy.asked)


def test_a_budget_that_one_set_of_ranks_fills_exactly_allows_it(tmp_path):
    least = size({"down": 1})

    table, reason = searched(tmp_path, Toy(), budget_kb=least / 1000)

    assert [trial.ranks for trial in table.trials] == [as_ranks({"down": 1})]
    assert reason == "exhausted"


def test_a_budget_below_the_smallest_adapter_says_how_much_to_allow():
    with pytest.raises(EdgekitError, match=r"the smallest adapter .* 1\.5 kB") as caught:
        Candidates((0, 1, 2), size, 1499)

    assert "--budget-kb 2" in caught.value.hint


def test_greedy_says_what_its_start_needs(tmp_path):
    with pytest.raises(EdgekitError, match="starts at rank 1 everywhere") as caught:
        searched(tmp_path, Toy(), mode="greedy", budget_kb=15.0)

    assert "--budget-kb 16" in caught.value.hint
    assert not (tmp_path / "search.json").exists()


def test_uniform_ranks_come_first_the_usual_one_before_all(tmp_path):
    toy = Toy()
    searched(tmp_path, toy, budget_kb=130.0, trials=4)

    assert toy.asked == [(4,) * 5, (2,) * 5, (8,) * 5, (1,) * 5]


def test_unpromising_trials_are_pruned(tmp_path):
    table, _ = searched(tmp_path, Toy(), trials=25)
    pruned = [trial for trial in table.trials if trial.state == "pruned"]

    assert pruned
    assert all(trial.steps < STEPS for trial in pruned)
    medians = sorted(t.distance for t in table.trials if t.state == "complete")
    assert all(trial.distance > medians[0] for trial in pruned)


def test_proposals_find_better_ranks_than_every_uniform_one_of_the_size(tmp_path):
    table, _ = searched(tmp_path, Toy(), trials=30)

    best = best_trial(table.trials, gain=0.01)

    uniform = [t.distance for t in table.trials if len(set(t.ranks.values())) == 1]
    assert best is not None
    assert best.distance < min(uniform)
    assert best.ranks["us"] >= 4


def test_greedy_doubles_all_together_then_what_pays_and_stops_when_nothing_does(tmp_path):
    toy = Toy()
    table, reason = searched(tmp_path, toy, mode="greedy", trials=100, budget_kb=60.0)

    best = best_trial(table.trials, gain=0.01)

    assert reason == "nothing gains"
    assert toy.asked[:2] == [(1,) * 5, (2,) * 5]  # 4 everywhere would have 60.5 kB
    assert best is not None
    assert best.ranks["us"] > best.ranks["down"] == 2
    assert (4, 2, 2, 2, 2) in toy.asked  # tried, and not worth its bytes
    assert len(set(toy.asked)) == len(toy.asked)


def test_greedy_stops_at_the_largest_rank_and_at_the_budget(tmp_path):
    table, reason = searched(
        tmp_path, Toy(), mode="greedy", trials=100, budget_kb=17.0, choices=(1, 2)
    )

    assert reason == "nothing gains"
    assert {trial.bytes for trial in table.trials} == {15500, 16500}


def make(number, kilobytes, distance, state="complete"):
    return Trial(
        number=number, ranks=as_ranks(1), bytes=1000 * kilobytes, state=state, distance=distance
    )


def test_the_best_is_the_smallest_of_those_that_are_as_good():
    trials = [make(0, 90, 0.400), make(1, 40, 0.403), make(2, 20, 0.41), make(3, 5, 0.1, "pruned")]

    assert best_trial(trials, gain=0.01).number == 1
    assert best_trial(trials, gain=0.0).number == 0
    assert best_trial([trials[3]], gain=0.01) is None


def test_the_front_holds_what_nothing_beats():
    trials = [make(0, 90, 0.4), make(1, 40, 0.5), make(2, 60, 0.5), make(3, 95, 0.45)]
    trials += [make(4, 10, 0.9), make(5, 5, 0.2, "stopped")]

    assert [trial.number for trial in front(trials)] == [4, 1, 0]


def test_the_table_is_read_as_it_was_written(tmp_path):
    table, _ = searched(tmp_path, Toy(), trials=5)
    found = json.loads((tmp_path / "search.json").read_text())

    assert [trial_from(row) for row in found["trials"]] == table.trials
    assert found["counts"]["complete"] + found["counts"]["pruned"] == 5
    assert found["best"] == best_trial(table.trials, gain=0.01).number


def test_the_clock_goes_on_where_it_was_stopped(tmp_path):
    now = [100.0]
    options = {"gain": 0.01, "clock": lambda: now[0]}
    table = opened_table(tmp_path, tmp_path, "same", {}, **options)
    now[0] += 7
    table.tick(0)
    now[0] += 1000  # killed, and started again much later

    again = opened_table(tmp_path, tmp_path, "same", {}, **options)
    now[0] += 2

    assert again.tick(0) == 9
    assert again.trial_seconds(0) == 9
    assert opened_table(tmp_path, tmp_path, "other", {}, **options).spent_s == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mode": "gredy"}, "did you mean 'greedy'"),
        ({"budget_s": 0.0}, "budget_s = 0"),
        ({"budget_kb": -1.0}, "budget_kb = -1"),
        ({"trials": -1}, "trials = -1"),
        ({"choices": (4, 2)}, "ascending"),
        ({"choices": (0,)}, "at least two"),
        ({"choices": (1, 128)}, "at most 64"),
        ({"budget_s": math.inf}, "never end"),
        ({"validation": 0.0}, "validation = 0"),
        ({"gain": math.nan}, "gain = nan"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused(changes, says):
    with pytest.raises(EdgekitError, match=says):
        SearchSettings(**changes)


@pytest.mark.parametrize("text", ["", "ten", "10 parsecs", "-5m", "0", "m"])
def test_a_time_that_cannot_be_read_says_how_to_write_one(text):
    with pytest.raises(EdgekitError, match="is not a time") as caught:
        seconds_of(text)

    assert "10m" in caught.value.hint


def test_limits_of_time_and_number_do_not_make_another_search():
    one = SearchSettings(budget_s=60.0, trials=3)

    assert one.identity() == replace(one, budget_s=600.0, trials=0).identity()
    assert one.identity() != replace(one, budget_kb=50.0).identity()
    assert json.dumps(SearchSettings(budget_s=math.inf, trials=1).values())
