"""Teacher folders: described without loading, refused in one sentence, fetched only when asked."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.distill.teachers.folders import card_sampling, check_concept, describe_teacher
from edgekit.distill.teachers.loader import load_teacher

INSTRUCT = "StableDiffusionInstructPix2PixPipeline"
PROMPT = "make it night"


def photos(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 40, 50, 3), np.uint8)


def test_the_identity_follows_the_weights_and_not_the_place(saved, tmp_path):
    here = describe_teacher(saved(INSTRUCT))
    moved = shutil.copytree(saved(INSTRUCT), tmp_path / "elsewhere" / here.name)
    config = moved / "unet" / "config.json"
    changed_copy = shutil.copytree(moved, tmp_path / "changed" / here.name)
    config = changed_copy / "unet" / "config.json"
    config.write_text(config.read_text().replace('"sample_size": 16', '"sample_size": 24'))

    there, changed = describe_teacher(moved), describe_teacher(changed_copy)

    assert there.identity == here.identity
    assert changed.identity != here.identity


def test_description_counts_every_parameter_without_loading(loaded, saved):
    pipeline = loaded(INSTRUCT).pipeline
    networks = (pipeline.unet, pipeline.vae, pipeline.text_encoder)

    found = describe_teacher(saved(INSTRUCT))

    assert found.parameters == sum(p.numel() for n in networks for p in n.parameters())
    assert found.class_name == INSTRUCT
    assert found.concepts == ()


def test_a_card_recommends_steps_guidance_and_sizes(saved, tmp_path):
    folder = shutil.copytree(saved(INSTRUCT), tmp_path / "carded")
    advice = {"steps": 6, "guidance": 1.0, "image_guidance": 1.0, "sizes_px": [16, 32]}
    (folder / "card.json").write_text(json.dumps({"sampling": advice}))

    teacher = load_teacher(folder, device="cpu")
    asked = load_teacher(folder, device="cpu", steps=3)
    pairs = load_teacher(folder, device="cpu", pairs_px=16)

    assert (teacher.sample.steps, teacher.sample.guidance, teacher.smallest_px) == (6, 1.0, 16)
    assert asked.sample.steps == 3
    assert (pairs.smallest_px, pairs.largest_px) == (32, 32)


def test_a_card_without_advice_tells_by_what_it_measured():
    card = {
        "settings": {"resolution": 256},
        "metrics": {
            "protocol": {"steps": 8},
            "mean_psnr_db_by_guidance": {"1.0": 27.4, "1.5": 27.3},
        },
    }

    advice = card_sampling(card)

    assert advice == {
        "steps": 8, "guidance": 1.0, "image_guidance": 1.0, "sizes_px": [128, 256],
    }  # fmt: skip
    assert card_sampling({}) == card_sampling({"metrics": []}) == {}


def test_an_unknown_class_names_the_known_ones(saved, tmp_path):
    folder = shutil.copytree(saved(INSTRUCT), tmp_path / "other")
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "StableDiffusionInstructPix2Pix"
    (folder / "model_index.json").write_text(json.dumps(index))

    with pytest.raises(EdgekitError, match="unknown teacher pipeline class") as caught:
        load_teacher(folder)

    assert f"did you mean '{INSTRUCT}'" in caught.value.hint
    assert "QwenImageEditPlusPipeline" in caught.value.hint


def test_pickled_weights_are_refused_with_the_way_out(saved, tmp_path):
    folder = shutil.copytree(saved(INSTRUCT), tmp_path / "pickled")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))

    with pytest.raises(BadInput, match="a pickle can run any code") as caught:
        load_teacher(folder)

    assert "save_pretrained" in caught.value.hint


def missing_component(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


def cut_weights(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])


def garbled_weights(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\xff" * 32)


def garbled_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def no_class(folder: Path) -> None:
    (folder / "model_index.json").write_text("{}")


def no_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (missing_component, "lacks its component vae"),
        (cut_weights, "cannot be loaded as"),
        (garbled_weights, "not readable safetensors"),
        (garbled_index, "not readable JSON"),
        (no_class, "names no pipeline class"),
        (no_index, "has no model_index.json"),
    ],
)
def test_a_damaged_folder_is_one_sentence(saved, tmp_path, damage, what):
    folder = shutil.copytree(saved(INSTRUCT), tmp_path / "damaged")
    damage(folder)

    with pytest.raises(BadInput, match=what):
        load_teacher(folder, device="cpu")


def test_a_folder_with_a_16_bit_variant_only_is_loaded(saved, tmp_path):
    folder = shutil.copytree(saved(INSTRUCT), tmp_path / "variant")
    for weights in folder.glob("*/*.safetensors"):
        weights.rename(weights.with_suffix(".fp16.safetensors"))

    teacher = load_teacher(folder, device="cpu")

    assert teacher.edit(photos(1), PROMPT, seed=0).shape == (1, 40, 50, 3)


@pytest.mark.parametrize("where", ["no such folder", "/no/such/folder", "../nothing"])
def test_a_place_that_does_not_exist_is_said(where):
    with pytest.raises(BadInput, match="does not exist"):
        load_teacher(where)


def test_a_single_file_is_told_how_to_become_a_folder(tmp_path):
    file = tmp_path / "model.safetensors"
    file.touch()

    with pytest.raises(BadInput, match="is a file") as caught:
        load_teacher(str(file))

    assert "save_pretrained" in caught.value.hint


def test_an_unreachable_hub_is_one_sentence_at_once(monkeypatch, tmp_path):
    def refused(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "create_connection", refused)

    with pytest.raises(BadInput, match="hub cannot be reached") as caught:
        load_teacher("someone/a-pipeline-that-is-not-cached")

    assert "hf download someone/a-pipeline-that-is-not-cached --local-dir DIR" in caught.value.hint
    assert caught.value.exit_code == 4


def test_a_cached_hub_id_needs_no_network(saved, monkeypatch):
    def no_network(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was asked for")

    from diffusers import DiffusionPipeline

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(DiffusionPipeline, "download", lambda *args, **more: str(saved(INSTRUCT)))

    teacher = load_teacher("someone/tiny", device="cpu")

    assert teacher.identity.startswith("someone/tiny@")


def test_the_bundled_vocabulary_refuses_what_it_cannot_know():
    with pytest.raises(BadInput, match="does not know 'make it snoowy'") as caught:
        check_concept("make it snoowy")

    assert "did you mean 'make it snowy'" in caught.value.hint
    assert "make it night" in caught.value.hint
    check_concept("snow at night, please")
