"""An egg with eyes, in the form of a head model: what the renderer needs, and nobody's work."""

import json
import math
from pathlib import Path

import numpy as np

ROWS, COLUMNS = 40, 60


def template() -> np.ndarray:
    """68 places on a face from the front, x and y in centimetres."""
    turn = np.linspace(math.pi, 2 * math.pi, 17)
    jaw = np.stack([7.0 * np.cos(turn), 3 + 9.5 * np.sin(turn)], 1)
    brow = np.stack([np.linspace(-5.5, -1.2, 5), [5.2, 6, 6.2, 6.1, 5.9]], 1)
    nose = [[0, 3.7], [0, 2.6], [0, 1.6], [0, 0.4]]
    nose += [[x, -1.1] for x in (-1.3, -0.6, 0, 0.6, 1.3)]
    eye = [[-4.5, 3.4], [-3.9, 3.9], [-2.8, 3.9], [-1.8, 3.3], [-2.7, 3.0], [-3.9, 3.0]]
    other = [[-x, y] for x, y in (eye[i] for i in (3, 2, 1, 0, 5, 4))]
    outer = np.linspace(math.pi, -math.pi, 13)[:-1]
    inner = np.linspace(math.pi, -math.pi, 9)[:-1]
    mouth = np.stack([2.5 * np.cos(outer), -3.4 + np.sin(outer)], 1)
    inside = np.stack([2.1 * np.cos(inner), -3.4 + 0.2 * np.sin(inner)], 1)
    flipped = np.stack([-brow[::-1, 0], brow[::-1, 1]], 1)
    return np.concatenate([jaw, brow, flipped, nose, eye, other, mouth, inside])


def ball(rows: int, columns: int, center: tuple, radii: tuple) -> tuple[np.ndarray, ...]:
    """Places, texture places and quads of an ellipsoid."""
    down = np.linspace(0.04, math.pi - 0.04, rows)[:, None]
    turn = np.linspace(-math.pi, math.pi, columns)[None]
    unit = np.stack(
        [np.sin(down) * np.sin(turn), np.cos(down) + 0 * turn, np.sin(down) * np.cos(turn)], -1
    )
    uv = np.stack([0 * down + (turn / (2 * math.pi) + 0.5), 1 - down / math.pi + 0 * turn], -1)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    quads = np.stack([corner, corner + columns, corner + columns + 1, corner + 1], 1)
    places = (unit * radii + center).reshape(-1, 3)
    return places, uv.reshape(-1, 2) * 0.98 + 0.01, quads


def fields() -> dict:
    places, uv, quads, material, start = [], [], [], [], 0
    parts = [
        (ROWS, COLUMNS, (0.0, 3.0, 1.0), (7.6, 11.0, 9.6)),
        (16, 24, (-3.1, 3.5, 8.1), (1.5, 1.5, 1.5)),
        (16, 24, (3.1, 3.5, 8.1), (1.5, 1.5, 1.5)),
    ]
    for number, part in enumerate(parts):
        own, texture, corners = ball(*part)
        places.append(own)
        uv.append(texture)
        quads.append(corners + start)
        material.append(np.full(len(corners), number))
        start += len(own)
    neutral = np.concatenate(places).astype(np.float32)
    skin = neutral[: ROWS * COLUMNS]
    front = np.where(skin[:, 2] > 2, 0, 99)
    marks = [int((np.hypot(*(skin[:, :2] - point).T) + front).argmin()) for point in template()]
    names = ["jawOpen", "mouthSmile_L", "mouthSmile_R", "eyeBlink_L", "eyeBlink_R"]
    names += ["browInnerUp_L", "browInnerUp_R", "identity000", "identity001", "identity002"]
    below = np.clip(-2 - neutral[:, 1], 0, None)[:, None]
    delta = np.zeros((len(names), *neutral.shape), np.float16)
    delta[0] = below * [0, -0.3, 0]
    for number, direction in ((7, [0.08, 0, 0]), (8, [0, 0.08, 0]), (9, [0, 0, 0.08])):
        delta[number] = neutral * direction
    return {
        "neutral": neutral,
        "uv": np.concatenate(uv).astype(np.float32),
        "quads": np.concatenate(quads).astype(np.int32),
        "quads_uv": np.concatenate(quads).astype(np.int32),
        "material": np.concatenate(material).astype(np.int8),
        "material_names": np.array(["M_Face", "M_ScleraRight", "M_ScleraLeft"]),
        "delta": delta,
        "delta_names": np.array(names),
        "vertex_indices": np.array(
            json.dumps({"expressions": names[:7], "idx_to_landmark_verts": marks})
        ),
    }


def write_toy_head(path: Path) -> Path:
    np.savez(path, **fields())
    return path


def write_toy_objs(folder: Path) -> Path:
    """The same head as ICT-FaceKit gives it: one OBJ for the neutral and for each shape."""
    head = fields()
    folder.mkdir(parents=True)
    (folder / "vertex_indices.json").write_text(str(head["vertex_indices"]))
    shapes = {"generic_neutral_mesh": head["neutral"]}
    for name, delta in zip(head["delta_names"], head["delta"], strict=True):
        shapes[str(name)] = head["neutral"] + delta.astype(np.float32)
    for name, places in shapes.items():
        lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in places]
        if name == "generic_neutral_mesh":
            lines += [f"vt {u:.6f} {v:.6f}" for u, v in head["uv"]]
            last = -1
            for quad, material in zip(head["quads"], head["material"], strict=True):
                if material != last:
                    lines.append(f"usemtl {head['material_names'][material]}")
                    last = material
                lines.append("f " + " ".join(f"{i + 1}/{i + 1}" for i in quad))
        (folder / f"{name}.obj").write_text("\n".join(lines) + "\n")
    return folder
