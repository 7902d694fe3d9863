"""From pairs to a student folder: complete, repeatable, honest about what it cannot use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.students import smooth_photos, tiny_base

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.images import save_photo
from edgekit.core.samples import read_feeds
from edgekit.core.seams import Port
from edgekit.core.store import file_sha256, size_bytes
from edgekit.distill.base import load_base
from edgekit.distill.distill import distill
from edgekit.distill.lora import attach_adapter, merged, read_adapter
from edgekit.distill.pairs.make import make_pairs
from edgekit.distill.pairs.settings import PairSettings
from edgekit.distill.pairs.store import open_pairs
from edgekit.distill.ranks import as_ranks
from edgekit.distill.recipe import Recipe
from edgekit.distill.students.gan import specialized
from edgekit.distill.students.text_context import TOKENS, text_context

RECIPE = Recipe(
    concept="make it night",
    size_px=64,
    steps=6,
    batch=4,
    perceptual=0.0,
    minutes=5,
    rank=2,
    pairs=24,
)


@dataclass(frozen=True)
class Dimmer:
    """A teacher of one edit: everything gets darker and bluer."""

    identity: str = "dimmer@000000000000"

    def edit(self, images, prompt, *, seed):
        return (images * np.array([0.3, 0.4, 0.6])).astype(np.uint8)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for number, photo in enumerate(smooth_photos(24, 96)):
        save_photo(photo, folder / "photos" / f"{number:02d}.png")
    settings = PairSettings(
        prompt="make it night", photos=folder / "photos", count=24, size_px=64, heldout=0.4
    )
    make_pairs(settings, Dimmer(), folder / "pairs")
    return folder / "pairs"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def run(pairs, base, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "night"
    distill(RECIPE, out, pairs=pairs, base=base)
    return out


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_the_folder_holds_everything_that_its_manifest_lists(run):
    manifest = manifest_of(run)

    for name, facts in manifest["files"].items():
        assert size_bytes(run / name) == facts["bytes"]
        assert file_sha256(run / name) == facts["sha256"]
    assert {
        "student.pt2",
        "weights.safetensors",
        "adapter.safetensors",
        "calibration.npz",
        "heldout.npz",
        "recipe.toml",
        "log.jsonl",
        "preview.png",
    } == manifest["files"].keys()


def test_the_manifest_says_what_the_student_is_and_how_it_came_about(run, pairs, base):
    manifest = manifest_of(run)

    assert (manifest["kind"], manifest["name"]) == ("student", "make-it-night")
    assert manifest["teacher"] == open_pairs(pairs).manifest["teacher"]
    assert manifest["base_sha256"] == load_base(base).sha256
    assert manifest["adapter"]["bytes"] == size_bytes(run / "adapter.safetensors")
    assert manifest["adapter"]["ranks"] == as_ranks(2)
    assert manifest["quality"]["source"]["l1"] > 0.1
    assert manifest["losses"]["stopped"] == "steps"
    assert manifest["host"]["cores"] == os.cpu_count()


def test_the_saved_program_computes_the_base_with_the_stored_adapter(run, base):
    feeds = read_feeds(run / "heldout.npz", [Port("image", (1, 3, 64, 64))])
    image = torch.from_numpy(feeds[0]["image"])
    loaded = load_base(base)
    adapter = read_adapter(run / "adapter.safetensors")
    network = attach_adapter(loaded.generator, adapter, base_sha256=loaded.sha256)
    student = specialized(merged(network), text_context("make it night"), size_px=64)

    made = torch.export.load(run / "student.pt2").module()(image)

    assert (made - student(image)).abs().max() <= 1e-4


def test_the_merged_weights_are_the_programs_weights(run):
    program = torch.export.load(run / "student.pt2")

    stored = load_file(run / "weights.safetensors")

    inside = dict(program.state_dict)
    assert all(torch.equal(stored[name], inside[name]) for name in stored)


def test_no_held_out_photo_was_trained_on(run, pairs):
    found = open_pairs(pairs)
    with np.load(run / "heldout.npz") as held:
        assert len(held["image"]) == len(found.split("heldout")) >= 8
    training = {entry.photo for entry in found.split("train")}

    assert not training & {entry.photo for entry in found.split("heldout")}


def test_the_same_command_again_does_nothing(run, pairs, base):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}

    distill(RECIPE, run, pairs=pairs, base=base)

    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert after == before


def test_another_recipe_does_not_overwrite_a_student(run, pairs, base):
    with pytest.raises(EdgekitError, match="made otherwise"):
        distill(replace(RECIPE, steps=7), run, pairs=pairs, base=base)


def test_a_deleted_file_is_made_again_from_the_checkpoint(run, pairs, base, tmp_path):
    (run / "manifest.json").unlink()
    sha256 = file_sha256(run / "weights.safetensors")
    (run / "weights.safetensors").unlink()

    distill(RECIPE, run, pairs=pairs, base=base)

    assert file_sha256(run / "weights.safetensors") == sha256


@pytest.mark.parametrize("arch", ["edgekit", "resnet9"])
def test_a_student_from_scratch_has_no_adapter(pairs, tmp_path, arch):
    recipe = replace(RECIPE, init="scratch", arch=arch, width=16, steps=2, lr=1e-3)

    manifest = distill(recipe, tmp_path, pairs=pairs)

    assert manifest["adapter"] is None
    assert manifest["base_sha256"] is None
    assert not (tmp_path / "adapter.safetensors").exists()
    assert torch.export.load(tmp_path / "student.pt2").module()(
        torch.zeros(1, 3, 64, 64)
    ).shape == (1, 3, 64, 64)


def test_pairs_of_another_concept_are_refused_before_any_work(pairs, base, tmp_path):
    other = replace(RECIPE, concept="make it foggy", name="")

    with pytest.raises(BadInput, match="holds pairs for 'make it night'"):
        distill(other, tmp_path / "run", pairs=pairs, base=base)

    assert not (tmp_path / "run").exists()


def test_pairs_that_are_too_small_are_refused(pairs, base, tmp_path):
    with pytest.raises(BadInput, match="pairs of 64 pixels"):
        distill(replace(RECIPE, size_px=128), tmp_path / "run", pairs=pairs, base=base)


def test_a_concept_that_the_teacher_does_not_know_is_refused_before_any_work(tmp_path):
    with pytest.raises(BadInput, match="does not know 'make it a llama'"):
        distill(replace(RECIPE, concept="make it a llama", name=""), tmp_path / "run")

    assert not (tmp_path / "run").exists()


def test_a_missing_folder_of_photos_is_refused_before_any_work(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        distill(RECIPE, tmp_path / "run", photos=tmp_path / "none")

    assert not (tmp_path / "run").exists()


def test_words_become_a_context_of_fixed_size_that_differs_by_meaning():
    night, fog = text_context("make it night"), text_context("make it foggy")

    assert night.shape == (TOKENS, 128)
    assert torch.equal(night, text_context("make it night"))
    assert not torch.allclose(night, fog)


@pytest.mark.slow
def test_a_run_that_was_killed_for_good_ends_as_if_nothing_had_happened(pairs, base, tmp_path):
    recipe = replace(RECIPE, steps=80)
    recipe.write(tmp_path / "recipe.toml")
    code = (
        "import sys; from pathlib import Path; import edgekit.distill.fit_gan as f; "
        "from dataclasses import replace; import edgekit.distill.distill as d; "
        "from edgekit.distill.recipe import read_recipe; plain = d._settings; "
        "d._settings = lambda r: replace(plain(r), checkpoint_s=0.0, check_every=5); "
        "d.distill(read_recipe(Path(sys.argv[1])), Path(sys.argv[2]), "
        "pairs=Path(sys.argv[3]), base=Path(sys.argv[4]))"
    )
    out = tmp_path / "run"
    command = [sys.executable, "-c", code, *map(str, (tmp_path / "recipe.toml", out, pairs, base))]
    process = subprocess.Popen(command)
    for _ in range(1200):
        if (out / "checkpoint" / "state.pt").is_file() or process.poll() is not None:
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.json").exists()

    subprocess.run(command, check=True)
    whole = Path(command[-3]).with_name("whole")
    subprocess.run([*command[:4], str(whole), *command[5:]], check=True)

    first, second = (load_file(folder / "weights.safetensors") for folder in (out, whole))
    assert all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)
