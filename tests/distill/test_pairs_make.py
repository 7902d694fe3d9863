"""Pairs are made, split, killed and continued with the same bytes, or refused with a reason."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.core.errors import BadInput, EdgekitError, OutputError, QualityFailed
from edgekit.core.store import MANIFEST, file_sha256
from edgekit.distill.pairs.jobs import pair_seed
from edgekit.distill.pairs.make import make_pairs
from edgekit.distill.pairs.settings import PairSettings
from edgekit.distill.pairs.store import PairEntry, PairSet, open_pairs

ROOT = Path(__file__).parents[2]


class Dusk:
    """A teacher without weights: darker, bluer, with noise from the seed of each photo."""

    identity = "dusk@0"

    def __init__(self, wait_s: float = 0.0) -> None:
        self.wait_s, self.calls = wait_s, 0

    def edit(self, images, prompt, *, seed):
        self.calls += 1
        time.sleep(self.wait_s)
        tint = np.array([0.4, 0.5, 0.9]) if "night" in prompt else np.array([1.0, 0.7, 0.4])
        noise = np.stack(
            [
                np.random.default_rng(one).normal(0, 3, image.shape)
                for one, image in zip(seed, images, strict=True)
            ]
        )
        return np.clip(images * tint + noise, 0, 255).astype(np.uint8)


class Wrong:
    """A teacher whose edits are of no use."""

    identity = "wrong@0"

    def __init__(self, edit) -> None:
        self._edit = edit

    def edit(self, images, prompt, *, seed):
        return self._edit(images)


SETTINGS = PairSettings(prompt="make it night", count=20, size_px=64, shard_pairs=4)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> PairSet:
    """A folder that no test may change."""
    return make_pairs(SETTINGS, Dusk(), tmp_path_factory.mktemp("pairs") / "night")


def hashes(folder: Path) -> dict[str, str]:
    names = ["manifest.json", "index.jsonl", "recipe.json"]
    return {
        file.name: file_sha256(file)
        for file in [*sorted(folder.glob("*.tar")), *(folder / name for name in names)]
    }


def boxes(entries: tuple[PairEntry, ...], photo: str) -> list[tuple[int, int, int]]:
    return [entry.box for entry in entries if entry.photo == photo]


def test_pairs_hold_what_the_manifest_and_the_index_say(made):
    everything = sorted([*made.entries, *made.rejected], key=lambda entry: entry.key)

    sources, edits = made.load(made.entries)

    assert [entry.key for entry in everything] == [f"{i:06d}" for i in range(20)]
    assert sources.shape == edits.shape == (len(made.entries), 64, 64, 3)
    assert len(made.entries) >= 16
    assert made.manifest["pairs"] == len(made.entries)
    assert made.manifest["train"] == len(made.split("train")) > 0
    assert made.manifest["heldout"] == len(made.split("heldout")) > 0
    assert [shard["path"] for shard in made.manifest["shards"]] == sorted(
        file.name for file in made.folder.glob("*.tar")
    )
    assert made.manifest["skipped"] == []
    assert "CC BY 2.0" in made.manifest["licences"]["photos"]


def test_entries_can_be_loaded_in_any_order(made):
    backward = made.entries[::-1]

    sources, _ = made.load(backward)

    np.testing.assert_array_equal(sources[::-1], made.load(made.entries)[0])


def test_an_edit_is_the_teachers_own_for_that_seed(made):
    entry = made.split("heldout")[0]
    source, edit = made.load([entry])

    again = Dusk().edit(source, entry.prompt, seed=[entry.seed])

    np.testing.assert_array_equal(edit, again)


def test_heldout_regions_are_never_trained_on(made):
    for photo in made.manifest["photos"]:
        for one, two in itertools.product(
            boxes(made.split("train"), photo), boxes(made.split("heldout"), photo)
        ):
            apart = any(
                a + one[2] <= b or b + two[2] <= a for a, b in zip(one[:2], two[:2], strict=True)
            )
            assert apart, f"{photo}: {one} and {two} overlap"

    assert made.manifest["split_by"] == "region"


def test_training_sources_are_varied_and_heldout_ones_are_not(made):
    varied = {entry.variation for entry in made.split("train")} - {None}

    assert varied <= {"make it autumn", "make it sunset", "make it foggy"}
    assert varied
    assert {entry.variation for entry in made.split("heldout")} == {None}


def test_a_finished_folder_is_opened_without_calling_the_teacher(made):
    teacher = Dusk()

    again = make_pairs(SETTINGS, teacher, made.folder)

    assert teacher.calls == 0
    assert again.entries == made.entries


def test_killed_at_any_moment_a_run_ends_with_the_same_bytes(made, tmp_path):
    out = tmp_path / "killed"
    script = (
        "import sys; from pathlib import Path; from importlib import util\n"
        "spec = util.spec_from_file_location('made', sys.argv[1])\n"
        "tests = util.module_from_spec(spec); spec.loader.exec_module(tests)\n"
        "tests.make_pairs(tests.SETTINGS, tests.Dusk(wait_s=0.15), Path(sys.argv[2]))\n"
    )
    roots = ("core", "distill", "assets")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in roots)}
    process = subprocess.Popen(
        [sys.executable, "-c", script, __file__, str(out)], env=environment, cwd=tmp_path
    )
    while len(list(out.glob("pairs-*.tar"))) < 2:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = sorted(file.name for file in out.glob("pairs-*.tar"))
    (out / ".pairs-000004.tar.half").write_bytes(b"what a kill in the middle of a write leaves")

    assert process.returncode == -signal.SIGKILL
    assert 2 <= len(left) < 5
    assert not (out / MANIFEST).exists()

    teacher = Dusk()
    make_pairs(SETTINGS, teacher, out)

    assert 0 < teacher.calls < 5 * 4
    assert hashes(out) == hashes(made.folder)


@pytest.mark.parametrize("damage", ["lost", "cut", "other bytes"])
def test_a_damaged_shard_is_made_again(made, tmp_path, damage):
    import shutil

    out = shutil.copytree(made.folder, tmp_path / "copy")
    shard = out / "pairs-000001.tar"
    data = shard.read_bytes()
    shard.unlink()
    if damage == "cut":
        shard.write_bytes(data[: len(data) // 2])
    elif damage == "other bytes":
        place = data.index(b"IDAT") + 40
        shard.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    teacher = Dusk()

    make_pairs(SETTINGS, teacher, out)

    assert teacher.calls >= 1
    assert hashes(out) == hashes(made.folder)


def test_a_shard_can_be_read_by_anyone_with_tar_and_holds_no_time_or_user(made):
    with tarfile.open(made.folder / "pairs-000000.tar") as archive:
        members = archive.getmembers()

    assert [member.name for member in members[:3]] == [
        "000000.edit.png",
        "000000.json",
        "000000.source.png",
    ]
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in members} == {(0, 0, 0, "edgekit")}


def test_webdataset_reads_the_shards_by_itself(made):
    import webdataset

    urls = [str(file) for file in sorted(made.folder.glob("*.tar"))]

    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))

    assert len(found) == 20
    assert found[0]["source.png"].shape == (64, 64, 3)
    assert found[0]["json"]["prompt"] == "make it night"


@pytest.mark.parametrize(
    ("change", "word"),
    [({"seed": 1}, "seed"), ({"prompt": "sunset"}, "prompt"), ({"count": 24}, "count")],
)
def test_other_settings_do_not_overwrite_a_folder(made, change, word):
    before = hashes(made.folder)

    with pytest.raises(EdgekitError, match=f"made with another .*{word}"):
        make_pairs(replace(SETTINGS, **change), Dusk(), made.folder)

    assert hashes(made.folder) == before


def test_a_refused_prompt_leaves_the_folder_free_for_the_right_one(tmp_path):
    def refuse(images):
        raise BadInput("unknown", hint="known")

    with pytest.raises(BadInput):
        make_pairs(replace(SETTINGS, prompt="nihgt"), Wrong(refuse), tmp_path)

    assert make_pairs(replace(SETTINGS, count=4), Dusk(), tmp_path).entries


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda images: images, "changed almost nothing"),
        (lambda images: np.zeros_like(images), "blank"),
        (lambda images: np.roll(images, 6, axis=1) // 2, "displaced"),
        (
            lambda images: np.random.default_rng(0).integers(0, 256, images.shape, np.uint8),
            "lost the photo",
        ),
    ],
)
def test_edits_of_no_use_end_in_a_reason_and_an_exit_code(tmp_path, edit, reason):
    with pytest.raises(QualityFailed, match=reason) as caught:
        make_pairs(replace(SETTINGS, variation=0.0), Wrong(edit), tmp_path)

    assert "pairs inspect" in caught.value.hint
    assert open_pairs(tmp_path).manifest["rejected"] > 16


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("in the way")

    with pytest.raises(OutputError, match="cannot be written"):
        make_pairs(SETTINGS, Dusk(), tmp_path / "out")


def test_a_full_disk_is_one_sentence_and_loses_no_finished_shard(made, tmp_path, monkeypatch):
    import errno

    from edgekit.core import store

    real, written = os.fsync, []

    def fsync(handle: int) -> None:
        written.append(handle)
        if len(written) == 4:  # the recipe and two shards fit
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(store.os, "fsync", fsync)

    with pytest.raises(OutputError, match="disk is full"):
        make_pairs(SETTINGS, Dusk(), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("pairs-*.tar"))) == 2
    make_pairs(SETTINGS, Dusk(), tmp_path / "out")
    assert hashes(tmp_path / "out") == hashes(made.folder)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"count": 1}, "count = 1"),
        ({"size_px": 100}, "size = 100"),
        ({"size_px": 16}, "size = 16"),
        ({"seed": -1}, "seed = -1"),
        ({"heldout": 0.0}, "heldout = 0.0"),
        ({"heldout": float("nan")}, "heldout = nan"),
        ({"variation": 1.5}, "variation = 1.5"),
        ({"shard_pairs": 0}, "shard_pairs = 0"),
    ],
)
def test_settings_are_checked_at_once(change, what):
    with pytest.raises(EdgekitError, match=what):
        replace(SETTINGS, **change)


def test_seeds_of_pairs_share_nothing():
    seeds = {pair_seed(seed, index) for seed in range(20) for index in range(200)}

    assert len(seeds) == 20 * 200


def test_an_unfinished_folder_is_not_opened(tmp_path):
    with pytest.raises(BadInput, match="not a finished pairs"):
        open_pairs(tmp_path)


def test_a_damaged_index_is_one_sentence(made, tmp_path):
    import shutil

    copy = shutil.copytree(made.folder, tmp_path / "copy")
    (copy / "index.jsonl").write_text(json.dumps({"key": "000000"}))

    with pytest.raises(BadInput, match=r"index\.jsonl cannot be read"):
        open_pairs(copy)
