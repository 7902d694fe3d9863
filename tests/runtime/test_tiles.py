import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.runtime.pipeline import tile_editor
from edgekit.runtime.sessions import open_session
from edgekit.runtime.sessions.fake import fake_image_session
from edgekit.runtime.tiles import axis, edit_tiled

SIDE = 32
sizes = st.integers(1, 150)


def photo_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def editor(function, *, size: int = SIDE, layout: str = "nchw"):
    session = fake_image_session(function, size=size, layout=layout)
    return tile_editor(session, session.inputs[0], session.outputs[0])


def blurred(image: np.ndarray) -> np.ndarray:
    """A 5x5 mean with the border repeated: it looks two pixels far, in any size of picture."""
    padded = np.pad(image, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    height, width = image.shape[2:]
    views = [padded[:, :, y : y + height, x : x + width] for y in range(5) for x in range(5)]
    return (sum(views) / 25).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(length=st.integers(16, 900), side=st.sampled_from([16, 17, 32, 128]))
def test_the_weights_of_all_tiles_sum_to_one_everywhere(length, side):
    length = max(length, side)
    cover = axis(length, side)
    total = np.zeros(length)
    for start, weight in zip(cover.starts, cover.weights, strict=True):
        total[start : start + side] += weight

    assert np.abs(total - 1).max() < 1e-6
    assert cover.weights.min() >= 0
    assert (cover.starts[0], cover.starts[-1]) == (0, length - side)


def test_a_tile_has_no_say_in_its_outer_margin():
    weights = axis(200, 64).weights

    assert weights[0, -4:].max() == weights[1, :4].max() == 0
    assert weights[0, :16].min() == 1


@settings(max_examples=60, deadline=None)
@given(height=sizes, width=sizes, layout=st.sampled_from(["nchw", "nhwc"]))
def test_an_edit_of_single_pixels_is_exactly_the_untiled_one(height, width, layout):
    photo = photo_of(height, width)

    edited = edit_tiled(photo, editor(np.negative, layout=layout), tile=(SIDE, SIDE))

    np.testing.assert_array_equal(edited, 255 - photo)


@pytest.mark.parametrize(("height", "width"), [(32, 33), (100, 97), (300, 64), (65, 131)])
def test_an_edit_that_looks_as_far_as_the_margin_is_the_untiled_one(height, width):
    photo = photo_of(height, width)
    whole = blurred(photo.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
    expected = np.rint((whole[0].transpose(1, 2, 0) + 1) * 127.5)

    edited = edit_tiled(photo, editor(blurred), tile=(SIDE, SIDE))

    different = np.abs(edited - expected)
    assert different.max() <= 1  # a mean that lies halfway between two levels may round either way
    assert (different > 0).mean() < 1e-3


def test_a_tone_that_differs_from_tile_to_tile_leaves_no_step():
    tones = iter(np.resize([-0.4, 0.4], 1000))
    flat = np.full((200, 200, 3), 128, np.uint8)

    edited = edit_tiled(
        flat, editor(lambda image: image * 0 + np.float32(next(tones))), tile=(SIDE, SIDE)
    )

    steps = np.abs(np.diff(edited.astype(int), axis=1)).max()
    jump = 0.8 * 127.5
    assert np.ptp(edited) > 0.9 * jump  # the tiles do differ …
    assert steps < 0.45 * jump  # … and a ramp of 4 pixels lies between them, not an edge


def test_a_photo_smaller_than_a_tile_keeps_its_size():
    photo = photo_of(16, 20)

    edited = edit_tiled(photo, editor(lambda image: image, size=64), tile=(64, 64))

    np.testing.assert_array_equal(edited, photo)


def test_progress_counts_every_tile():
    seen = []

    edit_tiled(
        photo_of(70, 40),
        editor(lambda image: image),
        tile=(SIDE, SIDE),
        report=lambda label, done, total, note="": seen.append((done, total)),
    )

    assert seen == [(n, len(seen)) for n in range(1, len(seen) + 1)]
    assert len(seen) == 6


def test_memory_grows_by_the_result_and_one_band_only():
    photo = np.zeros((1500, 2000, 3), np.uint8)
    edit = editor(lambda image: image, size=128)
    tracemalloc.start()

    edit_tiled(photo, edit, tile=(128, 128))

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    band = 128 * 2000 * 3 * 4
    assert peak < photo.nbytes + 5 * band


@pytest.mark.parametrize("arguments", [(10, 16), (0, 0)])
def test_an_axis_shorter_than_a_tile_is_refused(arguments):
    with pytest.raises(ValueError, match="length >= side"):
        axis(*arguments)


def toned_by_its_own_mean(file, size: int):
    """A real ONNX model whose every pixel depends on the whole tile: x + 2.5 * mean(x)."""
    from onnx import TensorProto, helper, save

    shape = [1, 3, size, size]
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
            helper.make_node("Mul", ["mean", "strength"], ["tone"]),
            helper.make_node("Add", ["image", "tone"], ["image_out"]),
        ],
        "toned",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("image_out", TensorProto.FLOAT, shape)],
        [helper.make_tensor("strength", TensorProto.FLOAT, [1], [2.5])],
    )
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        str(file),
    )
    return open_session(file)


def largest_step(photo: np.ndarray) -> int:
    levels = photo.astype(int)
    return max(np.abs(np.diff(levels, axis=0)).max(), np.abs(np.diff(levels, axis=1)).max())


def test_a_real_model_that_sees_its_whole_tile_leaves_no_seam(tmp_path):
    session = toned_by_its_own_mean(tmp_path / "toned.onnx", 64)
    edit = tile_editor(session, session.inputs[0], session.outputs[0])
    photo = np.full((64, 316, 3), 110, np.uint8)
    photo[:, :20] = 250  # only the first tile sees it, and becomes brighter as a whole

    blended = edit_tiled(photo, edit, tile=(64, 64))
    joined = edit_tiled(photo, edit, tile=(64, 64), overlap=0.001, margin=0.0)

    assert largest_step(joined[:, 30:]) > 50  # tiles side by side
    assert largest_step(blended[:, 30:]) < 25  # half of the step's height, over eight pixels
