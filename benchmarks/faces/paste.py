"""Score portraits put back into photos finer than the restorer's pictures, detail kept and not.

    python benchmarks/faces/paste.py --faces PORTRAITS --out FILE.json

Portraits of the test split are the photos: damaged at `--size` pixels, cut out at the restorer's
size, restored by what ships, and put back with none (0), all (1) or the fitting share (None) of
their finer detail. Beside each: what was not restored at all. "whole" is a photo without damage.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgekit.cli.shipped import bundle_at, named_or_shipped
from edgekit.core.images import resized
from edgekit.core.store import write_bytes
from edgekit.core.tensors import Photo
from edgekit.distill.faces.degrade import SEVERITIES
from edgekit.distill.faces.recognition import descriptors
from edgekit.distill.faces.sets import Faces, FaceSampler, load_faces
from edgekit.distill.metrics import perceptual_distance
from edgekit.distill.program import host
from edgekit.runtime.bundle import OpenBundle, open_bundle
from edgekit.runtime.paste import pasted
from edgekit.runtime.restore import nobody, restored, size_of

WAYS = {"replaced": 0.0, "all kept": 1.0, "fitting": None}
BATCH = 16


def main() -> None:
    """Score every damage and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, required=True, help="of `edgekit pairs faces`")
    parser.add_argument("--split", default="test", choices=["train", "val", "test"])
    parser.add_argument("--size", type=int, default=256, help="of the photos, in pixels")
    parser.add_argument("--portraits", type=int, default=150)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    run = named_or_shipped(None, "restorer", what="restorer", how="install the whole package")
    bundle = open_bundle(bundle_at(run))
    faces = load_faces(given.faces, split=given.split, size_px=given.size, gray=True)
    facts: dict[str, Any] = {
        "split": given.split,
        "photo_px": given.size,
        "restorer_px": size_of(bundle),
        "model": bundle.entry.path,
        "student_sha256": bundle.manifest.student.sha256,
        "host": host(),
    }
    facts["scores"] = {
        name: scored(bundle, faces, name, given.portraits)
        for name in ("whole", *SEVERITIES)
        if name != "extreme"
    }
    write_bytes(given.out, (json.dumps(facts, indent=1) + "\n").encode())


def scored(bundle: OpenBundle, faces: Faces, damage: str, portraits: int) -> dict[str, Any]:
    """Return the mean scores of each way to put faces of one damage back."""
    severity = "mild" if damage == "whole" else damage
    sampler = FaceSampler(faces, references=(0, 0), places=1, wrong_share=0.0, severity=severity)
    rows = sampler.targets()
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:portraits]]
    size, side = size_of(bundle), faces.size_px
    matrix = np.array([[size / side, 0, 0], [0, size / side, 0]])
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ("not restored", *WAYS)}
    for start in range(0, len(rows), BATCH):
        batch = sampler.of(rows[start : start + BATCH], torch.Generator().manual_seed(start))
        for true, seen in zip(batch.target, batch.degraded, strict=True):
            target = photo_of(true)
            photo = target if damage == "whole" else photo_of(seen)
            crop = resized(photo, size, size)
            face = restored(bundle, crop, nobody(bundle))
            found["not restored"].append(score(photo, target))
            for name, kept in WAYS.items():
                found[name].append(score(pasted(photo, crop, face, matrix, kept=kept), target))
    means = {
        name: {key: round(float(np.mean([row[key] for row in all_])), 4) for key in all_[0]}
        for name, all_ in found.items()
    }
    print(damage, json.dumps(means), flush=True)
    return {"portraits": len(rows), **means}


def score(photo: Photo, target: Photo) -> dict[str, float]:
    """Return PSNR, at most 60 dB, feature distance, and dlib's distance to the true portrait."""
    error = float(np.square(photo.astype(np.float64) - target).mean())
    with torch.no_grad():
        far = float(perceptual_distance()(tensor_of(photo), tensor_of(target)))
    one, two = descriptors([photo, target])
    return {
        "psnr_db": 10 * np.log10(255**2 / max(error, 255**2 / 1e6)),
        "features": far,
        "identity": float(np.linalg.norm(one - two)),
    }


def photo_of(picture: Tensor) -> Photo:
    """Return a picture in [-1, 1] in levels."""
    levels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte()
    return np.ascontiguousarray(levels.numpy().transpose(1, 2, 0))


def tensor_of(photo: Photo) -> Tensor:
    """Return a photo in [-1, 1], 1 x 3 x h x w."""
    return torch.from_numpy(photo.transpose(2, 0, 1).copy()).float()[None] / 127.5 - 1


if __name__ == "__main__":
    main()
