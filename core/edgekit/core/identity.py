"""The file of an identity code: what a person's photos became, and nothing else.

A safetensors file with one float16 tensor ``code`` (queries, width). Its metadata say which encoder
made it, of how many photos, and from which similarity on two of its codes count as one person. It
holds no photo, no name, no path, and a date only if one was asked for. Its owner alone may read it.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.core.errors import BadInput, OutputError
from edgekit.core.store import write_bytes
from edgekit.core.tensors import Batch

FORMAT = "edgekit.identity.1"
MOST_BYTES = 65536
"""No code is larger; `write_identity` refuses to write one that would be."""
NEAR_CHANCE = 0.3
"""Equal error above which an encoder's codes are no good; guessing is wrong about half."""
OWNER_ONLY = 0o600
AGAIN = "enrol the photos again with `edgekit identity enrol`"


@dataclass(frozen=True, slots=True)
class IdentityCode:
    """A person's code and what is needed to use it."""

    values: Batch
    """Queries x width, float32; the mean person is 0."""
    encoder_sha256: str
    """Of the encoder's student.pt2: codes of different encoders have nothing in common."""
    photos: int
    """How many photos it was made of."""
    threshold: float
    """Similarity from which on two codes of this encoder count as one person."""
    created: str | None = None
    """Day of the enrolment (ISO 8601), if the user wanted it kept."""


def write_identity(path: Path, code: IdentityCode) -> int:
    """Write `code` to `path`, at once or not at all, and return the file's bytes.

    Raises OutputError if the place is not writable, ValueError for a code that is no matrix of
    finite numbers or is larger than a code may be.
    """
    if code.values.ndim != 2 or not np.isfinite(code.values).all():
        raise ValueError(f"a code is a matrix of finite numbers, got shape {code.values.shape}")
    blob = np.ascontiguousarray(code.values, "<f2").tobytes()
    facts = {
        "format": FORMAT,
        "encoder_sha256": code.encoder_sha256,
        "photos": str(code.photos),
        "threshold": repr(float(code.threshold)),
    }
    if code.created is not None:
        facts["created"] = code.created
    entry = {"dtype": "F16", "shape": list(code.values.shape), "data_offsets": [0, len(blob)]}
    text = json.dumps({"__metadata__": facts, "code": entry}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join((struct.pack("<Q", len(text)), text, blob))
    if len(data) > MOST_BYTES:
        raise ValueError(f"a code of {len(data)} bytes is larger than {MOST_BYTES}")
    write_bytes(path, data, mode=OWNER_ONLY)
    return len(data)


def read_identity(path: Path) -> IdentityCode:
    """Read a code; raises BadInput if the file is missing, damaged or something else."""
    if not path.is_file():
        raise BadInput(f"{path} does not exist", hint="check the path")
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES} bytes")
        (length,) = struct.unpack_from("<Q", data)
        if length > len(data) - 8:
            raise ValueError("its header is longer than the file")
        header = json.loads(data[8 : 8 + length])
        facts, entry = header["__metadata__"], header["code"]
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']}, this version reads {FORMAT}")
        rows, columns = (int(side) for side in entry["shape"])
        blob = data[8 + length :]
        if entry["dtype"] != "F16" or len(blob) != 2 * rows * columns:
            raise ValueError("its numbers are cut short or of another type")
        values: Batch = np.frombuffer(blob, "<f2").astype(np.float32).reshape(rows, columns)
        if not np.isfinite(values).all():
            raise ValueError("it holds numbers that are not finite")
        return IdentityCode(
            values=values,
            encoder_sha256=str(facts["encoder_sha256"]),
            photos=int(facts["photos"]),
            threshold=float(facts["threshold"]),
            created=None if facts.get("created") is None else str(facts["created"]),
        )
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is not an identity code: {error}", hint=AGAIN) from error


def similarity(one: IdentityCode, two: IdentityCode) -> float:
    """Return how alike two codes are, -1 to 1; raises BadInput if two encoders made them."""
    if one.encoder_sha256 != two.encoder_sha256:
        raise BadInput(
            "the codes were made by different encoders "
            f"({one.encoder_sha256[:12]} and {two.encoder_sha256[:12]}) and cannot be compared",
            hint="enrol both with one encoder",
        )
    return cosine(one.values, two.values)


def cosine(one: Batch, two: Batch) -> float:
    """Return the cosine of two codes as vectors, 0 if one of them is nothing.

    >>> cosine(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])).__round__(3)
    0.707
    """
    a, b = (np.asarray(values, np.float64).ravel() for values in (one, two))
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0


def erase_identity(path: Path) -> int:
    """Overwrite the file of a code with random bytes, then remove it; return how many there were.

    Flash memory, snapshots and backups may keep older copies, which no program can reach.

    Raises BadInput for a link and for a file that is no code: nothing else is ever deleted.
    """
    if path.is_symlink():
        raise BadInput(f"{path} is a link", hint=f"name the file itself: {path.resolve()}")
    if not path.is_file():
        raise BadInput(f"{path} does not exist", hint="check the path")
    with path.open("rb") as file:
        beginning = file.read(256)
    if FORMAT.rpartition(".")[0].encode() not in beginning:  # also of a damaged or a newer file
        raise BadInput(
            f"{path} is not an identity code, so it is left alone", hint="delete it yourself"
        )
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            file.write(os.urandom(size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except OSError as error:
        raise OutputError(
            f"{path} cannot be erased: {error.strerror or error}",
            hint="give yourself the right to write it, then run this again",
        ) from error
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return size
