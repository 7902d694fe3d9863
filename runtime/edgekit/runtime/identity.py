"""Aligned faces to an identity code with a bundle of the encoder: no torch, no network.

The encoder takes one photo a call and adds it to sums (docs/identity.md). Here the sums of each
photo are kept apart until it is known that all show one person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.core.identity import IdentityCode, cosine
from edgekit.core.manifest import BundleManifest, ModelEntry, PortEntry, read_bundle
from edgekit.core.samples import to_port
from edgekit.core.seams import Port, Session
from edgekit.core.tensors import Batch, Photo
from edgekit.runtime.sessions import obstacle, open_session

INPUTS, OUTPUTS = {"image", "sums"}, {"sums_out", "code"}
FORMATS = ("onnx", "tflite", "openvino", "aimodel", "mlpackage", "pte")
"""The order in which a file is looked for; the most precise one of a bundle is taken."""
THRESHOLD, ERROR = "identity.threshold", "identity.equal_error"
"""Numbers in the bundle's quality: where one person ends, and how often that is wrong."""


@dataclass(frozen=True, slots=True)
class EncoderBundle:
    """An encoder whose file `entry` is loaded."""

    entry: ModelEntry
    session: Session
    sha256: str
    size_px: int
    threshold: float
    equal_error: float
    """Share of pairs that the threshold judges wrongly, of faces that no training saw."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What became of the photos of one person, in the order in which they were given."""

    code: IdentityCode
    alike: tuple[float, ...]
    """Of each photo: its median similarity to the others; 1 for a photo alone."""
    strangers: tuple[int, ...]
    """Photos that do not look like the person of the most others."""


def open_encoder(folder: Path, *, threads: int = 1) -> EncoderBundle:
    """Open the bundle of an identity encoder, or the encoder in the bundle of a restorer.

    Raises BadInput if it is a bundle of something else, or of an encoder of which nobody measured
    whether it tells people apart; EdgekitError if no file of it can be executed here.
    """
    manifest = read_bundle(folder)
    for part in manifest.parts:
        if part.form == "identity":
            return open_encoder(folder / part.path, threads=threads)
    names = [({p.name for p in m.inputs}, {p.name for p in m.outputs}) for m in manifest.models]
    if not names or any(found != (INPUTS, OUTPUTS) for found in names):
        raise BadInput(
            f"{folder} is a bundle of {manifest.name!r}, not of an identity encoder",
            hint="name a folder that `edgekit export` made of `edgekit identity train`",
        )
    if THRESHOLD not in manifest.quality:
        raise BadInput(
            f"nobody measured whether the encoder in {folder} tells people apart",
            hint="train it with `edgekit identity train`, which measures that at the end",
        )
    entry = _best(manifest, folder)
    return EncoderBundle(
        entry=entry,
        session=open_session(folder / entry.path, threads=threads),
        sha256=manifest.student.sha256,
        size_px=manifest.student.size_px,
        threshold=manifest.quality[THRESHOLD],
        equal_error=manifest.quality.get(ERROR, 1.0),
    )


def enrolled(encoder: EncoderBundle, faces: Sequence[Photo]) -> Enrolment:
    """Encode aligned faces of the encoder's size, all of one person.

    The code does not depend on their order, to the last bit. Raises ValueError for no face or one
    of another size.
    """
    side = encoder.size_px
    if not faces or any(face.shape != (side, side, 3) for face in faces):
        raise ValueError(f"needs one face or more of {side} x {side} pixels")
    order = sorted(range(len(faces)), key=lambda i: sha256(faces[i].tobytes()).digest())
    image, sums = (_port(encoder.entry.inputs, name) for name in ("image", "sums"))
    empty = np.zeros(sums.shape, np.float32)
    singles = [_run(encoder, image, faces[i], empty) for i in order]
    others = np.sum([added.astype(np.float64) for added, _ in singles[:-1]], axis=0) + empty
    _, code = _run(encoder, image, faces[order[-1]], others.astype(np.float32))
    codes: dict[int, Batch] = {i: single[1] for i, single in zip(order, singles, strict=True)}
    alike = np.array([[cosine(codes[i], codes[j]) for j in codes] for i in codes])
    back = np.argsort(list(codes))
    alike = alike[back][:, back]
    return Enrolment(
        code=IdentityCode(
            values=np.asarray(code, np.float32).reshape(code.shape[-2:]),
            encoder_sha256=encoder.sha256,
            photos=len(faces),
            threshold=encoder.threshold,
        ),
        alike=tuple(_to_others(alike)),
        strangers=strangers(alike, encoder.threshold),
    )


def strangers(alike: Batch, threshold: float) -> tuple[int, ...]:
    """Return the photos outside the largest group; a group's photos are linked by similarity.

    >>> strangers(np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]]), 0.5)
    (2,)
    """
    left, groups = set(range(len(alike))), []
    while left:
        group, fresh = set(), {min(left)}
        while fresh:
            group |= fresh
            fresh = {j for i in fresh for j in left if alike[i][j] >= threshold} - group
        groups.append(group)
        left -= group
    largest = max(groups, key=len)
    return tuple(i for i in range(len(alike)) if i not in largest)


def _to_others(alike: Batch) -> list[float]:
    if len(alike) == 1:
        return [1.0]
    return [float(np.median(np.delete(row, i))) for i, row in enumerate(alike)]


def _run(encoder: EncoderBundle, image: Port, face: Photo, sums: Batch) -> tuple[Batch, Batch]:
    feeds = {"image": to_port(face[None], image), "sums": sums}
    made = encoder.session.run(feeds)
    return np.asarray(made["sums_out"], np.float32), np.asarray(made["code"], np.float32)


def _port(entries: Sequence[PortEntry], name: str) -> Port:
    return next(entry.port() for entry in entries if entry.name == name)


def _best(manifest: BundleManifest, folder: Path) -> ModelEntry:
    """Return the most precise file that this machine can execute."""
    rank = {"fp32": 0, "fp16": 1, "mixed": 2, "int8": 3}
    models = sorted(
        manifest.models,
        key=lambda m: (rank[m.precision], FORMATS.index(m.format) if m.format in FORMATS else 99),
    )
    problems = {model.path: obstacle(folder / model.path) for model in models}
    for model in models:
        if problems[model.path] is None:
            return model
    first = next(problem for problem in problems.values() if problem is not None)
    raise first
