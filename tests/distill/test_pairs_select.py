"""Few pairs that stand for many: the same choice for the same seed, held-out pairs untouched."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from tests.students import smooth_photos

from edgekit.core.errors import EdgekitError
from edgekit.core.images import save_photo
from edgekit.core.store import file_sha256
from edgekit.distill.pairs.clusters import METHODS, selected
from edgekit.distill.pairs.make import make_pairs
from edgekit.distill.pairs.select import pair_features, select_pairs
from edgekit.distill.pairs.settings import PairSettings


class Dimmer:
    """A teacher of one edit that counts the pictures it was given."""

    identity = "dimmer@0"

    def __init__(self) -> None:
        self.edited = 0

    def edit(self, images, prompt, *, seed):
        self.edited += len(images)
        return (images * np.array([0.3, 0.4, 0.6])).astype(np.uint8)


def groups(each: int = 12, *, spread: float = 0.05) -> np.ndarray:
    """Rows around four directions."""
    rng = np.random.default_rng(0)
    centers = np.repeat(np.eye(4, 16), each, axis=0)
    return centers + spread * rng.normal(size=centers.shape)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(smooth_photos(24, 72)):
        save_photo(photo, folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def pairs(photos, tmp_path_factory):
    settings = PairSettings(
        prompt="make it night", photos=photos, count=24, size_px=64, heldout=0.3
    )
    return make_pairs(settings, Dimmer(), tmp_path_factory.mktemp("pairs") / "night")


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_chooses_the_same_different_rows(method):
    rows = groups()

    first = selected(rows, 10, method, seed=3)

    assert first.tolist() == selected(rows, 10, method, seed=3).tolist()
    assert len(set(first.tolist())) == 10


@pytest.mark.parametrize("method", ["kmeans", "random"])
def test_another_seed_chooses_other_rows(method):
    rows = np.random.default_rng(0).normal(size=(80, 8))

    choices = {tuple(sorted(selected(rows, 10, method, seed=seed).tolist())) for seed in range(4)}

    assert len(choices) > 1


@pytest.mark.parametrize("method", ["kmeans", "facility"])
def test_four_rows_of_four_groups_are_one_of_each(method):
    rows = groups()

    assert sorted(row // 12 for row in selected(rows, 4, method).tolist()) == [0, 1, 2, 3]


def test_kmeans_takes_the_row_nearest_to_its_center():
    rows = groups()
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    for row in selected(rows, 4).tolist():
        members = units[row // 12 * 12 : row // 12 * 12 + 12]
        gaps = ((members - members.mean(0)) ** 2).sum(1)
        assert row % 12 == int(np.argmin(gaps))


def coverage(units, chosen):
    return (units @ units[list(chosen)].T).max(1).sum()


def test_facility_location_covers_nearly_as_well_as_the_best_choice():
    rows = np.random.default_rng(1).normal(size=(14, 5))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    best = max(coverage(units, some) for some in itertools.combinations(range(14), 3))
    lots = [coverage(units, selected(rows, 3, "random", seed=seed)) for seed in range(20)]

    found = coverage(units, selected(rows, 3, "facility"))

    assert found >= 0.95 * best
    assert found > np.mean(lots)


@pytest.mark.parametrize("whole", [0, 1000])
def test_lazy_choice_is_the_plain_greedy_choice(whole, monkeypatch):
    monkeypatch.setattr("edgekit.distill.pairs.clusters.WHOLE", whole)
    rows = np.random.default_rng(2).normal(size=(40, 6))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similar = (1 + units @ units.T) / 2
    greedy: list[int] = []
    while len(greedy) < 9:
        left = [row for row in range(40) if row not in greedy]
        greedy.append(max(left, key=lambda row: similar[:, [*greedy, row]].max(1).sum()))

    assert selected(rows, 9, "facility").tolist() == greedy


def test_repeated_rows_do_not_leave_the_choice_short():
    rows = np.repeat(np.eye(3), 5, axis=0)

    with pytest.warns(match="distinct clusters"):
        chosen = selected(rows, 6)

    assert len(set(chosen.tolist())) == 6
    assert {row // 5 for row in chosen.tolist()} == {0, 1, 2}


@pytest.mark.parametrize("count", [0, 49])
def test_a_count_that_cannot_be_chosen_is_refused(count):
    with pytest.raises(ValueError, match="count must be from 1 to 48"):
        selected(groups(), count)


def test_a_misspelt_method_names_the_nearest():
    with pytest.raises(EdgekitError, match="did you mean 'kmeans'"):
        selected(groups(), 4, "kmean")


def test_a_selection_is_a_folder_of_pairs_with_every_held_out_one(pairs, tmp_path):
    chosen = select_pairs(pairs.folder, tmp_path / "few", count=6)

    assert len(chosen.split("train")) == chosen.manifest["train"] == 6
    held = [entry.key for entry in pairs.split("heldout")]
    assert [entry.key for entry in chosen.split("heldout")] == held
    for split in ("train", "heldout"):
        entries = chosen.split(split)
        originals = [e for e in pairs.entries if e.key in {entry.key for entry in entries}]
        for mine, theirs in zip(chosen.load(entries), pairs.load(originals), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_the_manifest_says_where_a_selection_comes_from(pairs, tmp_path):
    chosen = select_pairs(pairs.folder, tmp_path / "few", count=5, method="facility", seed=2)

    found = chosen.manifest["selection"]
    assert (found["method"], found["count"], found["seed"]) == ("facility", 5, 2)
    assert found["from"]["recipe_sha256"] == pairs.manifest["recipe_sha256"]
    assert found["from"]["train"] == len(pairs.split("train"))
    assert sorted(found["chosen"]) == [entry.key for entry in chosen.split("train")]
    assert chosen.manifest["licences"] == pairs.manifest["licences"]
    for shard in chosen.manifest["shards"]:
        assert file_sha256(chosen.folder / shard["path"]) == shard["sha256"]


def test_the_same_selection_again_changes_no_file_and_another_is_refused(pairs, tmp_path):
    out = tmp_path / "few"
    select_pairs(pairs.folder, out, count=5)
    before = {file: file.stat().st_mtime_ns for file in out.iterdir() if file.name != ".lock"}

    select_pairs(pairs.folder, out, count=5)

    after = {file: file.stat().st_mtime_ns for file in out.iterdir() if file.name != ".lock"}
    assert after == before
    with pytest.raises(EdgekitError, match="made otherwise"):
        select_pairs(pairs.folder, out, count=6)


def test_the_pairs_themselves_are_never_overwritten(pairs, tmp_path):
    with pytest.raises(EdgekitError, match="itself"):
        select_pairs(pairs.folder, pairs.folder, count=5)
    (tmp_path / "recipe.json").write_text("{}")  # what an unfinished `pairs make` leaves

    with pytest.raises(EdgekitError, match="made otherwise"):
        select_pairs(pairs.folder, tmp_path, count=5)


@pytest.mark.parametrize("count", [3, 25])
def test_a_selection_of_too_few_or_too_many_is_refused_before_any_work(pairs, tmp_path, count):
    with pytest.raises(EdgekitError, match="pairs to train on"):
        select_pairs(pairs.folder, tmp_path / "few", count=count)

    assert not (tmp_path / "few").exists()


def test_edits_can_count_as_much_as_sources(pairs):
    training = pairs.split("train")[:3]

    rows = pair_features(pairs, training, edits=True)

    assert rows.shape == (3, 2560)
    np.testing.assert_allclose(np.linalg.norm(rows[:, :1280], axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(rows[:, 1280:], axis=1), 1)


def test_choosing_before_the_teacher_runs_saves_its_time(photos, tmp_path):
    teacher = Dimmer()
    settings = PairSettings(
        prompt="make it night",
        photos=photos,
        count=10,
        size_px=64,
        heldout=0.3,
        variation=0.0,
        select="kmeans",
        pool=24,
    )

    made = make_pairs(settings, teacher, tmp_path / "few")
    again = make_pairs(settings, Dimmer(), tmp_path / "again")

    assert teacher.edited == 10
    assert made.manifest["selection"]["pool"] == 24
    everything = [*made.entries, *made.rejected]
    assert sum(entry.split == "heldout" for entry in everything) == 3
    assert any(int(entry.key) >= 10 for entry in made.split("train"))
    assert (made.folder / "index.jsonl").read_bytes() == (again.folder / "index.jsonl").read_bytes()
    assert not {e.photo for e in made.split("train")} & {e.photo for e in made.split("heldout")}


def test_held_out_crops_are_the_same_whatever_is_chosen(photos, tmp_path):
    plain = PairSettings(
        prompt="make it night", photos=photos, count=24, size_px=64, heldout=0.3, variation=0.0
    )
    chosen = replace(plain, select="facility", pool=30)

    held = [
        [
            entry.source_sha256
            for entry in make_pairs(s, Dimmer(), tmp_path / s.prompt[:1] / n).split("heldout")
        ]
        for n, s in (("plain", plain), ("chosen", chosen))
    ]

    assert held[0] == held[1]


def test_settings_without_a_choice_hash_as_they_always_did():
    values = PairSettings(prompt="make it night").recipe()

    assert not {"select", "pool"} & values.keys()
    assert json.dumps(values)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"select": "kmean"}, "did you mean 'kmeans'"),
        ({"pool": 500}, "and a --select method"),
        ({"select": "kmeans", "pool": 5}, "choose at least 96"),
    ],
)
def test_a_choice_that_cannot_be_meant_is_refused(changes, says):
    with pytest.raises(EdgekitError, match=says):
        PairSettings(prompt="make it night", **changes)
