"""An independent recognizer: tells whether two aligned faces are of one person.

dlib's ResNet-29 (CC0) gives 128 numbers a face; photos of one person are usually less than 0.5
apart, of two people more than 0.6. Used to check sets and to score results, never inside a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.errors import DependencyMissing
from edgekit.core.images import resized
from edgekit.core.tensors import Photo

SAME = 0.6
"""Farther apart, two photos are taken for those of two people; dlib's own threshold."""
FACE = (0.22, 0.27, 0.78, 0.83)
"""Left, top, right and bottom of the face in an aligned crop, as shares of its side."""
SIDE_PX = 256


def installed() -> bool:
    """Tell whether the recognizer's two packages are there."""
    return find_spec("dlib") is not None and find_spec("face_recognition_models") is not None


def descriptors(photos: Sequence[Photo]) -> np.ndarray:
    """Return N x 128 descriptors of aligned crops; their Euclidean distance is what counts.

    Raises DependencyMissing if the packages of the extra ``recognition`` are not there.
    """
    net, predictor, rectangle = _loaded()
    found = []
    for photo in photos:
        picture = resized(photo, SIDE_PX, SIDE_PX)
        shape = predictor(picture, rectangle)
        found.append(np.array(net.compute_face_descriptor(picture, shape), np.float32))
    return np.stack(found) if found else np.zeros((0, 128), np.float32)


@lru_cache(maxsize=1)
def _loaded() -> tuple[Any, Any, Any]:
    if not installed():
        raise DependencyMissing("dlib-bin or face-recognition-models", extra="recognition")
    import dlib

    spec = find_spec("face_recognition_models")  # its own code wants an old setuptools
    assert spec is not None
    assert spec.submodule_search_locations
    models = Path(next(iter(spec.submodule_search_locations))) / "models"
    net = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))
    predictor = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    return net, predictor, dlib.rectangle(*(round(share * SIDE_PX) for share in FACE))
