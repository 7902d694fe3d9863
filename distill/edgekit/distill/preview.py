"""Contact sheets: rows of photos, columns of what was made of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from edgekit.core.store import write_bytes
from edgekit.core.tensors import Photos

GAP = 4


def write_preview(path: Path, columns: Sequence[Photos]) -> None:
    """Write one PNG: a row a photo, a column each of `columns` (source, teacher, student)."""
    count, height, width = columns[0].shape[:3]
    sheet = np.full(
        (count * (height + GAP) - GAP, len(columns) * (width + GAP) - GAP, 3), 255, np.uint8
    )
    for across, photos in enumerate(columns):
        for down, photo in enumerate(photos):
            top, left = down * (height + GAP), across * (width + GAP)
            sheet[top : top + height, left : left + width] = photo
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())
