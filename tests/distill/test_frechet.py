"""The Fréchet distance: the textbook's value, zero for the same, growing with damage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from tests.students import smooth_photos

from edgekit.distill.frechet import FEATURES, embedded, frechet_distance


def by_the_book(one, two):
    """Return the distance from covariances and a matrix square root."""
    first, second = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    root = sqrtm(first @ second).real
    return float(((one.mean(0) - two.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root))


def test_it_is_the_textbooks_distance():
    random = np.random.default_rng(0)
    one = random.normal(size=(60, 5)) @ random.normal(size=(5, 5))
    two = 1.5 * random.normal(size=(40, 5)) + 0.3

    assert frechet_distance(one, two) == pytest.approx(by_the_book(one, two), rel=1e-8)


def test_two_gaussians_apart_by_one_are_one_apart():
    random = np.random.default_rng(0)
    rows = random.normal(size=(500, 3))

    assert frechet_distance(rows, rows + np.array([1.0, 0, 0])) == pytest.approx(1.0, abs=1e-9)


def test_fewer_pictures_than_features_are_no_problem():
    rows = np.random.default_rng(0).normal(size=(6, 40))

    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)


def test_one_picture_is_too_few():
    with pytest.raises(ValueError, match="at least two"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))


def test_more_damage_is_farther():
    photos = smooth_photos(12, 64)
    random = np.random.default_rng(0)
    noises = [
        np.clip(photos + random.normal(0, sigma, photos.shape), 0, 255).astype(np.uint8)
        for sigma in (4, 16, 48)
    ]

    clean = embedded(photos)
    distances = [frechet_distance(clean, embedded(noisy)) for noisy in noises]

    assert clean.shape == (12, FEATURES)
    assert distances[0] < distances[1] < distances[2]
