"""Run the jobs of an export: at most two converters at a time, each in its own process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from edgekit.core.errors import TargetUnsupported
from edgekit.core.progress import Report
from edgekit.core.seams import OpenSession
from edgekit.core.store import prepared_folder, read_json, write_json
from edgekit.export.rows import record_path
from edgekit.export.targets import FORMATS
from edgekit.export.worker import QUIET, Job, raised_again, reference_of, work

PARALLEL = 2
"""Converters at a time: each may need more than a gigabyte."""
LOGS = "logs"
_POLL_S = 0.2


def run_jobs(
    jobs: Sequence[Job], open_session: OpenSession, *, report: Report, isolated: bool
) -> None:
    """Run all jobs to their end; what they made stands in the records.

    Raises what a worker reported, or TargetUnsupported if a worker died, after all have ended.
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
    _run_isolated(named, report, total)


def _run_isolated(jobs: Sequence[Job], report: Report, total: int) -> None:
    waiting = sorted(jobs, key=lambda job: _SLOWEST_FIRST.index(job.format))
    running: list[tuple[Job, subprocess.Popen[bytes], IO[bytes]]] = []
    ended: list[tuple[Job, int]] = []
    parallel = min(PARALLEL, len(jobs))
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                job = waiting.pop(0)
                running.append((job, *_started(job)))
            for entry in list(running):
                job, process, log = entry
                code = process.poll()
                if code is not None:
                    log.close()
                    running.remove(entry)
                    ended.append((job, code))
            names = ", ".join(job.format for job, _, _ in running)
            if (made := _made(jobs)) < total:
                report("export", made, total, names)
            time.sleep(_POLL_S)
    finally:
        for _, process, log in running:
            process.kill()
            process.wait()
            log.close()
    _raise_if_died(ended)
    report("export", total, total)


_SLOWEST_FIRST = ("pte", "aimodel", "tflite", "mlpackage", "onnx", "openvino", "engine", "trt")


def _started(job: Job) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
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
    return process, stream


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


def _made(jobs: Sequence[Job]) -> int:
    return sum(record_path(job.out, job.format, kind).exists() for job in jobs for kind in job.keys)


def _raise_if_died(ended: Sequence[tuple[Job, int]]) -> None:
    for job, code in ended:
        if job.answer.is_file():
            answer = read_json(job.answer)
            if "error" in answer:
                raise raised_again(answer)
            continue
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        raise TargetUnsupported(
            f"{FORMATS[job.format].target}: the {job.format} converter {how}",
            hint=f"see {log_path(job.out, job.format)}; finished files are kept, run it again",
        )
