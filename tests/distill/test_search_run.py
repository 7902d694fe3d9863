"""A search that trains: exact bytes, validation pairs only, killed, continued, into a student."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.students import smooth_photos, tiny_base, tiny_context, tiny_generator
from torch import nn

import edgekit.distill.distill as step
from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.images import save_photo
from edgekit.core.store import size_bytes
from edgekit.distill.distill import distill
from edgekit.distill.fit_state import FitData, FitSettings
from edgekit.distill.lora import Adapter, attach, factors, read_adapter, save_adapter
from edgekit.distill.metrics import as_tensor
from edgekit.distill.pairs.make import make_pairs
from edgekit.distill.pairs.settings import PairSettings
from edgekit.distill.pairs.store import open_pairs
from edgekit.distill.ranks import GROUPS, as_ranks
from edgekit.distill.recipe import Recipe, read_recipe
from edgekit.distill.search.judge import distance, judge_of, scored, split
from edgekit.distill.search.run import search_ranks, trial_settings
from edgekit.distill.search.settings import SearchSettings
from edgekit.distill.search.sizes import file_sizes

ROOT = Path(__file__).parents[2]
PHOTOS = smooth_photos(12, 32)
DATA = FitData(PHOTOS[:8], 255 - PHOTOS[:8], PHOTOS[8:], 255 - PHOTOS[8:])
SETTINGS = FitSettings(
    steps=4, batch=4, lr=5e-3, perceptual=0.0, check_every=2, checkpoint_s=0.0, half=False
)
SEARCH = SearchSettings(trials=4, budget_kb=20.0, budget_s=1000.0)
NAMES = {"prompt": "make it negative", "base_sha256": "b" * 64}
RECIPE = Recipe(concept="make it night", size_px=64, steps=4, batch=4, perceptual=0.0, pairs=24)


class Killed(Exception):
    pass


@dataclass(frozen=True)
class Dimmer:
    """A teacher of one edit: everything gets darker and bluer."""

    identity: str = "dimmer@000000000000"

    def edit(self, images, prompt, *, seed):
        return (images * np.array([0.3, 0.4, 0.6])).astype(np.uint8)


def searched(folder, search=SEARCH, **options):
    return search_ranks(
        tiny_generator(),
        DATA,
        SETTINGS,
        search,
        folder=folder,
        context=tiny_context(),
        **NAMES,
        **options,
    )


def rows(result):
    return [(t.number, t.ranks, t.bytes, t.state, t.distance, t.curve) for t in result.trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, searched(folder)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for number, photo in enumerate(smooth_photos(24, 96)):
        save_photo(photo, folder / "photos" / f"{number:02d}.png")
    settings = PairSettings(
        prompt="make it night", photos=folder / "photos", count=24, size_px=64, heldout=0.3
    )
    make_pairs(settings, Dimmer(), folder / "pairs")
    return folder / "pairs"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("rank", [1, 3, 16, {"ds": 4}, {"down": 1, "transformer": 7, "up": 2}])
def test_the_bytes_of_an_adapter_are_known_before_it_is_trained(rank, tmp_path):
    sizes = file_sizes(tiny_generator(), **NAMES)
    network = attach(tiny_generator(), rank=rank, seed=0)
    adapter = Adapter(factors(network), as_ranks(rank), NAMES["prompt"], NAMES["base_sha256"])

    assert sizes(as_ranks(rank)) == save_adapter(tmp_path / "a.safetensors", adapter)


def test_a_search_leaves_its_table_and_no_checkpoint(whole):
    folder, result = whole
    found = json.loads((folder / "search.json").read_text())

    assert found["best"] == result.best.number
    assert found["stopped"] == result.stopped == "trials"
    assert len(found["trials"]) == len(result.trials) == 4
    assert found["seconds"] == pytest.approx(result.seconds, abs=0.01)
    assert result.seconds >= sum(trial.seconds for trial in result.trials) > 0
    assert found["untouched"]["frechet"] > 0
    assert found["validation_pairs"] == 4
    assert not list((folder / "search" / "trials").iterdir())


@pytest.mark.parametrize("at", [1, 5])
def test_a_search_killed_in_a_training_continues_with_the_same_numbers(whole, at, tmp_path):
    calls = iter(range(1000))

    def report(label, done, total, note=""):
        if label == "search" and note and next(calls) == at:
            raise Killed

    with pytest.raises(Killed):
        searched(tmp_path, report=report)

    assert rows(searched(tmp_path)) == rows(whole[1])


KILLED = """
import sys
from pathlib import Path
from tests.distill import test_search_run as here
here.searched(Path(sys.argv[1]))
"""


def test_a_search_killed_for_good_continues_with_the_same_numbers(whole, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT)
    while process.poll() is None and not (tmp_path / "search" / "trials" / "0001").is_dir():
        time.sleep(0.02)
    process.kill()
    process.wait()
    begun = json.loads((tmp_path / "search.json").read_text())

    again = searched(tmp_path)

    assert len(begun["trials"]) < 4
    for one, two in zip(again.trials, whole[1].trials, strict=True):
        assert (one.number, one.ranks, one.bytes, one.state) == (
            two.number,
            two.ranks,
            two.bytes,
            two.state,
        )
        # Another process may round otherwise: packages loaded before change the processor's mode.
        assert one.distance == pytest.approx(two.distance, rel=1e-3)


def test_a_finished_search_is_not_made_again(whole):
    folder, result = whole
    noted = []

    again = searched(folder, report=lambda *said: noted.append(said[3]))

    assert rows(again) == rows(result)
    assert not any(note.startswith("trial ") for note in noted)


def test_a_smaller_limit_ends_a_search_with_its_best(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    noted = []

    result = searched(
        tmp_path / "run",
        SearchSettings(budget_kb=20.0, budget_s=0.01),
        report=lambda *said: noted.append(said[3]),
    )

    assert (result.best, result.stopped) == (whole[1].best, "budget")
    assert not any(note.startswith("trial ") for note in noted)


def test_other_ranks_to_choose_from_are_another_search(whole, tmp_path):
    searched(tmp_path, SearchSettings(trials=1, budget_kb=20.0))

    other = searched(tmp_path, SearchSettings(trials=1, budget_kb=20.0, choices=(0, 1)))

    assert [trial.ranks for trial in other.trials] == [as_ranks(1)]


@pytest.mark.parametrize("mode", ["tpe", "greedy"])
def test_the_first_trial_ends_even_if_the_time_is_over(mode, tmp_path):
    result = searched(tmp_path, SearchSettings(mode=mode, budget_s=0.01))

    assert [trial.state for trial in result.trials] == ["complete"]
    assert result.stopped == "budget"


def test_a_trial_cut_off_by_the_clock_goes_on_when_there_is_more_time(tmp_path, monkeypatch):
    first = searched(tmp_path, SearchSettings(trials=1))
    # Let a second trial begin although hardly any time is left.
    monkeypatch.setattr("edgekit.distill.search.run.statistics.median", lambda seconds: -1e9)
    cut = searched(tmp_path, SearchSettings(trials=2, budget_s=first.seconds + 0.01))

    more = searched(tmp_path, SearchSettings(trials=2))

    assert [trial.state for trial in cut.trials] == ["complete", "stopped"]
    assert cut.best == first.best
    assert [trial.state for trial in more.trials] == ["complete", "complete"]
    assert more.trials[1].curve[: len(cut.trials[1].curve)] == cut.trials[1].curve


def test_a_trial_trains_a_quarter_as_long_and_is_looked_at_five_times():
    usual = FitSettings(steps=200, batch=8, lr=1e-3, minutes=2.8)

    trial = trial_settings(usual, SearchSettings())

    assert (trial.steps, trial.check_every, trial.minutes) == (50, 10, float("inf"))
    assert trial_settings(usual, SearchSettings(steps=30)).steps == 30


class Answer(nn.Module):
    """A network that knows the edits by heart, or leaves every picture as it is."""

    def __init__(self, edits=None) -> None:
        super().__init__()
        self.edits, self.start = edits, 0

    def painted(self, image, context):
        if self.edits is None:
            return image
        made = as_tensor(self.edits[self.start : self.start + len(image)])
        self.start += len(image)
        return made


def test_the_teacher_scores_zero_and_the_untouched_source_one():
    judge = judge_of(DATA, context=None)

    assert distance(judge, scored(judge, Answer(DATA.val_edits))) == pytest.approx(0, abs=1e-3)
    assert distance(judge, scored(judge, Answer())) == pytest.approx(1)


def test_both_scores_count_alike():
    judge = judge_of(DATA, context=None)
    worse = {
        name: type(judge.untouched)(**{**vars_of(judge.untouched), name: value})
        for name, value in (
            ("frechet", judge.untouched.frechet * 4),
            ("perceptual", judge.untouched.perceptual * 4),
        )
    }

    assert distance(judge, worse["frechet"]) == pytest.approx(2)
    assert distance(judge, worse["perceptual"]) == pytest.approx(2)


def vars_of(scores):
    return {name: getattr(scores, name) for name in type(scores).__slots__}


def test_edits_that_are_the_sources_cannot_be_searched_on():
    same = FitData(PHOTOS[:8], PHOTOS[:8], PHOTOS[8:], PHOTOS[8:])

    with pytest.raises(BadInput, match="edits are the sources"):
        judge_of(same, context=None)


def test_too_few_validation_pairs_are_refused():
    few = FitData(DATA.sources, DATA.edits, DATA.val_sources[:3], DATA.val_edits[:3])

    with pytest.raises(BadInput, match="3 validation pairs are too few"):
        judge_of(few, context=None)


@pytest.mark.parametrize(("count", "share", "chosen"), [(40, 0.25, 10), (8, 0.25, 4), (9, 0.9, 4)])
def test_a_split_uses_every_pair_once(count, share, chosen):
    photos = np.arange(count * 3, dtype=np.uint8).reshape(count, 1, 1, 3)

    data = split(photos, 255 - photos, share)

    assert len(data.val_sources) == chosen
    together = np.concatenate([data.sources, data.val_sources])
    assert sorted(together[:, 0, 0, 0]) == list(photos[:, 0, 0, 0])
    assert np.array_equal(data.val_edits, 255 - data.val_sources)


@pytest.mark.parametrize("mode", ["tpe", "greedy"])
def test_the_ranks_found_are_trained_and_shipped(mode, pairs, base, tmp_path):
    search = SearchSettings(mode=mode, trials=2, budget_kb=18.0, budget_s=1000.0)

    manifest = distill(RECIPE, tmp_path, pairs=pairs, base=base, search=search)

    found, table = manifest["search"], json.loads((tmp_path / "search.json").read_text())
    adapter = read_adapter(tmp_path / "adapter.safetensors")
    assert dict(adapter.ranks) == found["ranks"] == manifest["adapter"]["ranks"]
    assert size_bytes(tmp_path / "adapter.safetensors") == found["bytes"] <= 18000
    assert read_recipe(tmp_path / "recipe.toml").adapter_ranks == found["ranks"]
    best = next(row for row in table["trials"] if row["number"] == table["best"])
    assert (best["ranks"], best["bytes"]) == (found["ranks"], found["bytes"])
    assert (found["mode"], found["trials"]) == (mode, 2)
    assert found["seconds"] > 0 < manifest["seconds"]
    assert "search.json" in manifest["files"]


def test_no_held_out_pair_is_seen_by_a_search(pairs, base, tmp_path, monkeypatch):
    seen = []

    def spy(generator, data, *given, **options):
        seen.append(data)
        return search_ranks(generator, data, *given, **options)

    monkeypatch.setattr(step, "search_ranks", spy)
    search = SearchSettings(trials=1, budget_kb=15.0, budget_s=1000.0)
    distill(RECIPE, tmp_path, pairs=pairs, base=base, search=search)
    found = open_pairs(pairs)
    held = {photo.tobytes() for photo in np.concatenate(found.load(found.split("heldout")))}
    training = {photo.tobytes() for photo in found.load(found.split("train"))[0]}
    data = seen[0]

    shown = np.concatenate([data.sources, data.edits, data.val_sources, data.val_edits])

    assert not held & {photo.tobytes() for photo in shown}
    both = np.concatenate([data.sources, data.val_sources])
    assert {photo.tobytes() for photo in both} == training


@pytest.mark.parametrize(
    ("changes", "search", "says"),
    [
        ({"init": "scratch", "width": 16}, {}, "no adapter whose ranks could be searched"),
        ({}, {"budget_kb": 0.5}, "the smallest adapter"),
        ({}, {"budget_kb": 4.0, "mode": "greedy"}, "starts at rank 1 everywhere"),
    ],
)
def test_a_search_that_cannot_work_is_refused_before_any_work(
    changes, search, says, pairs, base, tmp_path
):
    recipe = Recipe(concept="make it night", size_px=64, steps=4, **changes)

    with pytest.raises(EdgekitError, match=says):
        distill(recipe, tmp_path / "x", pairs=pairs, base=base, search=SearchSettings(**search))

    assert not (tmp_path / "x").exists()


def test_every_group_has_layers_to_adapt():
    assert set(tiny_generator().adapter_groups.values()) == set(GROUPS)
    assert torch.is_tensor(tiny_context())
