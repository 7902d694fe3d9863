"""The training loop: it learns, it stops, and a killed run ends where an undisturbed one does."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.students import smooth_photos, tiny_context, tiny_generator

import edgekit.distill.fit_gan as fit_gan_module
from edgekit.distill.fit_gan import CHECKPOINT, LOG, PREVIEW, fit_gan
from edgekit.distill.fit_state import FitData, FitSettings, fast_bfloat16, rate_share
from edgekit.distill.fit_step import TEXT_TIMES, TrainingStep
from edgekit.distill.lora import attach
from edgekit.distill.students.gan import Shape, fresh_generator
from edgekit.distill.students.resnet9 import fresh_resnet9

PHOTOS = smooth_photos(16, 32)
DATA = FitData(PHOTOS[:12], 255 - PHOTOS[:12], PHOTOS[12:], 255 - PHOTOS[12:])
SETTINGS = FitSettings(
    steps=12, batch=4, lr=5e-3, perceptual=0.0, check_every=3, checkpoint_s=0.0, half=False
)


class Killed(Exception):
    pass


def killed_at(step):
    def report(label, done, total, note=""):
        if done >= step:
            raise Killed

    return report


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def floats(network):
    """The weights and statistics, without the counters of batches that nothing reads."""
    return {n: value for n, value in weights(network).items() if value.is_floating_point()}


def adapted():
    return attach(tiny_generator(), rank=2, seed=0)


def lines(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_a_fresh_generator_learns_the_negative(tmp_path):
    network = fresh_generator(Shape(width=16, context_dim=16), seed=0)
    settings = replace(SETTINGS, steps=60, check_every=20, frozen_norms=False, lr=1e-2)

    result = fit_gan(network, DATA, settings, folder=tmp_path, context=tiny_context())

    assert result.first_scores["l1"] > 0.5
    assert result.scores["l1"] < 0.35 * result.first_scores["l1"]
    assert not network.training


def test_the_network_keeps_the_weights_that_validated_best(tmp_path):
    network = adapted()

    result = fit_gan(network, DATA, SETTINGS, folder=tmp_path, context=tiny_context())
    rows = {row["step"]: row["val_l1"] for row in lines(tmp_path)}

    assert result.best_step == min(rows, key=rows.__getitem__)
    assert result.scores["l1"] == pytest.approx(min(rows.values()), abs=1e-5)


@pytest.mark.parametrize("adversarial", [0.0, 0.05])
def test_a_killed_run_ends_where_an_undisturbed_one_ends(tmp_path, adversarial):
    settings = replace(SETTINGS, adversarial=adversarial, discriminator_width=4)
    settings = replace(settings, frozen_norms=not adversarial)
    whole, broken, again = adapted(), adapted(), adapted()
    options = {"context": tiny_context(), "fingerprint": "same"}
    fit_gan(whole, DATA, settings, folder=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        fit_gan(broken, DATA, settings, folder=tmp_path / "broken", report=killed_at(9), **options)

    result = fit_gan(again, DATA, settings, folder=tmp_path / "broken", **options)

    assert result.step == settings.steps
    for name, value in floats(whole).items():
        assert torch.allclose(value, floats(again)[name], atol=1e-5), name
    assert [row["step"] for row in lines(tmp_path / "broken")] == [0, 3, 6, 9, 12]


def test_a_checkpoint_of_another_recipe_is_not_continued(tmp_path):
    fit_gan(adapted(), DATA, SETTINGS, folder=tmp_path, context=tiny_context(), fingerprint="a")
    other = replace(SETTINGS, steps=3)

    result = fit_gan(
        adapted(), DATA, other, folder=tmp_path, context=tiny_context(), fingerprint="b"
    )

    assert result.step == 3
    assert [row["step"] for row in lines(tmp_path)] == [0, 3]


def test_a_half_written_line_of_the_log_is_dropped_on_resume(tmp_path):
    options = {"context": tiny_context(), "fingerprint": "same"}
    with pytest.raises(Killed):
        fit_gan(adapted(), DATA, SETTINGS, folder=tmp_path, report=killed_at(6), **options)
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 9, "loss"')

    fit_gan(adapted(), DATA, SETTINGS, folder=tmp_path, **options)

    assert [row["step"] for row in lines(tmp_path)] == [0, 3, 6, 9, 12]


def test_training_ends_when_nothing_improves(tmp_path):
    same = FitData(PHOTOS[:12], PHOTOS[:12], PHOTOS[12:], PHOTOS[12:])
    network = fresh_generator(Shape(width=16, context_dim=16), seed=0)  # starts as the identity
    settings = replace(SETTINGS, steps=500, check_every=1, lr=1e-6)

    result = fit_gan(
        network.requires_grad_(False).eval().requires_grad_(True),
        same,
        settings,
        folder=tmp_path,
        context=tiny_context(),
    )

    assert result.stopped == "plateau"
    assert result.step < 20


def test_training_ends_when_the_minutes_are_over(tmp_path):
    settings = replace(SETTINGS, steps=10_000, minutes=0.01)

    result = fit_gan(adapted(), DATA, settings, folder=tmp_path, context=tiny_context())

    assert result.stopped == "minutes"
    assert 0 < result.step < 10_000
    assert result.seconds < 20


def test_curves_and_a_preview_can_be_looked_at_while_it_trains(tmp_path):
    settings = replace(SETTINGS, perceptual=1.0, steps=3)
    fit_gan(adapted(), DATA, settings, folder=tmp_path, context=tiny_context())

    sheet = np.asarray(Image.open(tmp_path / PREVIEW))

    assert sheet.shape == (4 * 36 - 4, 3 * 36 - 4, 3)
    assert np.array_equal(sheet[:32, :32], DATA.val_sources[0])
    assert np.array_equal(sheet[:32, 36:68], DATA.val_edits[0])
    assert {"loss", "l1", "perceptual", "lr", "val_l1", "val_perceptual"} <= lines(tmp_path)[
        -1
    ].keys()


def test_an_adapter_run_leaves_the_base_alone(tmp_path):
    network, before = adapted(), weights(adapted())

    fit_gan(network, DATA, SETTINGS, folder=tmp_path, context=tiny_context())
    changed = {n for n, value in weights(network).items() if not torch.equal(value, before[n])}

    assert changed
    assert all("lora_" in name or name.endswith("modulation.bias") for name in changed)


def test_a_bias_that_stands_for_a_factor_moves_at_a_multiple_of_the_rate():
    network = adapted()
    pairs = (DATA.sources, DATA.edits)
    step = TrainingStep(network, pairs, SETTINGS, tiny_context(), torch.device("cpu"))
    before = weights(network)

    step.advance(0)

    rate = SETTINGS.lr * rate_share(0, SETTINGS.steps)
    moved = {n: float((v - before[n]).abs().max()) for n, v in weights(network).items()}
    assert max(v for n, v in moved.items() if "lora_" in n) == pytest.approx(rate, rel=0.01)
    biases = [v for n, v in moved.items() if n.endswith("modulation.bias")]
    assert max(biases) == pytest.approx(TEXT_TIMES * rate, rel=0.01)


def test_a_factor_of_a_larger_rank_moves_less():
    network = attach(tiny_generator(), rank={"down": 4, "transformer": 16}, seed=0)
    step = TrainingStep(
        network, (DATA.sources, DATA.edits), SETTINGS, tiny_context(), torch.device("cpu")
    )
    before = weights(network)

    step.advance(0)

    rate = SETTINGS.lr * rate_share(0, SETTINGS.steps)
    moved = {
        value.shape[1]: float((value - before[name]).abs().max())
        for name, value in weights(network).items()
        if "lora_B" in name
    }
    assert moved[4] == pytest.approx(rate, rel=0.01)
    assert moved[16] == pytest.approx(rate / 4, rel=0.01)


def test_a_run_that_is_lost_goes_back_and_slows_down(tmp_path, monkeypatch):
    settings = replace(SETTINGS, steps=36, lr=1.5, patience=99)

    careful = fit_gan(adapted(), DATA, settings, folder=tmp_path / "a", context=tiny_context())
    monkeypatch.setattr(fit_gan_module, "LOST", np.inf)
    stubborn = fit_gan(adapted(), DATA, settings, folder=tmp_path / "b", context=tiny_context())

    assert careful.slowed > 0
    assert stubborn.slowed == 0
    assert careful.scores["l1"] < 0.9 * stubborn.scores["l1"]


def test_the_baseline_trains_in_the_same_loop(tmp_path):
    settings = replace(SETTINGS, steps=3, frozen_norms=False, lr=2e-4)

    result = fit_gan(fresh_resnet9(8, seed=0), DATA, settings, folder=tmp_path)

    assert result.scores["l1"] <= result.first_scores["l1"]
    assert (tmp_path / CHECKPOINT).is_file()


def test_bfloat16_is_taken_where_the_processor_multiplies_it():
    assert fast_bfloat16(torch.device("cuda"))
    assert isinstance(fast_bfloat16(torch.device("cpu")), bool)
