"""Every pipeline class, as a tiny randomly initialised pipeline of that real class on disk."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.seams import Teacher
from edgekit.distill.teachers import folders, loader
from edgekit.distill.teachers.folders import describe_teacher
from edgekit.distill.teachers.loader import load_teacher
from edgekit.distill.teachers.pipelines import ADAPTERS, Sampling, work_size

INSTRUCT = "StableDiffusionInstructPix2PixPipeline"
QWEN = ("QwenImageEditPipeline", "QwenImageEditPlusPipeline")
OTHERS = sorted(set(ADAPTERS) - set(QWEN))
PROMPT = "make it night"


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


def test_the_tables_are_complete(tiny_pipelines):
    known = set(tiny_pipelines.BUILDERS)

    assert known == set(ADAPTERS)
    assert loader.BUNDLED == folders.BUNDLED == "bundled"
