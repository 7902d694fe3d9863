"""Every pipeline class, as a tiny randomly initialised pipeline of that real class on disk."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.seams import Teacher
from edgekit.distill.teachers import folders, loader
from edgekit.distill.teachers.folders import card_sampling, check_concept, describe_teacher
from edgekit.distill.teachers.loader import DiffusionTeacher, load_teacher
from edgekit.distill.teachers.pipelines import ADAPTERS, Sampling, work_size

INSTRUCT = "StableDiffusionInstructPix2PixPipeline"
QWEN = ("QwenImageEditPipeline", "QwenImageEditPlusPipeline")
OTHERS = sorted(set(ADAPTERS) - set(QWEN))
PROMPT = "make it night"


def tiny_pipelines() -> ModuleType:
    """The module beside this file: in pytest's importlib mode its folder is not on sys.path."""
    name = "edgekit_tests_tiny_pipelines"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, Path(__file__).with_name("tiny_pipelines.py")
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Callable[..., Path]:
    """Folder of a tiny pipeline, built once; no test may change it."""
    root = tmp_path_factory.mktemp("tiny")

    def folder(class_name: str, *, turbo: bool = False) -> Path:
        place = root / f"{class_name}{'-turbo' * turbo}"
        return (
            place if place.exists() else tiny_pipelines().save_tiny(class_name, place, turbo=turbo)
        )

    return folder


@pytest.fixture(scope="module")
def loaded(saved) -> Callable[[str], DiffusionTeacher]:
    teachers: dict[str, DiffusionTeacher] = {}

    def teacher(class_name: str) -> DiffusionTeacher:
        if class_name not in teachers:
            small = {"work_px": 32} if class_name in OTHERS else {}
            folder = saved(class_name)
            teachers[class_name] = load_teacher(
                folder, device="cpu", steps=2, batch_size=2, **small
            )
        return teachers[class_name]

    return teacher


@pytest.fixture
def small_qwen(monkeypatch):
    """Qwen's classes always work at a megapixel; a test does with less of the same code."""
    import diffusers.pipelines.qwenimage.pipeline_qwenimage_edit as edit
    import diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus as plus

    for module in (edit, plus):
        whole = module.calculate_dimensions
        small = functools.partial(lambda of, area, ratio: of(64 * 64, ratio), whole)
        monkeypatch.setattr(module, "calculate_dimensions", small)


def photos(count: int, height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def spread(one: np.ndarray, two: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - two).max())


@pytest.mark.parametrize("class_name", [*OTHERS, *QWEN])
def test_each_class_edits_photos_of_any_size_the_same_alone_and_in_a_batch(
    loaded, small_qwen, class_name
):
    teacher, three = loaded(class_name), photos(3)

    edited = teacher.edit(three, PROMPT, seed=[7, 8, 9])
    alone = teacher.edit(three[2:], PROMPT, seed=9)
    again = teacher.edit(three, PROMPT, seed=7)

    assert isinstance(teacher, Teacher)
    assert (edited.shape, edited.dtype) == (three.shape, np.uint8)
    assert spread(edited[2], alone[0]) <= 2  # float rounding of another batch size
    np.testing.assert_array_equal(edited, again)


@pytest.mark.parametrize("class_name", [*OTHERS, *QWEN])
def test_another_seed_gives_another_edit(loaded, small_qwen, class_name):
    teacher, one = loaded(class_name), photos(1)

    first, second = (teacher.edit(one, PROMPT, seed=seed) for seed in (0, 1))

    assert spread(first, second) > 0


@pytest.mark.parametrize("class_name", [*OTHERS, *QWEN])
def test_each_class_edits_in_the_16_bits_of_a_gpu(saved, small_qwen, class_name):
    small = {"work_px": 32} if class_name in OTHERS else {}
    teacher = load_teacher(saved(class_name), device="cpu", dtype="bfloat16", steps=2, **small)

    edited = teacher.edit(photos(2), PROMPT, seed=0)

    assert edited.shape == (2, 40, 50, 3)
    assert edited.std() > 1
    assert teacher.sampling["dtype"] == "bfloat16"


@pytest.mark.parametrize("class_name", [INSTRUCT, "FluxKontextPipeline", QWEN[0]])
def test_the_prompt_reaches_the_edit(loaded, small_qwen, class_name):
    teacher, one = loaded(class_name), photos(1)

    night, day = (teacher.edit(one, prompt, seed=0) for prompt in (PROMPT, "zebra at 9"))

    assert spread(night, day) > 0


def test_nothing_imports_torchvision(loaded, small_qwen):
    for class_name in ADAPTERS:
        loaded(class_name)

    assert "torchvision" not in sys.modules


def test_qwen_loads_without_a_video_processor(loaded):
    processor = loaded(QWEN[1]).pipeline.processor

    assert type(processor.image_processor).__name__ == "Qwen2VLImageProcessorPil"
    assert processor.video_processor is None


def test_the_noise_comes_from_the_cpu_whatever_the_device():
    from edgekit.distill.teachers.pipelines import generators

    made = generators([3, 4])

    assert [(one.device.type, one.initial_seed()) for one in made] == [("cpu", 3), ("cpu", 4)]


@pytest.mark.parametrize(
    ("class_name", "loaded_as"),
    [
        ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
        ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"),
    ],
)
def test_a_few_step_model_is_known_by_its_scheduler(saved, class_name, loaded_as):
    plain = describe_teacher(saved(class_name)).sampling

    turbo = load_teacher(saved(class_name, turbo=True), device="cpu")

    assert type(turbo.pipeline).__name__ == loaded_as
    assert (turbo.sample.guidance, turbo.sample.steps, turbo.sample.strength) == (0.0, 4, 0.5)
    assert plain.guidance > 1
    assert plain.steps > 4
    assert turbo.edit(photos(1), PROMPT, seed=0).shape == (1, 40, 50, 3)


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


def test_the_bundled_teacher_makes_pairs_in_few_steps_at_its_largest_size():
    described = describe_teacher("bundled")

    teacher = load_teacher("bundled", device="cpu", pairs_px=128)

    assert (teacher.sample.steps, teacher.smallest_px) == (4, 256)
    assert described.sampling.steps == 8
    assert "make it night" in described.concepts
    assert described.parameters < 11e6


def test_the_bundled_teacher_refuses_an_unknown_concept():
    teacher = load_teacher("bundled", device="cpu")

    with pytest.raises(BadInput, match="does not know 'make it purple'") as caught:
        teacher.edit(photos(1), "make it purple", seed=0)

    assert "make it night" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"strength": 0.5}, "has no strength"),
        ({"steps": 0}, "steps = 0"),
        ({"guidance": -1.0}, "guidance = -1"),
        ({"image_guidance": 0.5}, "image guidance = 0.5"),
        ({"batch_size": 0}, "batch size = 0"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"dtype": "fp32"}, "unknown number format 'fp32'"),
        ({"work_px": 4}, "cannot work at 4 pixels"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(saved, options, what):
    with pytest.raises(EdgekitError, match=what):
        load_teacher(saved(INSTRUCT), **{"device": "cpu", **options})


def test_steps_that_strength_rounds_away_are_refused():
    with pytest.raises(EdgekitError, match="leave no step") as caught:
        Sampling(steps=3, guidance=1.0, strength=0.25)

    assert "at least 4 steps" in caught.value.hint


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


def test_an_empty_prompt_a_tiny_photo_and_wrong_arrays_are_refused(loaded):
    teacher = loaded(INSTRUCT)

    with pytest.raises(BadInput, match="prompt is empty"):
        teacher.edit(photos(1), "  ", seed=0)
    with pytest.raises(BadInput, match="too small"):
        teacher.edit(photos(1, 1, 1), PROMPT, seed=0)
    with pytest.raises(ValueError, match="2 seeds for 3 images"):
        teacher.edit(photos(3), PROMPT, seed=[1, 2])
    with pytest.raises(ValueError, match="expected uint8 photos"):
        teacher.edit(photos(1).astype(np.float32), PROMPT, seed=0)


def test_loading_and_editing_write_nothing_to_the_terminal(saved, capfd):
    teacher = load_teacher(saved("StableDiffusionPipeline"), device="cpu", steps=2)
    teacher.edit(photos(1), PROMPT, seed=0)

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [(16, 16), (40, 50), (128, 128), (500, 333), (1000, 3000)])
@pytest.mark.parametrize("fit", ["side", "area"])
def test_a_photo_is_scaled_within_bounds_and_padded_to_the_multiple(size, fit):
    height, width, padded_height, padded_width = work_size(
        *size, fit=fit, smallest=512, largest=768, multiple=64
    )

    assert padded_height % 64 == padded_width % 64 == 0
    assert 0 <= padded_height - height < 64
    assert 0 <= padded_width - width < 64
    assert max(height, width) <= max(2 * 768, 768 * (max(size) / min(size)) ** 0.5 + 1)
    assert abs(height / width - size[0] / size[1]) < 0.02 * size[0] / size[1]


def test_padding_leaves_an_identity_edit_in_place(loaded, monkeypatch):
    teacher = loaded(INSTRUCT)
    same = dataclasses.replace(
        teacher.adapter,
        call=lambda pipeline, images, *rest: np.stack([np.asarray(i) / 255 for i in images]),
    )
    picture = photos(2, 41, 53)

    returned = dataclasses.replace(teacher, adapter=same, smallest_px=16, largest_px=64).edit(
        picture, PROMPT, seed=0
    )

    np.testing.assert_array_equal(returned, picture)


def test_the_tables_are_complete():
    known = set(tiny_pipelines().BUILDERS)

    assert known == set(ADAPTERS)
    assert loader.BUNDLED == folders.BUNDLED == "bundled"
