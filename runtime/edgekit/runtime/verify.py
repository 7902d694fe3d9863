"""Every file of a bundle checked: its bytes, its ports, and what it computes.

The golden vectors hold inputs and the PyTorch student's outputs. A file that cannot be executed on
this machine is listed as such: it neither passes nor fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgekit.core.errors import BadInput, EdgekitError, TargetUnsupported
from edgekit.core.manifest import BundleManifest, ModelEntry, read_bundle
from edgekit.core.progress import Report, silent
from edgekit.core.seams import Port, Session
from edgekit.core.store import MANIFEST, file_sha256
from edgekit.core.tensors import Batch
from edgekit.runtime.concepts import base_of, vector_in
from edgekit.runtime.pipeline import from_golden, tile_size, to_golden
from edgekit.runtime.sessions import obstacle, open_session
from edgekit.runtime.sessions.ports import UNKNOWN

PASS_MAX_ABS = 1e-4
"""Largest difference of an fp32 file from the student, for values in [-1, 1]."""
PICTURE_MAX_ABS = 2 / 255 + 1e-6
"""The same for a file that gives bytes (Core ML's pictures): one level, by rounding."""
PASS_DB = {"fp16": 55.0, "int8": 35.0, "mixed": 35.0}
"""Least PSNR of a reduced file against the student, on the worst sample. 35 dB is the bar of
Apple's converter (ml-stable-diffusion, torch2coreml.py); a right fp16 file reaches about 80 dB."""
PROTOCOL = "verify-1/golden/peak2"
IDENTICAL_DB = 999.0
"""Stands for the infinite PSNR of identical values, and with a minus for that of a NaN: JSON has
no infinity."""

Open = Callable[[Path], Session]
Status = Literal["ok", "failed", "not executable here"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found about one file."""

    path: str
    target: str
    precision: str
    status: Status
    reason: str = ""
    psnr_db: float | None = None
    """Of the worst sample; 999 for identical values."""
    max_abs: float | None = None
    bar: str = ""
    evaluated: bool = False
    """Computed from the file's own bytes by a stand-in, not by the runtime of the format."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found about a bundle."""

    name: str
    checks: tuple[Check, ...]
    samples: int
    concepts: tuple[Check, ...] = ()
    """Whether each other file is whole and, of a base, each concept's file belongs to it."""

    @property
    def passed(self) -> bool:
        """Tell whether no file failed and at least one was executed."""
        statuses = [check.status for check in self.checks]
        concepts_fit = all(check.status == "ok" for check in self.concepts)
        return "failed" not in statuses and "ok" in statuses and concepts_fit

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON value that ``edgekit verify --json`` prints."""
        return {
            "name": self.name,
            "passed": self.passed,
            "protocol": PROTOCOL,
            "samples": self.samples,
            "checks": [asdict(check) for check in self.checks],
            "concepts": [asdict(check) for check in self.concepts],
        }


def psnr_db(reference: Batch, candidate: Batch, *, peak: float = 2.0) -> float:
    """Peak signal-to-noise ratio in decibels of values in [-1, 1]; ``inf`` for identical ones.

    Raises ValueError if the shapes differ: broadcasting would hide a wrong layout.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {candidate.shape}")
    difference = reference.astype(np.float64) - candidate.astype(np.float64)
    error = float(np.mean(difference**2))
    if math.isnan(error):
        return -math.inf
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def verify_bundle(
    folder: Path,
    *,
    open_file: Open = open_session,
    evaluators: Mapping[str, Open] | None = None,
    report: Report = silent,
) -> Verification:
    """Check every file of the bundle in `folder` against its manifest and golden vectors.

    `evaluators` (suffix -> opener) stand in for a runtime that this system does not have; what
    they find is marked, and a file that they cannot read counts as not executable here. The files
    of its parts are checked as well.

    Raises BadInput if the manifest or the golden vectors themselves cannot be used; whatever is
    wrong with a model file stands in its row.
    """
    manifest = read_bundle(folder)
    golden = read_golden(folder, manifest)
    checks = []
    for index, entry in enumerate(manifest.models):
        report("verify", index, len(manifest.models), entry.path)
        checks.append(check_file(folder, entry, golden, open_file, evaluators or {}))
    report("verify", len(manifest.models), len(manifest.models))
    others = [*check_others(folder, manifest), *check_concepts(folder, manifest)]
    for part in manifest.parts:
        if (folder / part.path / MANIFEST).is_file():
            found = verify_bundle(
                folder / part.path, open_file=open_file, evaluators=evaluators, report=report
            )
            checks += [_inside(part.path, check) for check in found.checks]
            others += [_inside(part.path, check) for check in found.concepts]
    return Verification(manifest.name, tuple(checks), len(golden), tuple(others))


def _inside(part: str, check: Check) -> Check:
    return replace(check, path=f"{part}/{check.path}")


def check_others(folder: Path, manifest: BundleManifest) -> list[Check]:
    """Check that adapters, assets and the manifests of parts are there and unchanged."""
    rows = [("adapter", row.path, row.sha256) for row in manifest.adapters]
    rows += [("asset", row.path, row.sha256) for row in manifest.assets]
    rows += [("part", f"{row.path}/{MANIFEST}", row.sha256) for row in manifest.parts]
    checks = []
    for kind, path, sha256 in rows:
        told = partial(Check, path, kind, "", bar="unchanged")
        if not (folder / path).is_file():
            checks.append(told("failed", "the file is missing"))
        elif file_sha256(folder / path) != sha256:
            checks.append(told("failed", "the file was changed after export: other sha256"))
        else:
            checks.append(told("ok"))
    return checks


def check_concepts(folder: Path, manifest: BundleManifest) -> list[Check]:
    """Check the concepts of a base: files unchanged, of this base, no larger than its capacity."""
    checks = []
    for row in manifest.concepts:
        told = partial(Check, row.path, "concept", "", bar="unchanged, fits the base")
        try:
            vector_in(folder, row, base_of(manifest, folder))
            checks.append(told("ok"))
        except EdgekitError as error:
            checks.append(told("failed", error.what))
    return checks


def read_golden(folder: Path, manifest: BundleManifest) -> list[dict[str, Batch]]:
    """Return the golden samples, each a mapping from port name to its array.

    Raises BadInput if the file is missing, was changed, or holds no sample.
    """
    path = folder / manifest.golden.path
    if not path.is_file():
        raise BadInput(f"{path} is missing from the bundle", hint="copy the whole folder again")
    if file_sha256(path) != manifest.golden.sha256:
        raise BadInput(
            f"{path} is not the file that was exported (other sha256)", hint="copy it again"
        )
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    count = manifest.golden.samples
    if count < 1 or not arrays or any(len(a) < count or len(a) % count for a in arrays.values()):
        raise BadInput(f"{path} holds no {count} samples", hint="export the bundle again")
    rows = {name: len(array) // count for name, array in arrays.items()}  # a port may hold several
    return [
        {name: a[i * rows[name] : (i + 1) * rows[name]] for name, a in arrays.items()}
        for i in range(count)
    ]


def check_file(
    folder: Path,
    entry: ModelEntry,
    golden: Sequence[Mapping[str, Batch]],
    open_file: Open,
    evaluators: Mapping[str, Open],
) -> Check:
    """Check one model file: present, unchanged, same ports, same numbers as the student."""
    row = partial(Check, entry.path, entry.target, entry.precision, bar=bar_of(entry))
    path = folder / entry.path
    if not path.exists():
        return row("failed", "the file is missing")
    if file_sha256(path) != entry.sha256:
        return row("failed", "the file was changed after export: other sha256")
    problem = obstacle(path) if open_file is open_session else None
    stand_in = evaluators.get(path.suffix) if problem else None
    session: Session | None = None
    if problem:
        reason = f"{problem.what} ({problem.hint})"
        session, reason = evaluated(stand_in, path, reason) if stand_in else (None, reason)
        if session is None:
            return row("not executable here", reason)
    try:
        session = session or open_file(path)
    except TargetUnsupported as error:
        return row("not executable here", str(error))
    except (EdgekitError, ValueError, RuntimeError, KeyError, OSError) as error:
        return row("failed", str(error))
    try:
        if wrong := differing_ports(session, entry):
            return row("failed", wrong)
        db, worst = compared(session, entry, golden)
    except (EdgekitError, ValueError, RuntimeError, KeyError) as error:
        return row("failed", str(error))
    if entry.precision == "fp32":
        passed = worst <= max_abs_bar(entry)
    else:
        passed = db >= PASS_DB[entry.precision]
    reason = "" if passed else f"outside the bar of {bar_of(entry)}"
    return row("ok" if passed else "failed", reason, db, worst, evaluated=problem is not None)


def evaluated(stand_in: Open, path: Path, reason: str) -> tuple[Session | None, str]:
    """Open `path` with a stand-in; without a session the reason says what kept it from doing so."""
    try:
        return stand_in(path), ""
    except Exception as error:  # whatever a stand-in does not understand proves nothing
        return None, f"{reason}; nor can it be evaluated: {type(error).__name__}: {error}"


def max_abs_bar(entry: ModelEntry) -> float:
    """Return the largest difference that an fp32 file may show."""
    rounded = any(port.port().dtype == "uint8" for port in entry.outputs)
    return PICTURE_MAX_ABS if rounded else PASS_MAX_ABS


def bar_of(entry: ModelEntry) -> str:
    """Return the bar of a file in words."""
    if entry.precision == "fp32":
        return f"max abs <= {max_abs_bar(entry):.2g}"
    return f">= {PASS_DB[entry.precision]:g} dB"


def differing_ports(session: Session, entry: ModelEntry) -> str:
    """Say how the file's ports differ from the manifest's; "" if they agree."""

    def shown(ports: tuple[Port, ...]) -> list[tuple[str, tuple[int, ...], str]]:
        return sorted((port.name, port.shape, port.dtype) for port in ports)

    for what, held, told in (
        ("inputs", session.inputs, entry.inputs),
        ("outputs", session.outputs, entry.outputs),
    ):
        said = tuple(port.port() for port in told)
        if shown(tuple(_settled(port, said) for port in held)) != shown(said):
            return f"its {what} are {shown(held)}, the manifest says {shown(said)}"
    return ""


def _settled(port: Port, told: tuple[Port, ...]) -> Port:
    """Return `port` with the sizes that its file leaves open as the manifest has them."""
    match = next((other for other in told if other.name == port.name), None)
    if match is None or len(match.shape) != len(port.shape):
        return port
    pairs = zip(port.shape, match.shape, strict=True)
    return replace(port, shape=tuple(b if a == UNKNOWN else a for a, b in pairs))


def compared(
    session: Session, entry: ModelEntry, golden: Sequence[Mapping[str, Batch]]
) -> tuple[float, float]:
    """Run every golden sample; return the worst PSNR in dB and the largest absolute difference.

    Both are for values whose range is 2: pictures lie in [-1, 1], other ports are scaled to that.
    """
    inputs = tuple(port.port() for port in entry.inputs)
    scores, worst = [], 0.0
    for sample in golden:
        results = session.run(from_golden(sample, inputs))
        for port in entry.outputs:
            found = to_golden(results[port.name], port.port())
            span = 2.0 if tile_size(port.port()) is not None else port.high - port.low
            score = psnr_db(sample[port.name], found, peak=span)
            scores.append(min(max(score, -IDENTICAL_DB), IDENTICAL_DB))
            gap = float(np.max(np.abs(sample[port.name] - found))) * 2.0 / span
            worst = max(worst, gap if math.isfinite(gap) else IDENTICAL_DB)
    return min(scores), worst
