"""Faces found in a photo, each with 68 landmarks, and the direction it looks.

BlazeFace (Bazarevsky et al. 2019, arXiv:1907.05047) finds boxes, in its form for near and in its
form for far faces; the mesh net (Kartynnik et al. 2019, arXiv:1907.06724) places 468 points with
depth, of which those named in `DENSE` are kept. Both are the files that run on phones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from edgekit.core.tensors import Photo
from edgekit.distill.faces.cut import cut_out
from edgekit.distill.faces.packages import interpreter
from edgekit.distill.faces.points import (
    LEFT_EYE,
    MIRRORED,
    RIGHT_EYE,
    Points,
    five_of,
    moved,
)

MESH_PX = 192
ROOM = 1.5
"""Side of what the mesh net sees, in sides of the face's box."""
MIN_SCORE = 0.5
OVERLAP = 0.3
"""Boxes that share more of their union are one face."""
DENSE: tuple[tuple[int, ...], ...] = (
    *((127,), (234,), (93,), (132, 58), (58, 172), (136,), (150,), (176,), (152,)),
    *((400,), (379,), (365,), (288, 397), (361, 288), (323,), (454,), (356,)),
    *((70,), (63,), (105,), (66,), (107,), (336,), (296,), (334,), (293,), (300,)),
    *((6, 168), (195, 197), (5,), (4,), (75,), (97,), (2,), (326,), (305,)),
    *((33,), (160,), (158,), (133,), (153,), (144,)),
    *((362,), (385,), (387,), (263,), (373,), (380,)),
    *((61,), (39,), (37,), (0,), (267,), (269,), (291,), (321,), (314,), (17,), (84,), (91,)),
    *((78,), (82,), (13,), (312,), (308,), (317,), (14,), (87,)),
)
"""Points of the mesh whose mean is each of the 68 landmarks."""
PITCH_OF_FRONTAL = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """One face of a photo, in the photo's pixels."""

    dense: Points
    """68 landmarks."""
    pose: tuple[float, float, float]
    """Yaw (positive: turned to the picture's right), pitch (positive: up), roll (positive:
    clockwise), in degrees."""
    score: float
    """Confidence of the mesh net that this is a face, from 0 to 1."""
    side_px: float
    """Side of the face's box."""

    @property
    def five(self) -> Points:
        """The five points."""
        return five_of(self.dense)


def found_faces(photo: Photo, *, min_score: float = MIN_SCORE) -> list[Found]:
    """Return the faces of `photo`, the largest first.

    Raises DependencyMissing if the nets are not installed.
    """
    faces = [meshed(photo, eyes, side) for eyes, side in boxes(photo)]
    sure = [face for face in faces if face.score >= min_score]
    distinct: list[Found] = []
    for face in sorted(sure, key=lambda face: -face.side_px):
        center = face.dense.mean(0)
        if all(
            np.hypot(*(center - other.dense.mean(0))) > 0.4 * other.side_px for other in distinct
        ):
            distinct.append(face)
    return distinct


def meshed(photo: Photo, eyes: Points, side_px: float) -> Found:
    """Place the mesh on the face whose `eyes` (2 x 2) and box side are about known.

    The net looks twice: the second time where its own first points say that the face is, and
    also at the mirror image; the mean of both is taken.
    """
    center = eyes.mean(0) + np.array([-_direction(eyes)[1], _direction(eyes)[0]]) * side_px * 0.18
    for look in range(2):
        along = _direction(eyes)
        scale = MESH_PX / (side_px * ROOM)
        turn = np.array([along, [-along[1], along[0]]]) * scale
        matrix = np.concatenate([turn, (MESH_PX / 2 - turn @ center)[:, None]], 1)
        back = np.linalg.inv(np.concatenate([matrix, [[0, 0, 1]]]))[:2]
        seen = cut_out(photo, matrix, MESH_PX)
        mesh, score = _mesh(seen)
        dense, pose = _dense(mesh), _pose(mesh)
        if look:
            mirrored, _ = _mesh(seen[:, ::-1])
            flipped = _dense(mirrored)[list(MIRRORED)]
            unflipped = np.stack([MESH_PX - flipped[:, 0], flipped[:, 1]], 1)
            dense = ((dense + unflipped) / 2).astype(np.float32)
            other = _pose(mirrored)
            pose = ((pose[0] - other[0]) / 2, (pose[1] + other[1]) / 2)
        there = moved(dense, back)
        eyes = np.stack([there[RIGHT_EYE].mean(0), there[LEFT_EYE].mean(0)])
        low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
        side_px = float((high - low).max()) / scale
        center = moved((low + high)[None] / 2, back)[0]
    along = _direction(eyes)
    roll = math.degrees(math.atan2(along[1], along[0]))
    return Found(there.astype(np.float32), (*pose, roll), score, side_px)


def _mesh(seen: Photo) -> tuple[np.ndarray, float]:
    """Return the 468 points with depth, in pixels of what is seen, and how surely it is a face."""
    points, flag = _run("face_landmark", seen.astype(np.float32)[None] / 255)
    logit = float(np.clip(flag.ravel()[0], -30, 30))
    return points.reshape(468, 3), 1 / (1 + math.exp(-logit))


def _dense(mesh: np.ndarray) -> Points:
    return np.stack([mesh[list(some), :2].mean(0) for some in DENSE]).astype(np.float32)


def boxes(photo: Photo) -> list[tuple[Points, float]]:
    """Return the eyes and the side of each box that BlazeFace finds, in the photo's pixels."""
    candidates = [
        *_candidates(photo, "face_detection_short_range", 0.0),
        *_candidates(photo, "face_detection_short_range", 0.5),
        *_candidates(photo, "face_detection_full_range", 0.0),
    ]
    candidates.sort(key=lambda one: -one[0])
    kept: list[tuple[float, np.ndarray, Points]] = []
    for score, box, eyes in candidates:
        if all(_overlap(box, other) < OVERLAP for _, other, _ in kept):
            kept.append((score, box, eyes))
    return [(eyes, float(max(box[2] - box[0], box[3] - box[1]))) for _, box, eyes in kept]


def _candidates(photo: Photo, net: str, border: float) -> list[tuple[float, np.ndarray, Points]]:
    """Return score, box (left, top, right, bottom) and eyes of what one net finds.

    `border` is how much empty room is left around the photo, in its longer sides: a face that fills
    the photo is found only with room around it.
    """
    height, width = photo.shape[:2]
    px = 192 if "full" in net else 128
    side = max(height, width) * (1 + border)
    scale = px / side
    offset = np.array([(side - width) / 2, (side - height) / 2])
    matrix = np.array([[scale, 0, offset[0] * scale], [0, scale, offset[1] * scale]])
    seen = cut_out(photo, matrix, px).astype(np.float32) / 127.5 - 1
    x, y = np.meshgrid(*[(np.arange(px) + 0.5) / scale] * 2)
    outside = (x < offset[0]) | (x > side - offset[0]) | (y < offset[1]) | (y > side - offset[1])
    seen[outside] = -1
    boxes, scores = _run(net, seen[None])
    logits = scores.reshape(-1)
    sure = np.flatnonzero(logits > 0)
    anchors = _anchors(net)[sure]
    values = boxes.reshape(-1, 16)[sure]
    found = []
    for logit, anchor, row in zip(logits[sure], anchors, values, strict=True):
        points = (row.reshape(8, 2) / px + anchor) * side - offset
        half = row[2:4] / px * side / 2
        box = np.concatenate([points[0] - half, points[0] + half])
        found.append((float(logit), box, points[2:4].astype(np.float32)))
    return found


@lru_cache(maxsize=2)
def _anchors(net: str) -> np.ndarray:
    """Return the centres, as shares of the side, that a net's outputs are relative to."""
    layers = ((48, 1),) if "full" in net else ((16, 2), (8, 6))
    centers = []
    for cells, repeats in layers:
        y, x = np.divmod(np.arange(cells * cells).repeat(repeats), cells)
        centers.append((np.stack([x, y], 1) + 0.5) / cells)
    return np.concatenate(centers)


@lru_cache(maxsize=4)
def _loaded(name: str) -> Any:
    return interpreter(name)


def _run(name: str, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run a net and return its outputs, the longer one first."""
    net = _loaded(name)
    net.set_tensor(net.get_input_details()[0]["index"], batch)
    net.invoke()
    outputs = [net.get_tensor(detail["index"]) for detail in net.get_output_details()]
    first, second = sorted(outputs, key=lambda output: -output.size)
    return first, second


def _direction(eyes: Points) -> np.ndarray:
    across = (eyes[1] - eyes[0]).astype(np.float64)
    direction: np.ndarray = across / max(float(np.hypot(*across)), 1e-6)
    return direction


def _pose(mesh: np.ndarray) -> tuple[float, float]:
    """Return yaw and pitch of a mesh that was seen upright; its z grows away from us."""
    across = mesh[[454, 356]].mean(0) - mesh[[234, 127]].mean(0)
    down = mesh[152] - mesh[10]
    yaw = math.degrees(math.atan2(across[2], across[0]))
    return yaw, math.degrees(math.atan2(-down[2], down[1])) - PITCH_OF_FRONTAL


def _overlap(one: np.ndarray, two: np.ndarray) -> float:
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])
    shared = float(np.prod((high - low).clip(min=0)))
    both = float(np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2]))
    return shared / max(both - shared, 1e-6)
