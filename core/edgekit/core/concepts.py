"""A concept on disk: one safetensors file with three flat tensors, for a base that ships once.

norms   (float32)   gain and bias that the concept's words give each modulated norm
factors (float16)   the low-rank factors of every adapted convolution, in the order of the base's
                    blocks: of one layer first the rows of A, then the rows of B transposed
text    (float16)   keys and values of the words, weights of the place in the frame

Norms stay at 32 bits because their rounding alone would change the picture by more than 1e-4. The
file says by hashes which base and which order of blocks it belongs to. Reading it needs numpy only.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.core.store import write_bytes
from edgekit.core.tensors import Batch

FORMAT = "edgekit.concept.1"
_HALF: tuple[str, np.dtype[Any]] = ("F16", np.dtype("<f2"))
PARTS: dict[str, tuple[str, np.dtype[Any]]] = {
    "norms": ("F32", np.dtype("<f4")),
    "factors": _HALF,
    "text": _HALF,
}
"""Part of a file -> its type in safetensors' and in numpy's words, in the order of storage."""
MOST_HEADER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Concept:
    """What one concept changes in a base: flat float32 arrays, and what they belong to."""

    prompt: str
    ranks: Mapping[str, int]
    """Rank of each group of layers; all 0 for a concept that the base itself knows."""
    base_sha256: str
    layout_sha256: str
    norms: Batch
    factors: Batch
    text: Batch


def write_concept(path: Path, concept: Concept) -> int:
    """Write `concept` to `path`, at once or not at all, and return the file's bytes."""
    header: dict[str, Any] = {
        "__metadata__": {
            "format": FORMAT,
            "prompt": concept.prompt,
            "ranks": json.dumps(dict(concept.ranks)),
            "base_sha256": concept.base_sha256,
            "layout_sha256": concept.layout_sha256,
        }
    }
    blobs: list[bytes] = []
    start = 0
    for name, (kind, dtype) in PARTS.items():
        values: Batch = getattr(concept, name)
        blob = np.ascontiguousarray(values).astype(dtype).tobytes()
        offsets = [start, start + len(blob)]
        header[name] = {"dtype": kind, "shape": [int(values.size)], "data_offsets": offsets}
        blobs.append(blob)
        start += len(blob)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    write_bytes(path, b"".join((struct.pack("<Q", len(text)), text, *blobs)))
    return path.stat().st_size


def read_concept(path: Path) -> Concept:
    """Read a concept; raises BadInput if the file is missing, damaged or something else."""
    if not path.is_file():
        raise BadInput(f"{path} does not exist", hint="check the path, or add the concept again")
    try:
        content = path.read_bytes()
        (length,) = struct.unpack_from("<Q", content)
        if length > min(MOST_HEADER_BYTES, len(content) - 8):
            raise ValueError("its header is longer than the file or than any concept's")
        header = json.loads(content[8 : 8 + length])
        facts = header["__metadata__"]
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']}")
        parts = {name: _part(content[8 + length :], header, name) for name in PARTS}
        ranks = {str(group): int(rank) for group, rank in json.loads(facts["ranks"]).items()}
        return Concept(
            prompt=str(facts["prompt"]),
            ranks=ranks,
            base_sha256=str(facts["base_sha256"]),
            layout_sha256=str(facts["layout_sha256"]),
            **parts,
        )
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{path} is not a concept of edgekit: {error}",
            hint="write it with `edgekit adapters add BASE RUN`, or copy it again",
        ) from error


def _part(data: bytes, header: Mapping[str, Any], name: str) -> Batch:
    kind, dtype = PARTS[name]
    entry = header[name]
    start, end = (int(offset) for offset in entry["data_offsets"])
    size = math.prod(int(side) for side in entry["shape"])
    if entry["dtype"] != kind or end - start != size * dtype.itemsize or end > len(data):
        raise ValueError(f"its part {name!r} is cut short or of another type")
    values: Batch = np.frombuffer(data[start:end], dtype).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"its part {name!r} holds values that are not finite")
    return values
