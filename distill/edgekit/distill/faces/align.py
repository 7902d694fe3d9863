"""One photo to one aligned crop with landmarks, or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.core.images import resized
from edgekit.core.tensors import Photo
from edgekit.distill.faces.cut import cut_out, padded_share
from edgekit.distill.faces.detect import Found, found_faces, meshed
from edgekit.distill.faces.points import (
    Points,
    crop_square,
    crop_transform,
    disorder,
    eye_distance,
    moved,
)

DISAGREE = 0.25
"""Given points that lie this far from the found ones, in distances of the eyes, are wrong."""
READY = 0.03
"""A square photo whose own points ask for this much of a change, of its side, stays as it is."""
SEVERAL = 0.35
"""Another face counts if it has this share of the largest one's side."""


class FaceRefused(BadInput):
    """This photo gives no face; others may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """What a face must clear."""

    largest: bool = False
    """Of several faces take the largest, instead of refusing the photo."""
    min_face_px: int = 40
    """Least side of the face (not of the crop) in the photo's pixels."""
    max_yaw: float = 60.0
    """Most degrees that a face is turned to a side."""
    max_padding: float = 0.35
    """Most of the crop that lies outside the photo."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """A crop and where the face is in it."""

    photo: Photo
    points: Points
    landmarks: Points
    pose: tuple[float, float, float]
    native_px: float
    matrix: Points | None = None
    """2 x 3, from pixels of the photo to pixels of the crop; None if it was cut out of no photo."""


def aligned(photo: Photo, size_px: int, bars: Bars, *, given: Points | None = None) -> Aligned:
    """Find the face of `photo`, turn it upright and cut it out.

    With `given` five points the face is the one nearest to them, and they decide the crop; a square
    photo that they say is aligned already is only resampled.

    Raises FaceRefused, with cause and remedy, if there is no such face, and DependencyMissing
    without the nets.
    """
    if given is not None and (wrong := disorder(given)):
        raise FaceRefused(
            f"the given landmarks cannot be right: {wrong}",
            hint="order them right eye, left eye, nose, right and left corner of the mouth, as "
            "seen from left to right",
        )
    found = found_faces(photo)
    if given is not None and not found:
        guess = meshed(photo, given[:2], 2.2 * eye_distance(given))
        found = [guess] if guess.score >= 0.5 else []
    if not found:
        raise FaceRefused("no face was found", hint="use a photo in which the face is seen clearly")
    if given is not None:
        face = min(found, key=lambda one: _distance(one.five, given))
        if (apart := _distance(face.five, given)) > DISAGREE:
            raise FaceRefused(
                f"the given landmarks lie {apart:.1f} distances of the eyes from the face that was "
                "found",
                hint="correct the lmk5 of this photo, or leave it empty",
            )
    else:
        face = found[0]
        rivals = sum(one.side_px > SEVERAL * face.side_px for one in found)
        if rivals > 1 and not bars.largest:
            raise FaceRefused(
                f"{rivals} faces are in the photo",
                hint="crop it to one person, or pass --largest to take the largest face",
            )
    _check(face, bars)
    five = face.five if given is None else given
    return _cut(photo, size_px, bars, five, face)


def all_aligned(
    photo: Photo, size_px: int, bars: Bars, *, most: int
) -> tuple[list[Aligned], list[str]]:
    """Cut out every face of `photo`, the largest first, at most `most`; and say what was left out.

    Raises FaceRefused if there is no face, or none that clears `bars`: for the largest one's
    reason; DependencyMissing without the nets.
    """
    found = found_faces(photo)
    if not found:
        raise FaceRefused("no face was found", hint="use a photo in which the face is seen clearly")
    faces, refused = [], []
    for face in found[:most]:
        try:
            _check(face, bars)
            faces.append(_cut(photo, size_px, bars, face.five, face))
        except FaceRefused as problem:
            refused.append(problem)
    if not faces:
        raise refused[0]
    left = [f"a face is left as it is: {problem.what}" for problem in refused]
    if len(found) > most:
        left.append(f"{len(found) - most} smaller faces are left as they are, beyond {most}")
    return faces, left


def _check(face: Found, bars: Bars) -> None:
    if face.side_px < bars.min_face_px:
        raise FaceRefused(
            f"the face is {face.side_px:.0f} pixels large, less than {bars.min_face_px}",
            hint="use a photo taken from nearer, or lower --min-face",
        )
    if abs(face.pose[0]) > bars.max_yaw:
        raise FaceRefused(
            f"the face is turned {abs(face.pose[0]):.0f} degrees to the side, more than "
            f"{bars.max_yaw:.0f}",
            hint="use a photo that shows both eyes, or raise --max-yaw",
        )


def _cut(photo: Photo, size_px: int, bars: Bars, five: Points, face: Found) -> Aligned:
    height, width = photo.shape[:2]
    square = crop_square(five)
    whole = np.array([[0, 0], [width, 0], [0, width]], np.float32)
    if height == width and np.abs(square - whole).max() < READY * width:
        scale = size_px / width
        return Aligned(
            resized(photo, size_px, size_px),
            five * scale,
            face.dense * scale,
            face.pose,
            width,
            np.array([[scale, 0, 0], [0, scale, 0]], np.float32),
        )
    matrix = crop_transform(five, size_px)
    outside = padded_share(photo.shape, matrix, size_px)
    if outside > bars.max_padding:
        raise FaceRefused(
            f"{outside:.0%} of the crop lies outside the photo",
            hint="use a photo with room around the head (`edgekit pairs faces` has --max-padding)",
        )
    native = float(np.hypot(*(square[1] - square[0])))
    return Aligned(
        cut_out(photo, matrix, size_px),
        moved(five, matrix),
        moved(face.dense, matrix),
        (face.pose[0], face.pose[1], 0.0),
        native,
        matrix,
    )


def _distance(one: Points, two: Points) -> float:
    """Return the median distance of five points, in distances of the eyes."""
    return float(np.median(np.hypot(*(one - two).T))) / max(eye_distance(two), 1e-6)
