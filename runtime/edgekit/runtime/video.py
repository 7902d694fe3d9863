"""Video as it comes: the newest frame is edited; those that came meanwhile are dropped, not queued.

A queue would show a picture that is older with every frame. Here a thread reads the camera, one
slot holds its newest frame, and whoever shows the pictures edits what is in the slot:

    for frame in live(bundle.edit, camera):
        window.show(frame.photo)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Generic, TypeVar

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.core.tensors import Photo

_T = TypeVar("_T")


class Latest(Generic[_T]):
    """A slot for the newest value: `put` never waits, iterating waits for a value not yet seen.

    For cameras that call back: call `put` in the callback, `close` at the end, and hand the slot to
    `live` as its frames. One iteration at a time.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._changed = threading.Condition()
        self._value: _T | None = None
        self._closed = False
        self._error: BaseException | None = None
        self.offered = 0
        """How many values were put."""

    def put(self, value: _T) -> None:
        """Take `value`; one that nobody has taken is dropped for it."""
        with self._changed:
            self.offered += 1
            self._value = value
            self._changed.notify()

    def close(self, error: BaseException | None = None) -> None:
        """Say that no more values come; `error` is raised where they are taken."""
        with self._changed:
            self._closed, self._error = True, error
            self._changed.notify()

    def taken(self) -> tuple[int, _T] | None:
        """Wait for a new value and return its number, from 0, and itself; None after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._value is not None or self._closed)
            if self._value is not None:
                value, self._value = self._value, None
                return self.offered - 1, value
            if self._error is not None:
                raise self._error
            return None

    def __iter__(self) -> Iterator[_T]:
        """Give values until `close`."""
        while (found := self.taken()) is not None:
            yield found[1]


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """One edited frame."""

    photo: Photo
    number: int
    """Of the frame, as the camera gave them, from 0."""
    dropped: int
    """Frames that came and went since the edited one before."""
    seconds: float
    """What the edit took."""


def live(edit: Callable[[Photo], Photo], frames: Iterable[Photo]) -> Iterator[LiveFrame]:
    """Edit the newest of `frames` again and again, in the caller's thread, until they end.

    `frames` is read by a thread of its own as fast as it gives; a `Latest` is read directly. The
    last frame is always edited. What reading or editing raises is raised here; a caller that stops
    early ends the reading after the frame that it waits for.

    >>> same = np.zeros((2, 2, 3), np.uint8)
    >>> [frame.number for frame in live(lambda photo: photo, [same])]
    [0]
    """
    slot = frames if isinstance(frames, Latest) else Latest[Photo]()
    stopped = threading.Event()
    if slot is not frames:
        threading.Thread(target=_read, args=(frames, slot, stopped), daemon=True).start()
    last = -1
    try:
        while (found := slot.taken()) is not None:
            number, photo = found
            start = time.perf_counter()
            edited = edit(photo)
            spent = time.perf_counter() - start
            yield LiveFrame(edited, number, number - last - 1, spent)
            last = number
    finally:
        stopped.set()


def _read(frames: Iterable[Photo], slot: Latest[Photo], stopped: threading.Event) -> None:
    try:
        for frame in frames:
            if stopped.is_set():
                return
            slot.put(frame)
    except BaseException as error:  # whatever it is belongs to the thread that takes the frames
        slot.close(error)
    else:
        slot.close()


def raw_frames(stream: IO[bytes], width: int, height: int) -> Iterator[Photo]:
    """Give the frames of a stream of raw RGB bytes: ``ffmpeg … -f rawvideo -pix_fmt rgb24 -``.

    Raises BadInput if the stream ends inside a frame: then the size is another one.
    """
    size = width * height * 3
    number = 0
    while data := stream.read(size):
        while len(data) < size and (more := stream.read(size - len(data))):  # a pipe gives parts
            data += more
        if len(data) < size:
            raise BadInput(
                f"the video ends with {len(data)} of {size} bytes in frame {number}",
                hint=f"give the size that the frames have: {width}x{height} it is not",
            )
        yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
        number += 1
