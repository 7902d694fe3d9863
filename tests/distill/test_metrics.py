"""Metrics: known values, the right direction, and the untouched source beside the student."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.students import smooth_photos

from edgekit.distill.coverage import spread
from edgekit.distill.metrics import IDENTICAL_DB, as_photos, as_tensor, compared, edited, quality

PHOTOS = smooth_photos(4, 128)


def test_identical_pictures_score_best():
    scores = compared(PHOTOS[0], PHOTOS[0].copy())

    assert scores["l1"] == 0
    assert scores["psnr_db"] == IDENTICAL_DB
    assert scores["ms_ssim"] == pytest.approx(1, abs=1e-6)
    assert scores["flip"] == pytest.approx(0, abs=1e-6)
    assert scores["perceptual"] == pytest.approx(0, abs=1e-6)


def test_known_differences_have_known_values():
    black, gray = np.zeros((128, 128, 3), np.uint8), np.full((128, 128, 3), 51, np.uint8)

    scores = compared(black, gray)

    assert scores["l1"] == pytest.approx(0.2)
    assert scores["psnr_db"] == pytest.approx(20 * np.log10(5))


def test_every_metric_ranks_a_small_error_before_a_large_one():
    noise = np.random.default_rng(0).normal(0, 1, PHOTOS[0].shape)
    small, large = (np.clip(PHOTOS[0] + step * noise, 0, 255).astype(np.uint8) for step in (4, 40))

    near, far = compared(PHOTOS[0], small), compared(PHOTOS[0], large)

    assert all(near[name] < far[name] for name in ("l1", "flip", "perceptual"))
    assert all(near[name] > far[name] for name in ("psnr_db", "ms_ssim"))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="shapes differ"):
        compared(PHOTOS[0], PHOTOS[0][:64])


def test_the_untouched_source_stands_beside_the_student():
    found = quality(PHOTOS, 255 - PHOTOS, 255 - PHOTOS)

    assert found["samples"] == 4
    assert found["student"]["l1"] == 0
    assert found["source"]["l1"] > 0.05


def test_a_metric_that_does_not_fit_is_none_and_no_number():
    small = smooth_photos(2, 64)

    assert quality(small, small, small)["student"]["ms_ssim"] is None


def test_bytes_survive_the_way_through_tensors():
    assert np.array_equal(as_photos(as_tensor(PHOTOS)), PHOTOS)
    assert np.array_equal(edited(torch.neg, PHOTOS, batch=3), 255 - PHOTOS)


def test_few_photos_cover_many():
    groups = np.repeat(np.array([0, 120, 250], np.uint8), 10)
    photos = np.broadcast_to(groups[:, None, None, None], (30, 32, 32, 3)).copy()

    chosen = spread(photos, 3)

    assert sorted(int(photos[i, 0, 0, 0]) for i in chosen) == [0, 120, 250]
    assert sorted(spread(photos, 99)) == list(range(30))
