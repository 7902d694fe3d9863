import io
import threading
import time

import numpy as np
import pytest

from edgekit.core.errors import BadInput
from edgekit.runtime import Latest, live
from edgekit.runtime.sessions.fake import fake_bundle, fake_image_session
from edgekit.runtime.video import raw_frames


def frame(number: int) -> np.ndarray:
    return np.full((16, 16, 3), number, np.uint8)


def test_a_camera_faster_than_the_model_drops_frames_and_never_queues():
    session_of = fake_bundle(size=16, seconds=0.03)

    def camera():
        for number in range(30):
            time.sleep(0.005)
            yield frame(number)

    shown = list(live(session_of.edit, camera()))

    assert shown[-1].number == 29
    assert len(shown) < 30
    assert len(shown) + sum(row.dropped for row in shown) == 30
    assert all(row.photo.max() == 255 - row.number for row in shown)
    # Nothing waits: what is edited is at most what came during the edit before, and one read.
    assert [row.number for row in shown] == sorted(row.number for row in shown)


def test_a_camera_slower_than_the_model_loses_nothing():
    def camera():
        for number in range(4):
            time.sleep(0.05)
            yield frame(number)

    shown = list(live(lambda photo: photo, camera()))

    assert [(row.number, row.dropped) for row in shown] == [(n, 0) for n in range(4)]


def test_a_camera_that_calls_back_fills_a_slot():
    slot: Latest[np.ndarray] = Latest()
    for number in range(3):
        slot.put(frame(number))
    slot.close()

    (shown,) = live(lambda photo: photo, slot)

    assert (shown.number, shown.dropped, shown.photo.max()) == (2, 2, 2)


def test_what_the_camera_raises_is_raised_where_frames_are_shown():
    def camera():
        yield frame(1)
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        list(live(lambda photo: photo, camera()))


def test_who_stops_looking_stops_the_camera():
    reads = []
    ended = threading.Event()

    def camera():
        try:
            while True:
                reads.append(1)
                time.sleep(0.002)
                yield frame(0)
        finally:
            ended.set()

    for _ in live(lambda photo: photo, camera()):
        break

    assert ended.wait(2)


def test_raw_frames_come_from_a_pipe_that_gives_parts():
    class Pipe(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 7))

    data = np.arange(2 * 4 * 5 * 3, dtype=np.uint8)

    got = list(raw_frames(Pipe(data.tobytes()), 5, 4))

    np.testing.assert_array_equal(np.stack(got), data.reshape(2, 4, 5, 3))


def test_a_video_of_another_size_is_one_sentence():
    with pytest.raises(BadInput, match="ends with 10 of 60 bytes") as failed:
        list(raw_frames(io.BytesIO(bytes(70)), 5, 4))

    assert "5x4" in str(failed.value.hint)


def test_the_fake_keeps_what_it_was_fed_and_takes_its_time():
    session = fake_image_session(size=4, seconds=0.02)
    image = np.ones((1, 3, 4, 4), np.float32)
    start = time.perf_counter()

    session.run({"image": image})

    assert time.perf_counter() - start >= 0.02
    np.testing.assert_array_equal(session.calls[0]["image"], image)
