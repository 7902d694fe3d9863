"""Make faces.json: faces cut out of a photo and put back, for the web demo.

python -m tests.golden.faces

photo       RGB bytes, base64
cases       five points of a face; the crop of it; what it might be restored to; the photo with that
code        an identity code's values and its file
"""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tests.golden.bundles import numbers
from tests.students import smooth_photos

from edgekit.core.identity import IdentityCode, write_identity
from edgekit.distill.faces.cut import cut_out
from edgekit.distill.faces.points import crop_transform
from edgekit.runtime.paste import pasted

GOLDEN = Path(__file__).parent / "faces.json"
CASES = {
    "upright": ([(28, 24), (44, 24), (36, 33), (30, 42), (43, 42)], 48),
    "turned, finer than the photo": ([(30, 22), (43, 28), (33, 33), (26, 37), (37, 43)], 56),
    "large in the photo": ([(22, 20), (52, 18), (38, 36), (27, 50), (50, 49)], 24),
    "at the border": ([(4, 8), (15, 6), (10, 13), (6, 19), (15, 18)], 32),
    "from the side": ([(40, 20), (46, 20), (48, 30), (42, 40), (46, 40)], 24),
}


def text() -> str:
    """Return the file's content."""
    photo = np.ascontiguousarray(smooth_photos(1, 72, seed=11)[0][:60])
    rows = []
    for number, (name, (points, size)) in enumerate(CASES.items()):
        five = np.array(points, np.float32)
        matrix = crop_transform(five, size)
        crop = cut_out(photo, matrix, size)
        restored = np.ascontiguousarray(smooth_photos(1, size, seed=number)[0])
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
    }
    return json.dumps(value, indent=1) + "\n"


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
