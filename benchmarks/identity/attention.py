"""Draw where the queries of a trained encoder look.

    python benchmarks/identity/attention.py --encoder runs/identity --faces faces/heads \
        --out docs/images/identity_attention.png

One row a face, first the face, then one column a query: the share of attention over the patches,
bright where the query looks, mean over heads. Shown are the queries whose attention is most
concentrated; how much it is, for all queries, is printed as JSON. Use rendered faces for a picture
that is published.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit.core.images import resized
from edgekit.distill.faces.sets import load_faces
from edgekit.distill.identity.student import read_encoder
from edgekit.distill.preview import write_preview


def main() -> None:
    """Write the picture and print how concentrated the queries are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True, help="run of `identity train`")
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--queries", type=int, default=8)
    given = parser.parse_args()
    encoder, _ = read_encoder(given.encoder)
    side = encoder.shape.size_px
    faces = load_faces(given.faces, split=given.split, size_px=side)
    rows = torch.tensor([faces.identities.tolist().index(i) for i in range(len(faces.people))])
    shares = encoder.attention(faces.images[rows].float() / 127.5 - 1)
    found = concentration(shares)
    best = sorted(range(len(found)), key=lambda query: -found[query])[: given.queries]
    shown = rows[: given.people]
    photos = faces.images[shown].permute(0, 2, 3, 1).numpy()
    columns = [photos]
    for query in best:
        columns.append(np.stack([lit(p, s[query]) for p, s in zip(photos, shares, strict=False)]))
    write_preview(given.out, columns)
    facts = {"people": len(rows), "shown": best, "concentration": [round(f, 4) for f in found]}
    print(json.dumps({**facts, "same_place": round(same_place(shares), 4)}))


def concentration(shares: torch.Tensor) -> list[float]:
    """Return for each query 1 - entropy / its most, mean over faces: 0 looks everywhere alike."""
    entropy = -(shares * shares.clamp(min=1e-12).log()).sum(-1) / math.log(shares.shape[-1])
    return [float(value) for value in 1 - entropy.mean(0)]


def same_place(shares: torch.Tensor) -> float:
    """Return the mean correlation of a query's attention between two faces: 1 is one place.

    A query that stands for a part of the face looks at the same place of every aligned face, and
    differs from other queries; compare it with the concentration.
    """
    centred = shares - shares.mean(-1, keepdim=True)
    unit = torch.nn.functional.normalize(centred, dim=-1)
    alike = torch.einsum("iqt,jqt->qij", unit, unit)
    others = ~torch.eye(len(shares), dtype=torch.bool)
    return float(alike[:, others].mean()) if len(shares) > 1 else 1.0


def lit(photo: np.ndarray[Any, Any], shares: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return the photo, darkened where a query does not look."""
    grid = math.isqrt(len(shares))
    light = (shares / shares.max()).reshape(grid, grid).numpy()
    gray = (np.repeat(light[..., None], 3, -1) * 255).astype(np.uint8)
    mask = resized(gray, *photo.shape[:2]).astype(np.float32) / 255
    return np.asarray(photo * (0.15 + 0.85 * mask), np.uint8)


if __name__ == "__main__":
    main()
