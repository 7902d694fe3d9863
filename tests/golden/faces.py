"""Make faces.json: faces found, cut out of a photo and put back, for the page and the apps.

python -m tests.golden.faces

photo       RGB bytes, base64
cases       five points of a face; the crop of it; what it might be restored to; the photo with that
code        an identity code's values and its file
found       faces of the photo by nets that always say the same: what they say, what they were
            given (the mean of each call's input), and the faces that follow; the values of the mesh
            are 468 x 3 of float32, little-endian, base64
"""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.golden.bundles import numbers
from tests.students import smooth_photos

from edgekit.core.identity import IdentityCode, write_identity
from edgekit.distill.faces import detect
from edgekit.distill.faces.cut import cut_out
from edgekit.distill.faces.points import LEFT_EYE, RIGHT_EYE, crop_transform
from edgekit.runtime.paste import pasted

GOLDEN = Path(__file__).parent / "faces.json"
CASES = {
    "upright": ([(28, 24), (44, 24), (36, 33), (30, 42), (43, 42)], 48),
    "turned, finer than the photo": ([(30, 22), (43, 28), (33, 33), (26, 37), (37, 43)], 56),
    "large in the photo": ([(22, 20), (52, 18), (38, 36), (27, 50), (50, 49)], 24),
    "at the border": ([(4, 8), (15, 6), (10, 13), (6, 19), (15, 18)], 32),
    "from the side": ([(40, 20), (46, 20), (48, 30), (42, 40), (46, 40)], 24),
    "large, changed a little": ([(22, 20), (52, 18), (38, 36), (27, 50), (50, 49)], 24),
    "at the border, hardly changed": ([(4, 8), (15, 6), (10, 13), (6, 19), (15, 18)], 32),
}
CHANGED = {"large, changed a little": 0.2, "at the border, hardly changed": 0.1}
"""How far towards another picture a crop is restored; all the way where no share is named."""
SEEN = {
    "face_detection_short_range": (
        896,
        ((300, 3.0, (5.0, 4.0, 40.0, 40.0, -6.0, -2.0, 9.0, -1.0)),
         (301, 2.5, (5.5, 4.0, 41.0, 40.0, -6.0, -2.0, 9.0, -1.0)),
         (800, 1.25, (-30.0, -30.0, 30.0, 34.0, -40.0, -35.0, -24.0, -33.0))),
    ),
    "face_detection_full_range": (
        2304,
        ((1000, 2.75, (3.0, 8.0, 66.0, 60.0, -8.0, 2.0, 14.0, 4.0)),
         (2000, 0.5, (0.0, 0.0, 20.0, 20.0, -4.0, -4.0, 4.0, -4.0))),
    ),
}  # fmt: skip
"""Net -> its places, and what it says at some of them: place, logit, and the first eight values."""
QUIET = -4.0
"""Logit of all other places."""
FLAGS = (1.0, 2.5, 1.0, 1.0, 0.25, 1.0, 1.0, -1.0, 1.0)
"""Logits of the mesh net, call by call, and again from the start."""
STEP = 0.25
"""What each call of the mesh net adds to all its values. In each third call, which sees the mirror
image, depths have the other sign before."""


def text() -> str:
    """Return the file's content."""
    photo = np.ascontiguousarray(smooth_photos(1, 72, seed=11)[0][:60])
    rows = []
    for number, (name, (points, size)) in enumerate(CASES.items()):
        five = np.array(points, np.float32)
        matrix = crop_transform(five, size)
        crop = cut_out(photo, matrix, size)
        restored = np.ascontiguousarray(smooth_photos(1, size, seed=number)[0])
        share = CHANGED.get(name, 1.0)
        restored = np.round(crop + share * (restored.astype(np.float64) - crop)).astype(np.uint8)
        made = pasted(photo, crop, restored, matrix)
        rows.append(
            {
                "name": name,
                "points": numbers(five),
                "size": size,
                "matrix": numbers(matrix),
                "crop": _bytes(crop),
                "restored": _bytes(restored),
                "pasted": _bytes(made),
            }
        )
    height, width = photo.shape[:2]
    value: dict[str, Any] = {
        "photo": {"width": width, "height": height, "data": _bytes(photo)},
        "cases": rows,
        "code": _code(),
        "found": _found(photo),
    }
    return json.dumps(value, indent=1) + "\n"


def _found(photo: np.ndarray) -> dict[str, Any]:
    """Return what is found with nets that ignore what they see, and what they were given."""
    mesh = _mesh()
    calls: list[dict[str, Any]] = []

    def run(net: str, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        number = sum(call["net"] == net for call in calls)
        calls.append({"net": net, "mean": float(batch.mean(dtype=np.float64))})
        if net not in SEEN:
            turned = mesh * np.tile([1, 1, -1 if number % 3 == 2 else 1], 468)
            said = (turned + STEP * number).astype(np.float32)
            return said, np.array([FLAGS[number % len(FLAGS)]])
        places, rows = SEEN[net]
        values, logits = np.zeros((places, 16), np.float32), np.full(places, QUIET, np.float32)
        for place, logit, said in rows:
            values[place, : len(said)], logits[place] = said, logit
        return values, logits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detect, "_run", run)
        faces = detect.found_faces(photo)
    assert 1 < len(faces) < sum(call["net"] == "face_landmark" for call in calls) / 3
    return {
        "nets": [
            {
                "name": net,
                "places": places,
                "quiet": QUIET,
                "said": [{"place": p, "logit": g, "values": list(v)} for p, g, v in rows],
            }
            for net, (places, rows) in SEEN.items()
        ],
        "mesh": {"values": _bytes(mesh), "step": STEP, "flags": list(FLAGS)},
        "calls": calls,
        "faces": [
            {
                "points": numbers(face.five),
                "score": face.score,
                "side": face.side_px,
                "yaw": face.pose[0],
            }
            for face in faces
        ],
    }


def _mesh() -> np.ndarray:
    """Return 468 points with depth that lie about as a face's do, as exact quarters."""
    random = np.random.default_rng(9)
    mesh = random.integers(-8, 9, (468, 3)).astype(np.float32) / 4
    mesh[:, :2] += random.integers(56, 137, (468, 2))
    places = ((72, 82), (120, 80), (97, 108), (78, 132), (115, 131))
    for some, place in zip(five_points(), places, strict=True):
        for i in some:
            mesh[i, :2] = np.array(place) + random.integers(-8, 9, 2) / 4
    mesh[[127, 234], :2], mesh[[356, 454], :2] = (44, 96), (150, 94)
    mesh[[127, 234], 2], mesh[[356, 454], 2] = 10, 24
    return mesh.reshape(-1)


def five_points() -> list[tuple[int, ...]]:
    """Return the points of the mesh that make each of the five."""
    eyes = [sum(detect.DENSE[some], ()) for some in (RIGHT_EYE, LEFT_EYE)]
    return [*eyes, *(detect.DENSE[i] for i in (30, 48, 54))]


def _code() -> dict[str, Any]:
    """Return a code and its file; the values are of every size that a half has."""
    random = np.random.default_rng(5)
    values = random.normal(size=(4, 8)) * 10.0 ** random.integers(-8, 5, (4, 8))
    values[0, :4] = (0.0, 1 / 3, 65504.0, -(2.0**-24))
    code = IdentityCode(values.astype(np.float32), "ab" * 32, photos=3, threshold=0.4375)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "me.code"
        write_identity(path, code)
        data = path.read_bytes()
    return {"values": numbers(code.values), "file": base64.b64encode(data).decode()}


def _bytes(photo: np.ndarray) -> str:
    return base64.b64encode(photo.tobytes()).decode()


if __name__ == "__main__":
    GOLDEN.write_text(text(), encoding="utf-8")
