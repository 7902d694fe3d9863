"""Scores tell usable edits, strong ones too, from useless ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekit.distill.pairs.quality import (
    Bars,
    difference_hash,
    duplicates,
    hamming_bits,
    rejection,
    scores,
)
from edgekit.distill.pairs.sources import draw_crop, open_sources
from edgekit.distill.teachers.operators.table import edited

STRONG = ("sketch", "neon", "mosaic", "halftone", "x-ray", "thermal", "stained glass", "night")


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """Twelve crops of real photos, 128 px."""
    sources = open_sources(None, size_px=128, limit=96, seed=0, heldout=0.15)
    return np.stack(
        [
            draw_crop(sources.train, turn, sources.load, size_px=128, seed=turn)[1]
            for turn in range(12)
        ]
    )


def applied(name: str, photos: np.ndarray) -> np.ndarray:
    batch = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255
    return (edited(batch, [name]) * 255).round().byte().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("name", STRONG)
def test_a_strong_edit_is_kept_and_that_of_another_photo_is_not(crops, name):
    edits = applied(name, crops)

    own = [rejection(scores(a, b), Bars(), size_px=128) for a, b in zip(crops, edits, strict=True)]
    other = [
        rejection(scores(a, b), Bars(), size_px=128)
        for a, b in zip(crops, np.roll(edits, 1, axis=0), strict=True)
    ]

    assert own == [None] * len(crops)
    assert sum(reason is not None for reason in other) >= 10


@pytest.mark.parametrize("name", ["night", "sketch", "halftone"])
@pytest.mark.parametrize("pixels", [8, 12])
def test_a_displaced_edit_is_measured_in_pixels(crops, name, pixels):
    moved = np.roll(applied(name, crops), pixels, axis=2)

    found = [scores(a, b).shift_px for a, b in zip(crops, moved, strict=True)]

    assert abs(np.median(found) - pixels) <= 1


def test_an_untouched_photo_scores_no_change_and_full_structure(crops):
    found = scores(crops[0], crops[0])

    assert (found.change, found.structure, found.shift_px) == (0, 1, 0)
    assert "changed almost nothing" in (rejection(found, Bars(), size_px=128) or "")


def test_flat_pictures_have_finite_scores_and_are_rejected(crops):
    flat = np.full_like(crops[0], 90)

    blank = rejection(scores(crops[0], flat), Bars(), size_px=128)
    empty = rejection(scores(flat, crops[0]), Bars(), size_px=128)

    assert (blank or "").startswith("the edit is blank")
    assert (empty or "").startswith("the source is blank")


def test_photos_of_two_sizes_are_a_programming_error(crops):
    with pytest.raises(ValueError, match="sizes differ"):
        scores(crops[0], crops[0][:64])


def test_the_hash_forgives_light_and_tells_photos_apart(crops):
    darker = (crops[0] * 0.9).astype(np.uint8)

    same = hamming_bits(difference_hash(crops[0]), difference_hash(darker))
    other = hamming_bits(difference_hash(crops[0]), difference_hash(crops[1]))

    assert same <= 3 < 12 <= other


def test_of_two_alike_sources_the_heldout_one_stays():
    hashes = ["0" * 16, "f" * 16, "0" * 15 + "1", "f" * 15 + "e"]

    found = duplicates(hashes, [False, False, True, False], Bars())

    assert found == {0: 2, 3: 1}
