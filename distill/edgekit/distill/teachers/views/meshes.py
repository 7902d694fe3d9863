"""Captioned meshes from a folder, split by caption.

The folder has `index.csv` with the columns `id` and `caption`, and `npz/<id>.npz` with `v` (V x 3),
`f` (T x 3) and `c` (T x 3 bytes, sRGB), y up and the front towards +z.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.distill.teachers.views.solids import RADIUS, ColoredMesh

HELD_OUT = 0.1
"""Share of the captions that nothing is trained on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A mesh on disk and the words for it."""

    path: Path
    caption: str

    @property
    def held_out(self) -> bool:
        """Whether its caption is for tests alone; the same for all meshes that share it."""
        digest = hashlib.sha256(self.caption.encode()).digest()
        return int.from_bytes(digest[:4]) < HELD_OUT * 2**32


def read_index(folder: Path) -> list[Entry]:
    """Return the meshes that `folder` lists, in the order of their files' names.

    Raises BadInput if there is no list, or one of its files is missing.
    """
    listing = folder / "index.csv"
    if not listing.is_file():
        raise BadInput(f"{listing} does not exist", hint="name a folder of captioned meshes")
    with listing.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    if not rows or not {"id", "caption"} <= rows[0].keys():
        raise BadInput(
            f"{listing} has no rows with the columns id and caption", hint="write them there"
        )
    entries = [
        Entry(folder / "npz" / f"{row['id']}.npz", " ".join(row["caption"].lower().split()))
        for row in rows
    ]
    missing = [entry.path for entry in entries if not entry.path.is_file()]
    if missing:
        raise BadInput(
            f"{len(missing)} of {len(entries)} meshes are missing, the first is {missing[0]}",
            hint="complete the folder, or take the rows out of index.csv",
        )
    return sorted(entries, key=lambda entry: entry.path.name)


def read_mesh(entry: Entry) -> ColoredMesh:
    """Return a mesh, moved and scaled to reach as far from the origin as toys do.

    Raises BadInput if the file is damaged or holds no surface.
    """
    try:
        with np.load(entry.path) as file:
            vertices = file["v"].astype(np.float32)
            triangles = file["f"].astype(np.int64)
            colors = file["c"].astype(np.float32) / 255
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"{entry.path} is no mesh: {error}", hint="it needs the arrays v, f and c"
        ) from error
    usable = triangles.size and vertices.size and 0 <= triangles.min() <= triangles.max()
    if not usable or triangles.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise BadInput(f"{entry.path} holds no surface", hint="take its row out of index.csv")
    centered = vertices - (vertices.max(0) + vertices.min(0)) / 2
    reach = float(np.linalg.norm(centered, axis=1).max())
    if reach == 0 or len(colors) not in (len(triangles), len(vertices)):
        raise BadInput(f"{entry.path} holds no surface", hint="take its row out of index.csv")
    return ColoredMesh(centered * np.float32(RADIUS / reach), triangles, colors)
