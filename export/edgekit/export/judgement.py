"""Is a file the student? Photos, feeds that no photo looks like, every size, and its weights."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.core.seams import Precision, Session
from edgekit.core.tensors import Batch
from edgekit.export.adversarial import KINDS, adversarial_feeds
from edgekit.export.conditioning import unstable
from edgekit.export.parity import (
    ADVERSARIAL_INT8_DB,
    PASS_DB,
    PROTOCOL,
    Parity,
    measured,
    missed_bar,
)
from edgekit.export.program import (
    Feed,
    Program,
    Student,
    calibration_feeds,
    read_student,
    reference_outputs,
    run,
)
from edgekit.export.rounding_floor import rounded_db
from edgekit.export.sizes import feed_at, sides_of, sized
from edgekit.export.stored_weights import first_wrong_weight, prepared_weights, stored_weights

if TYPE_CHECKING:
    from edgekit.export.rows import Workplace

_log = logging.getLogger(__name__)
MARGIN_DB: Mapping[Precision, float] = {"fp16": 12.0, "int8": 10.0}
"""How far below the rounded student a file may be: no runtime rounds just as the student does.
docs/parity.md has the measured gaps; the largest of a good file was 5 dB."""
CEILING_DB: Mapping[Precision, float] = {"fp16": 66.0, "int8": 50.0}
"""The bar of a student that rounding hardly touches."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about a file."""

    parity: Parity | None
    """On held-out photos; None where nothing here runs the file."""
    reason: str = ""
    """Why it does not ship, empty if it does."""
    layer: str = ""
    """The wrong layer, where it is known without a search."""
    broken: bool = False
    """Whether no precision excuses it: the file holds something else than the student."""


def judged(place: Workplace, path: Path, precision: Precision) -> Verdict:
    """Execute a file on everything and look at what it stores."""
    from edgekit.export.rows import opened

    found = opened(place, path)
    if found is None:
        return Verdict(None)
    session, protocol = found
    photos = _measured(place, place.program, session, place.feeds, place.references, protocol)
    levels = place.in_levels and protocol == PROTOCOL
    hard = hard_feeds(place.student)
    extremes = _measured(place, place.program, session, hard.feeds, hard.references, protocol)
    sides = [_at_side(place, session, side, protocol) for side in _sides(place)]
    reason = missed_bar(photos, precision, levels=levels)
    reason = reason or _missed_floor(place, photos, precision, protocol)
    reason = reason or _missed_extreme(place, hard, extremes, precision, levels)
    reason = reason or next(
        filter(None, (missed_bar(p, precision, levels=levels) for p in sides)), ""
    )
    seen = photos.joined(extremes, KINDS)
    wrong = _wrong_weight(place, path, precision)
    if wrong and not (reason and precision not in ("fp32", "fp16") and wrong[0].endswith("bias")):
        name, what = wrong  # a bias that is rounded away is a bad choice, not another network
        words = (
            f"stores a weight that {what}" if not reason else f"{reason}, and stores a wrong weight"
        )
        return Verdict(seen, words, owner(place.program, name), broken=True)
    return Verdict(seen, reason or "")


@dataclass(frozen=True, slots=True)
class _Hard:
    feeds: Sequence[Feed]
    references: Sequence[Mapping[str, Batch]]


def hard_feeds(student: Student) -> _Hard:
    """Return the adversarial feeds of a student and its own answers."""
    return _hard_feeds(student.folder, student.sha256)


@functools.lru_cache(maxsize=4)
def _hard_feeds(folder: Path, sha256: str) -> _Hard:
    student = read_student(folder)
    feeds = adversarial_feeds(student.inputs, calibration_feeds(student, limit=16))
    return _Hard(feeds, reference_outputs(student, feeds))


def _measured(
    place: Workplace,
    program: Program,
    session: Session,
    feeds: Sequence[Feed],
    references: Sequence[Mapping[str, Batch]],
    protocol: str,
) -> Parity:
    from edgekit.export.rows import port_pairs

    pairs = {
        output: [
            (ours, theirs.port())
            for ours, theirs in port_pairs(
                place.converter, program.outputs if output else program.inputs, output=output
            )
        ]
        for output in (False, True)
    }
    return measured(
        session, feeds, references, inputs=pairs[False], outputs=pairs[True], protocol=protocol
    )


def _sides(place: Workplace) -> list[int]:
    own = sides_of(place.program, place.options)
    return [side for side in own if side in place.options.sizes]


def _at_side(place: Workplace, session: Session, side: int, protocol: str) -> Parity:
    there = sized(place.program, side)
    feeds = [feed_at(place.program, feed, side) for feed in place.feeds[:2]]
    references = [run(there, feed) for feed in feeds]
    return _measured(place, there, session, feeds, references, protocol)


def _missed_floor(
    place: Workplace, photos: Parity, precision: Precision, protocol: str
) -> str | None:
    """Say that a file is further from the student than rounding explains."""
    if precision not in MARGIN_DB or (place.in_levels and protocol == PROTOCOL):
        return None
    floor = min(rounded_db(place.program, place.feeds, precision)) - MARGIN_DB[precision]
    bar = min(CEILING_DB[precision], floor)
    worst = min(photos.psnr_db)
    if worst >= max(PASS_DB[precision], bar):
        return None
    return (
        f"reaches {worst:.1f} dB on its worst held-out sample, where rounding alone leaves at "
        f"least {bar:.0f} dB"
    )


def _missed_extreme(
    place: Workplace, hard: _Hard, extremes: Parity, precision: Precision, levels: bool
) -> str | None:
    """Say on which extreme feed a file misses its bar; not where rounding decides the answer."""
    for i, kind in enumerate(KINDS):
        psnr, most = extremes.psnr_db[i], extremes.max_abs[i]
        reason = _missed_one(psnr, most, kind, precision, levels)
        if reason is None:
            continue
        if math.isfinite(most) and unstable(
            place.program, hard.feeds[i], place.feeds[:2], precision
        ):
            _log.info("%s: not judged on %s, where rounding decides the answer", place.form, kind)
            continue
        return reason
    return None


def _missed_one(
    psnr: float, most: float, kind: str, precision: Precision, levels: bool
) -> str | None:
    if precision in ("int8", "mixed"):
        if psnr < ADVERSARIAL_INT8_DB:
            return f"reaches {psnr:.1f} dB on {kind}, less than {ADVERSARIAL_INT8_DB:.0f} dB"
        return None
    reason = missed_bar(Parity((psnr,), (most,)), precision, levels=levels)
    return f"on {kind}: {reason}" if reason else None


def _wrong_weight(place: Workplace, path: Path, precision: Precision) -> tuple[str, str] | None:
    """Return the weight that differs from the float32 file's, which holds what was computed."""
    if precision == "fp32":
        return None
    found = stored_weights(place.form, path)
    if found is None:
        return None
    source = place.sources().made("fp32")
    right = stored_weights(place.form, source)
    wrong = None if right is None else first_wrong_weight(right, found, precision)
    if wrong and place.form == "onnx" and precision not in ("fp32", "fp16"):
        right = prepared_weights(source)  # factors behind a layer were folded into it
        wrong = first_wrong_weight(right, found, precision)
    return None if wrong is None or right is None else _named(place, right, wrong)


def _named(place: Workplace, right: Mapping[str, Batch], wrong: tuple[str, str]) -> tuple[str, str]:
    return _parameter(place.program, right[wrong[0]]) or wrong[0], wrong[1]


def _parameter(program: Program, weight: Batch) -> str:
    """Return the path of the program's parameter that holds the same numbers in any order."""
    import numpy as np

    wanted = np.sort(weight.reshape(-1))
    for name, value in program.module.state_dict().items():
        if value.numel() == wanted.size and np.allclose(
            np.sort(value.detach().numpy().reshape(-1)), wanted, rtol=1e-3, atol=1e-6
        ):
            return str(name)
    return ""


def owner(program: Program, parameter: str) -> str:
    """Return the module path in the student of a parameter of the program, or what is known."""
    from edgekit.export.graph import module_path

    layer = parameter.rpartition(".")[0]
    for node in program.module.graph.nodes:
        if str(node.target) in (layer, parameter) and node.op in ("call_module", "get_attr"):
            users = [node] if node.op == "call_module" else list(node.users)
            path = next((path for user in users if (path := module_path(user))), "")
            if path:
                return f"{path} ({parameter.rpartition('.')[2]})"
    return parameter
