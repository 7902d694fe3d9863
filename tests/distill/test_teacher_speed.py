"""Faster teachers draw what slow ones draw."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from edgekit.distill.pairs.make import make_pairs
from edgekit.distill.pairs.settings import PairSettings
from edgekit.distill.teachers import speed
from edgekit.distill.teachers.loader import load_teacher
from edgekit.distill.teachers.speed import (
    MOST_AT_ONCE,
    MOST_TEXTS,
    Replayed,
    batch_for_memory,
    remembered,
    tuned,
)

INSTRUCT = "StableDiffusionInstructPix2PixPipeline"


def photos(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 40, 50, 3), np.uint8)


@pytest.mark.parametrize("class_name", [INSTRUCT, "StableDiffusionImg2ImgPipeline"])
def test_a_tuned_teacher_draws_what_diffusers_draws(saved, class_name):
    plain, fast = (
        load_teacher(saved(class_name), device="cpu", steps=2, work_px=32, tune=tune)
        for tune in (False, True)
    )

    one, two = (teacher.edit(photos(2), "zebra", seed=3) for teacher in (plain, fast))

    assert np.abs(one.astype(int) - two).max() <= 2
    assert fast.pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert not plain.pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("guidance", "image_guidance"), [(1.0, 1.0), (7.5, 1.5)])
def test_a_text_encoded_once_is_what_the_pipeline_encodes(saved, guidance, image_guidance):
    from PIL import Image

    teacher = load_teacher(
        saved(INSTRUCT),
        device="cpu",
        steps=2,
        work_px=32,
        guidance=guidance,
        image_guidance=image_guidance,
    )
    square = photos(2)[:, :32, :32]
    expected = teacher.pipeline(
        ["zebra"] * 2,
        image=[Image.fromarray(photo) for photo in square],
        num_inference_steps=2,
        guidance_scale=guidance,
        image_guidance_scale=image_guidance,
        generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)],
        output_type="np",
    ).images

    made = teacher.edit(square, "zebra", seed=5)

    assert np.abs((expected * 255).round() - made).max() <= 1


def test_a_text_is_encoded_once_for_all_photos(saved, monkeypatch):
    teacher = load_teacher(saved(INSTRUCT), device="cpu", steps=2, work_px=32)
    calls: Counter[str] = Counter()
    encode = teacher.pipeline.text_encoder.forward

    def counted(*args, **kwargs):
        calls["encoder"] += 1
        return encode(*args, **kwargs)

    monkeypatch.setattr(teacher.pipeline.text_encoder, "forward", counted)
    for _ in range(3):
        teacher.edit(photos(5), "zebra", seed=0)
    with_guidance = calls["encoder"]
    teacher.edit(photos(5), "horse", seed=0)

    assert with_guidance == 2  # the prompt and none
    assert calls["encoder"] == 4


def test_only_so_many_texts_are_remembered():
    class Owner:
        pass

    owner, made = Owner(), []

    for number in [*range(MOST_TEXTS + 1), MOST_TEXTS, 0]:
        remembered(owner, number, lambda n=number: made.append(n))

    assert made == [*range(MOST_TEXTS + 1), 0]


@pytest.mark.parametrize("total_gib", [4, 8, 24, 80, 140])
@pytest.mark.parametrize("side", [128, 256, 512, 1024])
def test_a_batch_is_a_power_of_two_that_fits(total_gib, side):
    weights = 2 << 30

    count = batch_for_memory(total_gib << 30, weights, side * side)

    assert count & (count - 1) == 0
    assert 1 <= count <= MOST_AT_ONCE
    room = speed.SHARE * ((total_gib << 30) - weights)
    assert count == 1 or count * side * side * speed.BYTES_A_PIXEL <= room


def test_calls_on_the_processor_are_never_recorded():
    layer = nn.Linear(3, 2)
    replayed = Replayed(layer.forward)

    made = [replayed(torch.ones(1, 3)) for _ in range(9)]

    assert all(torch.equal(one, layer(torch.ones(1, 3))) for one in made)
    assert not replayed.graphs


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_replayed_call_is_the_call():
    layer = nn.Conv2d(3, 4, 3).cuda()
    replayed = Replayed(layer.forward)
    images = [torch.randn(2, 3, 8, 8, device="cuda") for _ in range(9)]

    with torch.inference_mode():
        made = [replayed(image) for image in images]
        expected = [layer(image) for image in images]

    assert len(replayed.graphs) == 1
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(made, expected, strict=True))


def test_what_has_no_unet_is_left_alone():
    pipeline = SimpleNamespace(unet=None, device=torch.device("cpu"), components={})

    assert tuned(pipeline) is pipeline


class Wide:
    """A teacher without weights that takes several shards at once."""

    identity = "wide@0"

    def __init__(self, batch_size: int) -> None:
        self.sampling = {"batch_size": batch_size}
        self.sizes: list[int] = []
        self.fails_at: int | None = None

    def edit(self, images, prompt, *, seed):
        if self.fails_at == len(self.sizes):
            raise RuntimeError("the power went")
        self.sizes.append(len(images))
        shade = np.array([np.random.default_rng(one).integers(60) for one in seed])
        return (images // 2 + shade[:, None, None, None]).astype(np.uint8)


def settings(count: int = 20) -> PairSettings:
    return PairSettings(
        prompt="make it night", count=count, size_px=32, shard_pairs=4, variation=0.0
    )


def test_a_large_batch_takes_several_shards_and_gives_the_same_pairs(tmp_path):
    small, large = Wide(1), Wide(11)

    one = make_pairs(settings(), small, tmp_path / "small")
    two = make_pairs(settings(), large, tmp_path / "large")

    assert small.sizes == [4] * 5
    assert large.sizes == [8, 8, 4]
    assert [e.edit_sha256 for e in one.entries] == [e.edit_sha256 for e in two.entries]
    assert [s["sha256"] for s in one.manifest["shards"]] == [
        s["sha256"] for s in two.manifest["shards"]
    ]


def test_what_a_teacher_has_edited_is_kept_when_the_next_edit_fails(tmp_path):
    failing, whole = Wide(8), Wide(8)
    failing.fails_at = 2

    with pytest.raises(RuntimeError, match="the power went"):
        make_pairs(settings(), failing, tmp_path / "pairs")
    kept = sorted(path.name for path in (tmp_path / "pairs").glob("pairs-*.tar"))
    failing.fails_at = None
    again = make_pairs(settings(), failing, tmp_path / "pairs")

    assert kept == [f"pairs-00000{number}.tar" for number in range(4)]
    assert failing.sizes == [8, 8, 4]
    assert (
        again.manifest["shards"] == make_pairs(settings(), whole, tmp_path / "w").manifest["shards"]
    )


def test_a_missing_shard_in_the_middle_of_a_batch_is_made_with_its_neighbours(tmp_path):
    teacher = Wide(8)
    first = make_pairs(settings(), teacher, tmp_path / "pairs")
    (tmp_path / "pairs" / "pairs-000003.tar").unlink()

    again = make_pairs(settings(), teacher, tmp_path / "pairs")

    assert teacher.sizes == [8, 8, 4, 8]  # 2 and 3 together, as before
    assert again.manifest == first.manifest
