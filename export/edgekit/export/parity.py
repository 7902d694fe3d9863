"""Is a file the same function as the student? Measured on held-out photos, never assumed.

Bars: an fp32 file may differ by 1e-4 anywhere, an fp16 file must reach 55 dB and an int8 file
35 dB on its worst sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgekit.core.images import to_bytes
from edgekit.core.manifest import ParityEntry
from edgekit.core.seams import Port, Precision, Session
from edgekit.core.tensors import Batch
from edgekit.export.program import Feed

PROTOCOL = "parity-1/heldout/peak-to-peak"
"""Held-out samples, fixed peak of high - low of the port, the worst sample decides."""
MAX_ABS = 1e-4
"""Largest difference of an fp32 file, in units of the port (black to white is 2)."""
PASS_DB: Mapping[Precision, float] = {"fp32": 80.0, "fp16": 55.0, "int8": 35.0, "mixed": 35.0}
"""35 dB is the bar that Apple's converter uses (ml-stable-diffusion, torch2coreml.py:
ABSOLUTE_MIN_PSNR); 80 dB for fp32 follows from `MAX_ABS`."""
ADVERSARIAL_INT8_DB = 30.0
"""On black, white, noise and a hot pixel. The ranges of static int8 come from photos: on noise good
files of trained students were up to 14 dB below their worst photo (docs/parity.md), and none below
36 dB. fp32 and fp16 files have the same bars everywhere."""
EXACT_DB = 999.0
"""Stands for infinity, which JSON cannot write."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a file is from the student: one entry a sample, over all its outputs."""

    psnr_db: tuple[float, ...]
    max_abs: tuple[float, ...]
    protocol: str = PROTOCOL
    adversarial_db: Mapping[str, float] = field(default_factory=dict)
    """The same on feeds that no photo looks like, by the name of the feed."""

    def joined(self, extremes: Parity, names: Sequence[str]) -> Parity:
        """Return the same with the scores of `extremes` beside it."""
        scores = {
            name: round(value, 3) for name, value in zip(names, extremes.psnr_db, strict=True)
        }
        return replace(self, adversarial_db=scores)

    def entry(self) -> ParityEntry:
        """Return what the bundle's manifest says about it."""
        return ParityEntry(
            protocol=self.protocol,
            samples=len(self.psnr_db),
            max_abs=max(self.max_abs),
            psnr_db=round(float(np.mean(self.psnr_db)), 3),
            worst_psnr_db=round(min(self.psnr_db), 3),
            reference="student",
            adversarial_db=dict(self.adversarial_db),
        )


def psnr_db(reference: Batch, candidate: Batch, *, peak: float = 2.0) -> float:
    """Peak signal-to-noise ratio of `candidate`, in decibels; higher is closer.

    The peak-to-peak range defaults to 2, that of values in [-1, 1]. Identical arrays give
    ``inf``, a NaN anywhere gives ``-inf``.

    Raises ValueError if the shapes differ: silent broadcasting would hide a wrong layout.

    Source: compute_psnr in apple/ml-stable-diffusion, torch2coreml.py, but with a fixed peak in
    place of the reference's maximum, so that scores of different images compare.

    >>> black = np.full((1, 3, 2, 2), -1, np.float32)
    >>> round(psnr_db(black, black + np.float32(0.02)), 1)
    40.0
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {candidate.shape}")
    difference = reference.astype(np.float64) - candidate.astype(np.float64)
    error = float(np.mean(difference**2))
    if not math.isfinite(error):
        return -math.inf
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def max_abs(reference: Batch, candidate: Batch) -> float:
    """Largest absolute difference; ``inf`` if anything is not finite.

    Raises ValueError if the shapes differ.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {candidate.shape}")
    worst = float(np.max(np.abs(reference.astype(np.float64) - candidate.astype(np.float64))))
    return worst if math.isfinite(worst) else math.inf


def to_layout(batch: Batch, port: Port, wanted: Port) -> Batch:
    """Turn an array of the student's `port` into what the file's port `wanted` takes."""
    if wanted.dtype == "uint8":
        batch = to_bytes(batch, low=port.low, high=port.high)
    if port.layout == "nchw" and wanted.layout == "nhwc" and batch.ndim == 4:
        batch = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
    return batch if wanted.dtype == "uint8" else batch.astype(wanted.dtype)


def from_layout(batch: Batch, port: Port, given: Port) -> Batch:
    """Turn what the file's port `given` gave into float32 in the layout of the student's `port`."""
    if port.layout == "nchw" and given.layout == "nhwc" and batch.ndim == 4:
        batch = batch.transpose(0, 3, 1, 2)
    values = batch.astype(np.float32)
    if given.dtype == "uint8":
        values = values * np.float32((port.high - port.low) / 255) + np.float32(port.low)
    return np.ascontiguousarray(values)


def measured(
    session: Session,
    feeds: Sequence[Feed],
    references: Sequence[Mapping[str, Batch]],
    *,
    inputs: Sequence[tuple[Port, Port]],
    outputs: Sequence[tuple[Port, Port]],
    protocol: str = PROTOCOL,
) -> Parity:
    """Run `session` on each feed and compare with the student's outputs.

    `inputs` and `outputs` pair the student's port with the file's port of the same name. A file
    that gives bytes is compared with the student's output as bytes, unless the session can tell
    what it had before it rounded to bytes: then that is compared.
    """
    ratios, distances = [], []
    for feed, reference in zip(feeds, references, strict=True):
        given = {theirs.name: to_layout(feed[ours.name], ours, theirs) for ours, theirs in inputs}
        exact = getattr(session, "unrounded", None)
        result = session.run(given) if exact is None else exact(given)
        scores = []
        for ours, theirs in outputs:
            wanted = reference[ours.name]
            if exact is not None and theirs.dtype == "uint8":
                scale = np.float32((ours.high - ours.low) / 255)
                got = np.asarray(result[theirs.name]) * scale + np.float32(ours.low)
                wanted = np.clip(wanted, ours.low, ours.high)
            else:
                got = from_layout(np.asarray(result[theirs.name]), ours, theirs)
            if exact is None and theirs.dtype == "uint8":
                wanted = from_layout(to_layout(wanted, ours, theirs), ours, theirs)
            peak = ours.high - ours.low
            scores.append((psnr_db(wanted, got, peak=peak), max_abs(wanted, got)))
        ratios.append(min(EXACT_DB, max(-EXACT_DB, min(score[0] for score in scores))))
        distances.append(min(1e30, max(score[1] for score in scores)))
    return Parity(tuple(ratios), tuple(distances), protocol)


def missed_bar(parity: Parity, precision: Precision, *, levels: bool = False) -> str | None:
    """Return why `parity` misses the bar of `precision`, None if it clears it.

    With `levels` the outputs are bytes, where one gray level is the smallest difference: an fp32
    file may then be off by one level.
    """
    worst_db, worst_abs = min(parity.psnr_db), max(parity.max_abs)
    if precision == "fp32":
        allowed = 2.01 / 255 if levels else MAX_ABS
        if worst_abs > allowed:
            return f"differs from the student by {worst_abs:.2g}, more than {allowed:.2g}"
        return None
    if worst_db < PASS_DB[precision]:
        return (
            f"reaches {worst_db:.1f} dB on its worst held-out sample, less than "
            f"{PASS_DB[precision]:.0f} dB"
        )
    return None
