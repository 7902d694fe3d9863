"""How an app that uses bundles tests itself: with a fake, so without a model, a runtime or a GPU.

python -m pytest examples/app_test.py
"""

from __future__ import annotations

import numpy as np

from edgekit.runtime import OpenBundle, live
from edgekit.runtime.sessions.fake import fake_bundle


def thumbnail(bundle: OpenBundle, photo: np.ndarray) -> np.ndarray:
    """What stands for the app: an edited photo at a quarter of its size."""
    return bundle.edit(photo, max_side=max(photo.shape[:2]) // 4)


def test_a_thumbnail_is_a_quarter_and_edited() -> None:
    """The default fake gives the negative of a photo of any size."""
    made = thumbnail(fake_bundle(size=16), np.zeros((80, 120, 3), np.uint8))

    assert made.shape == (20, 30, 3)
    assert made.min() == 255


def test_a_slow_model_drops_frames_and_shows_the_last() -> None:
    """`seconds` stands for a slow device; the camera here gives all frames at once."""
    frames = [np.full((16, 16, 3), number, np.uint8) for number in range(20)]

    shown = list(live(fake_bundle(size=16, seconds=0.02).edit, frames))

    assert shown[-1].number == 19
    assert len(shown) + sum(frame.dropped for frame in shown) == 20
