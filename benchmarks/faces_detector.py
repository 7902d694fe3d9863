"""How well faces are found: against points of aligned portraits, exact ones of rendered heads.

    python benchmarks/faces_detector.py --portraits FOLDER... --heads FACES --out FILE.json
    python benchmarks/faces_detector.py --people FACES --out FILE.json

FOLDER holds an index.csv with lmk5, points of another detector (MTCNN); FACES was written by
`edgekit pairs faces --head-model`: its landmarks are projected vertices.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.images import load_photo
from edgekit.core.store import write_bytes
from edgekit.distill.faces.detect import Found, found_faces
from edgekit.distill.faces.points import FIVE, eye_distance, five_of
from edgekit.distill.faces.recognition import descriptors
from edgekit.distill.faces.sources import portraits_of
from edgekit.distill.faces.store import decoded, open_faces

SIDE = 256
"""Pixels a side that errors are scaled to: an aligned crop, eyes about 64 apart."""


def summary(errors: list[np.ndarray], total: int, seconds: float) -> dict[str, Any]:
    """Return what is reported of both kinds: share found, errors in pixels, time."""
    all_errors = np.stack(errors)
    mean = all_errors.mean(1)
    return {
        "photos": total,
        "found_share": len(errors) / total,
        "median_px": round(float(np.median(all_errors)), 2),
        "median_of_mean_px": round(float(np.median(mean)), 2),
        "p95_of_mean_px": round(float(np.percentile(mean, 95)), 2),
        "cpu_ms_a_photo": round(seconds / total * 1e3, 1),
    }


def largest(photo: np.ndarray) -> Found | None:
    """Return the largest face of a photo."""
    found = found_faces(photo)
    return found[0] if found else None


def on_portraits(folder: Path, limit: int) -> dict[str, Any]:
    """Compare with the five points of an index.csv."""
    errors, lost = [], []
    portraits = [one for one in portraits_of([folder]) if one.given is not None][:limit]
    begun = time.process_time()
    for portrait in portraits:
        photo = load_photo(portrait.path)
        face = largest(photo)
        if face is None:
            lost.append(portrait.name)
            continue
        assert portrait.given is not None
        apart = np.hypot(*(face.five - portrait.given).T)
        errors.append(apart * SIDE / photo.shape[0])
    spent = time.process_time() - begun
    by_point = dict(
        zip(FIVE, np.median(np.stack(errors), 0).astype(float).round(2).tolist(), strict=True)
    )
    return {
        "folder": folder.name,
        "against": "lmk5 of MTCNN",
        **summary(errors, len(portraits), spent),
        "median_px_by_point": by_point,
        "not_found": len(lost),
    }


def on_heads(folder: Path, limit: int) -> dict[str, Any]:
    """Compare with the landmarks of rendered heads."""
    faces = open_faces(folder)
    errors, dense, poses = [], [], []
    entries = faces.entries[:limit]
    begun = time.process_time()
    for entry, jpeg in faces.jpegs(entries):
        photo = decoded(jpeg)
        face = largest(photo)
        if face is None:
            continue
        scale = SIDE / photo.shape[0]
        exact = np.array(entry.landmarks, np.float32)
        errors.append(np.hypot(*(face.five - five_of(exact)).T) * scale)
        dense.append(np.hypot(*(face.dense - exact).T) / eye_distance(five_of(exact)))
        poses.append((*entry.pose[:2], *face.pose[:2]))
    spent = time.process_time() - begun
    yaw, pitch, seen_yaw, seen_pitch = np.array(poses).T
    return {
        "folder": folder.name,
        "against": "projected vertices",
        **summary(errors, len(entries), spent),
        "median_dense_eye_distances": round(float(np.median(dense)), 4),
        "yaw_correlation": round(float(np.corrcoef(yaw, seen_yaw)[0, 1]), 3),
        "yaw_slope": round(float(np.polyfit(yaw, seen_yaw, 1)[0]), 3),
        "pitch_correlation": round(float(np.corrcoef(pitch, seen_pitch)[0, 1]), 3),
        "pitch_offset_deg": round(float(np.median(seen_pitch - pitch)), 1),
    }


def on_people(folder: Path, limit: int) -> dict[str, Any]:
    """Return how far apart a recognizer finds faces of one person and of two people."""
    faces = open_faces(folder)
    entries = faces.entries[:limit]
    found = [(entry.identity, decoded(jpeg)) for entry, jpeg in faces.jpegs(entries)]
    places = descriptors([photo for _, photo in found])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    names = np.array([name for name, _ in found])
    first, second = np.triu_indices(len(names), 1)
    same = names[first] == names[second]
    one, two = apart[first, second][same], apart[first, second][~same]
    above = (one[:, None] < two[None]).mean()
    return {
        "folder": folder.name,
        "recognizer": "dlib ResNet-29",
        "people": len(set(names)),
        "same_person": {"pairs": len(one), "median": round(float(np.median(one)), 3)},
        "two_people": {"pairs": len(two), "median": round(float(np.median(two)), 3)},
        "area_under_curve": round(float(above), 4),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--portraits", type=Path, nargs="*", default=[])
    parser.add_argument("--heads", type=Path, nargs="*", default=[])
    parser.add_argument("--people", type=Path, nargs="*", default=[])
    parser.add_argument("--limit", type=int, default=10**6)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    results = [on_portraits(folder, given.limit) for folder in given.portraits]
    results += [on_heads(folder, given.limit) for folder in given.heads]
    results += [on_people(folder, given.limit) for folder in given.people]
    text = json.dumps({"errors_at_px": SIDE, "results": results}, indent=2)
    write_bytes(given.out, (text + "\n").encode())
    print(text)


if __name__ == "__main__":
    main()
