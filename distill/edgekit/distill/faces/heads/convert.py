"""ICT-FaceKit's folder of OBJ files to the one file that edgekit reads.

Every OBJ of the folder has the neutral's vertices in the same order, so a shape is the difference
of two lists of places.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.core.progress import Report, silent
from edgekit.core.store import write_bytes

NEUTRAL = "generic_neutral_mesh.obj"
NAMES = "vertex_indices.json"
HINT = "name the folder FaceXModel of a checkout of ICT-FaceKit"


class Mesh(NamedTuple):
    """One OBJ: places, texture places, quads of both and the material of each quad."""

    places: np.ndarray
    uv: np.ndarray
    quads: np.ndarray
    quads_uv: np.ndarray
    material: np.ndarray
    material_names: list[str]


def convert_head_model(folder: Path, out: Path, *, report: Report = silent) -> dict[str, int]:
    """Write the head model of a folder of OBJ files; return what it holds.

    Raises BadInput if the folder lacks the neutral mesh or the names, or a shape has other
    vertices.
    """
    for name in (NEUTRAL, NAMES):
        if not (folder / name).is_file():
            raise BadInput(f"{folder} lacks {name}", hint=HINT)
    try:
        named = json.loads((folder / NAMES).read_text(encoding="utf-8"))
        wanted = list(named["expressions"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder / NAMES} names no expressions", hint=HINT) from error
    identities = sorted(path.stem for path in folder.glob("identity*.obj"))
    if not identities:
        raise BadInput(f"{folder} holds no identity shapes", hint=HINT)
    neutral = read_obj(folder / NEUTRAL)
    names = [*wanted, *identities]
    deltas = np.empty((len(names), *neutral.places.shape), np.float16)
    for done, name in enumerate(names):
        report("shapes", done, len(names))
        path = folder / f"{name}.obj"
        if not path.is_file():
            raise BadInput(f"{folder} lacks {path.name}", hint=HINT)
        places = _places(path)
        if places.shape != neutral.places.shape:
            raise BadInput(
                f"{path} has {len(places)} vertices, the neutral mesh {len(neutral.places)}",
                hint=HINT,
            )
        deltas[done] = places - neutral.places
    report("shapes", len(names), len(names))
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        neutral=neutral.places,
        uv=neutral.uv,
        quads=neutral.quads,
        quads_uv=neutral.quads_uv,
        material=neutral.material,
        material_names=np.array(neutral.material_names),
        delta=deltas,
        delta_names=np.array(names),
        vertex_indices=np.array(json.dumps(named)),
    )
    write_bytes(out, buffer.getvalue())
    return {
        "vertices": len(neutral.places),
        "identities": len(identities),
        "expressions": len(wanted),
        "bytes": out.stat().st_size,
    }


def read_obj(path: Path) -> Mesh:
    """Read an OBJ of triangles and quads with texture places; a triangle repeats its last corner.

    Raises BadInput for a file that is none.
    """
    places, uv, quads, quads_uv, material = [], [], [], [], []
    names: list[str] = []
    try:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                places.append([float(v) for v in rest.split()[:3]])
            elif kind == "vt":
                uv.append([float(v) for v in rest.split()[:2]])
            elif kind == "usemtl":
                if rest.strip() not in names:
                    names.append(rest.strip())
                current = names.index(rest.strip())
            elif kind == "f":
                corners = [corner.split("/") for corner in rest.split()]
                if len(corners) not in (3, 4):
                    raise ValueError(f"a face has {len(corners)} corners")
                corners += [corners[-1]] * (4 - len(corners))
                quads.append([int(corner[0]) - 1 for corner in corners])
                quads_uv.append([int(corner[1]) - 1 for corner in corners])
                material.append(current if names else 0)
        if not places or not quads:
            raise ValueError("it holds no faces")
    except (OSError, ValueError, IndexError) as error:
        raise BadInput(f"{path} is no mesh that can be read: {error}", hint=HINT) from error
    return Mesh(
        np.array(places, np.float32),
        np.array(uv, np.float32).reshape(-1, 2),
        np.array(quads, np.int32),
        np.array(quads_uv, np.int32),
        np.array(material, np.int8),
        names or ["M_Face"],
    )


def _places(path: Path) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        rows = [line.split()[1:4] for line in lines if line.startswith("v ")]
        return np.array(rows, np.float32).reshape(-1, 3)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is no mesh that can be read: {error}", hint=HINT) from error
