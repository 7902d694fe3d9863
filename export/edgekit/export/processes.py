"""Run the jobs of an export: converters side by side as memory allows, each in its own process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from edgekit.core.errors import EdgekitError, TargetUnsupported
from edgekit.core.manifest import Format
from edgekit.core.progress import Report
from edgekit.core.seams import OpenSession
from edgekit.core.store import prepared_folder, read_json, write_json
from edgekit.export.memory import RESERVE_MIB, available_mib, estimate_mib, resident_mib
from edgekit.export.program import PROGRAM
from edgekit.export.records import record_path
from edgekit.export.targets import FORMATS
from edgekit.export.worker import QUIET, Job, raised_again, reference_of, work

PARALLEL = 2
"""Converters at a time, if memory allows: each takes a core and a gigabyte."""
TIMEOUT_S = 1800.0
"""Longest time that one converter may take for all of its files."""
LOGS = "logs"
FACTS = "workers.json"
"""File of the logs that says what each worker took."""
_POLL_S = 0.2
_SLOWEST_FIRST: tuple[Format, ...] = (
    "pte",
    "aimodel",
    "tflite",
    "mlpackage",
    "openvino",
    "engine",
    "trt",
    "onnx",
)


@dataclass(slots=True)
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    estimate_mib: int
    start: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start


@dataclass(frozen=True, slots=True)
class _Ended:
    job: Job
    code: int
    seconds: float
    expired: bool
    estimate_mib: int


def run_jobs(
    jobs: Sequence[Job],
    open_session: OpenSession,
    *,
    report: Report,
    isolated: bool,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Run all jobs to their end; what they made stands in the records.

    A worker that takes longer than `timeout_s` is ended; what it finished is kept. Raises what a
    worker reported, or TargetUnsupported if a worker died or was ended, after all have ended.
    """
    total = sum(len(job.keys) for job in jobs)
    if not total:
        return
    if not isolated:
        done = 0
        for job in jobs:
            work(job, open_session)
            done += len(job.keys)
            report("export", done, total, job.format)
        return
    reference = reference_of(open_session)
    if reference is None:
        raise ValueError(
            f"open_session must be a function that another process can import, got {open_session}"
        )
    named = [job.model_copy(update={"open_session": reference}) for job in jobs]
    _run_isolated(named, report, total, timeout_s)


def _run_isolated(jobs: Sequence[Job], report: Report, total: int, timeout_s: float) -> None:
    waiting = sorted(jobs, key=lambda job: _SLOWEST_FIRST.index(job.format))
    running: list[_Running] = []
    ended: list[_Ended] = []
    try:
        while waiting or running:
            while waiting and len(running) < PARALLEL:
                job = _fitting(waiting, running)
                if job is None:
                    break
                waiting.remove(job)
                running.append(_started(job))
            for entry in list(running):
                code = entry.process.poll()
                expired = code is None and entry.seconds > timeout_s
                if expired:
                    entry.process.kill()
                    code = entry.process.wait()
                if code is not None:
                    entry.log.close()
                    running.remove(entry)
                    ended.append(
                        _Ended(entry.job, code, entry.seconds, expired, entry.estimate_mib)
                    )
                    _write_facts(ended[-1])
            names = ", ".join(f"{entry.job.format} {entry.seconds:.0f} s" for entry in running)
            if (made := _made(jobs)) < total:
                held = " (one at a time: little memory is free)" if _waits(waiting, running) else ""
                report("export", made, total, names + held)
            time.sleep(_POLL_S)
    finally:
        for entry in running:
            entry.process.kill()
            entry.process.wait()
            entry.log.close()
    _raise_if_died(ended, timeout_s)
    report("export", total, total)


def _waits(waiting: Sequence[Job], running: Sequence[_Running]) -> bool:
    return bool(waiting) and len(running) < PARALLEL


def _fitting(waiting: Sequence[Job], running: Sequence[_Running]) -> Job | None:
    """Return the first job whose memory is free; with nothing running the first, come what may.

    What running workers have not taken yet of their estimates is not free.
    """
    free = available_mib()
    if not running or free is None:
        return waiting[0]
    promised = sum(max(0, e.estimate_mib - resident_mib(e.process.pid)) for e in running)
    for job in waiting:
        if _estimate(job) + promised + RESERVE_MIB <= free:
            return job
    return None


def _estimate(job: Job) -> int:
    return estimate_mib(job.format, (job.student / PROGRAM).stat().st_size)


def _started(job: Job) -> _Running:
    prepared_folder(job.scratch)
    orders = job.scratch.with_suffix(".job.json")
    write_json(orders, job.model_dump(mode="json"))
    log = log_path(job.out, job.format)
    prepared_folder(log.parent)
    stream = log.open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit.export.worker", str(orders)],
        stdin=subprocess.DEVNULL,
        stdout=stream,
        stderr=subprocess.STDOUT,
        env={**os.environ, **QUIET},
        preexec_fn=_settle if sys.platform == "linux" else None,
    )
    return _Running(job, process, stream, _estimate(job))


_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
_NO_RANDOMIZATION = 0x0040000  # ADDR_NO_RANDOMIZE of <sys/personality.h>


def _settle() -> None:
    """Let a worker die with the export that started it, and give it the same addresses each time.

    coreai names a model's constants after hashes that hang on addresses; with equal addresses (if
    the kernel allows it) an export that is repeated on one machine gives equal files.
    """
    kernel = ctypes.CDLL(None)
    kernel.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    kernel.personality(_NO_RANDOMIZATION)


def log_path(out: Path, form: str) -> Path:
    """Return where the output of the converter of a format goes."""
    return out / LOGS / f"{form}.log"


def worker_facts(out: Path) -> dict[str, dict[str, float]]:
    """Return format -> seconds, CPU seconds, peak memory and its estimate (MiB) of each worker."""
    path = out / LOGS / FACTS
    found: dict[str, dict[str, float]] = read_json(path) if path.is_file() else {}
    return found


def _write_facts(ended: _Ended) -> None:
    job = ended.job
    facts: dict[str, float] = {
        "seconds": round(ended.seconds, 1),
        "files": len(job.keys),
        "estimate_mib": ended.estimate_mib,
    }
    if job.answer.is_file() and "peak_mib" in (answer := read_json(job.answer)):
        facts |= answer
    write_json(job.out / LOGS / FACTS, {**worker_facts(job.out), job.format: facts})


def _made(jobs: Sequence[Job]) -> int:
    return sum(record_path(job.out, job.format, kind).exists() for job in jobs for kind in job.keys)


def _raise_if_died(ended: Sequence[_Ended], timeout_s: float) -> None:
    for end in ended:
        if end.expired:
            raise _expired(end, timeout_s)
        if end.job.answer.is_file():
            answer = read_json(end.job.answer)
            if "error" in answer:
                raise raised_again(answer)
            continue
        form = end.job.format
        hint = f"see {log_path(end.job.out, form)}; finished files are kept, run it again"
        how = f"ended with {end.code}"
        if end.code < 0:
            how = f"was killed by {signal.Signals(-end.code).name}"
            hint += f" (it needs about {end.estimate_mib} MiB of memory)"
        raise TargetUnsupported(f"{FORMATS[form].target}: the {form} converter {how}", hint=hint)


def _expired(end: _Ended, timeout_s: float) -> EdgekitError:
    form, target = end.job.format, FORMATS[end.job.format].target
    return TargetUnsupported(
        f"{target}: the {form} converter was ended after {timeout_s:g} s",
        hint=f"finished files are kept; run it again with a longer --timeout, or leave out "
        f"--target {target}",
    )
