import numpy as np
import pytest

from edgekit.core.seams import Port
from edgekit.export.parity import (
    Parity,
    from_layout,
    max_abs,
    measured,
    missed_bar,
    psnr_db,
    to_layout,
)

PICTURE = Port("image", (1, 3, 2, 4))
NHWC = Port("image", (1, 2, 4, 3), layout="nhwc")
BYTES = Port("image", (1, 2, 4, 3), "uint8", "nhwc", 0.0, 255.0)


@pytest.mark.parametrize(("step", "passes"), [(1 / 255, True), (16 / 255, False)])
def test_the_int8_bar_lets_one_gray_level_through_and_stops_sixteen(step, passes):
    image = np.zeros((1, 3, 4, 4), np.float32)
    distance = 2 * step

    score = psnr_db(image, image + np.float32(distance))

    assert (missed_bar(Parity((score,), (distance,)), "int8") is None) is passes


def test_identical_arrays_are_infinitely_close_and_a_nan_is_infinitely_far():
    image = np.zeros((1, 3, 4, 4), np.float32)
    broken = image.copy()
    broken[0, 0, 0, 0] = np.nan

    assert psnr_db(image, image) == np.inf
    assert psnr_db(image, broken) == -np.inf
    assert max_abs(image, broken) == np.inf


@pytest.mark.parametrize("measure", [psnr_db, max_abs])
def test_a_wrong_layout_is_not_broadcast_away(measure):
    with pytest.raises(ValueError, match="shapes differ"):
        measure(np.zeros((1, 3, 4, 4), np.float32), np.zeros((1, 4, 4, 3), np.float32))


@pytest.mark.parametrize("theirs", [PICTURE, NHWC])
def test_a_layout_and_back_changes_nothing(theirs):
    batch = np.random.default_rng(0).uniform(-1, 1, PICTURE.shape).astype(np.float32)

    there = to_layout(batch, PICTURE, theirs)

    assert there.shape == theirs.shape
    np.testing.assert_array_equal(from_layout(there, PICTURE, theirs), batch)


def test_bytes_and_back_lose_at_most_half_a_gray_level():
    batch = np.random.default_rng(0).uniform(-1, 1, PICTURE.shape).astype(np.float32)

    back = from_layout(to_layout(batch, PICTURE, BYTES), PICTURE, BYTES)

    assert max_abs(batch, back) <= 1.001 / 255


class Offset:
    inputs = (NHWC,)
    outputs = (NHWC,)

    def __init__(self, *offsets: float) -> None:
        self.offsets = list(offsets)

    def run(self, feeds):
        return {"image": feeds["image"] + np.float32(self.offsets.pop(0))}


def test_the_worst_sample_decides():
    feeds = [{"image": np.zeros(PICTURE.shape, np.float32)} for _ in range(3)]

    found = measured(
        Offset(0.0, 0.1, 0.001), feeds, feeds, inputs=[(PICTURE, NHWC)], outputs=[(PICTURE, NHWC)]
    )

    assert found.entry().worst_psnr_db == pytest.approx(26.0, abs=0.1)
    assert found.entry().max_abs == pytest.approx(0.1)
    assert found.entry().samples == 3
    assert "26.0 dB" in (missed_bar(found, "int8") or "")


def test_fp32_is_judged_by_its_largest_difference():
    assert missed_bar(Parity((95.0,), (0.9e-4,)), "fp32") is None
    assert "more than 0.0001" in (missed_bar(Parity((120.0,), (1.1e-4,)), "fp32") or "")
