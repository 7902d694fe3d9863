"""Size, exactness and cost of the encoder's files, with random weights: none of it needs training.

    python benchmarks/identity/files.py --make /tmp/untrained
    edgekit export /tmp/untrained --target onnx --target android --target ios
    python benchmarks/identity/files.py --bundle /tmp/untrained/bundle \
        --out benchmarks/results/identity/files.json

The folder made is for measuring alone: it has no threshold, so `edgekit identity enrol` refuses it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.manifest import read_bundle
from edgekit.core.store import write_json
from edgekit.runtime.sessions import open_session

CALLS, WARMUP = 30, 3


def main() -> None:
    """Make the student, or measure its bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--make", type=Path, help="student folder to write")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.make:
        make(given.make)
    if given.bundle and given.out:
        write_json(given.out, measured(given.bundle))


def make(folder: Path) -> None:
    """Write an untrained encoder of the usual size, with smooth random pictures as faces."""
    import torch
    from torch.nn import functional as F

    from edgekit.distill.faces.sets import Faces
    from edgekit.distill.identity.encoder import fresh_encoder
    from edgekit.distill.identity.shape import IdentityShape
    from edgekit.distill.identity.student import write_encoder
    from edgekit.distill.program import StudentFacts

    shape, count = IdentityShape(), 24
    dice = torch.Generator().manual_seed(0)
    rough = torch.rand(count, 3, 8, 8, generator=dice)
    faces = Faces(
        images=F.interpolate(rough, size=shape.size_px, mode="bilinear").mul(255).byte(),
        identities=torch.arange(count),
        landmarks=torch.zeros(count, 68, 2),
        points=torch.zeros(count, 5, 2),
        poses=torch.zeros(count, 3),
        people=tuple(f"nobody-{i}" for i in range(count)),
        keys=tuple(f"{i:06d}" for i in range(count)),
    )
    facts = StudentFacts(recipe_sha256="0" * 64, name="untrained")
    write_encoder(folder, fresh_encoder(shape, seed=0), faces, faces, facts)


def measured(folder: Path) -> dict[str, Any]:
    """Return what the manifest says about each file, and processor time of a call in turns."""
    manifest = read_bundle(folder)
    timed = [m for m in manifest.models if m.format in ("onnx", "tflite")]
    sessions = {m.path: open_session(folder / m.path) for m in timed}
    feeds = {
        path: {port.name: np.zeros(port.shape, np.float32) for port in session.inputs}
        for path, session in sessions.items()
    }
    spent: dict[str, list[float]] = {path: [] for path in sessions}
    for call in range(CALLS + WARMUP):
        for path, session in sessions.items():
            start = time.process_time()
            session.run(feeds[path])
            if call >= WARMUP:
                spent[path].append(round((time.process_time() - start) * 1000, 3))
    rows = [
        {
            "format": m.format,
            "precision": m.precision,
            "bytes": m.bytes,
            "executed": m.executed,
            "max_abs": None if m.parity is None else m.parity.max_abs,
            "worst_psnr_db": None if m.parity is None else m.parity.worst_psnr_db,
            "cpu_ms": spent.get(m.path),
        }
        for m in manifest.models
    ]
    return {
        "what": "identity encoder with random weights, processor time of one thread, in turns",
        "parameters": manifest.student.parameters,
        "gmac": manifest.student.gmac,
        "host": {"machine": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "files": rows,
        "refused": [json.loads(refusal.model_dump_json()) for refusal in manifest.refused],
    }


if __name__ == "__main__":
    main()
