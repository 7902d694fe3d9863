"""Make one format's files in a process of its own: ``python -m edgekit.export.worker JOB.json``.

A converter may print, leak hundreds of megabytes or crash; here that costs a log file and nothing
else. The job comes as a file, the results are the records beside the files.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from edgekit.core.errors import EdgekitError, OutputError
from edgekit.core.manifest import Format
from edgekit.core.seams import OpenSession, Precision
from edgekit.core.store import write_json
from edgekit.export.targets import DEFAULT, Options


class Job(BaseModel):
    """What one worker makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    student: Path
    format: Format
    keys: dict[Precision, str]
    out: Path
    scratch: Path
    open_session: str
    """``module:function``; the parts do not import each other, so the name travels instead."""
    name: str
    options: Options = DEFAULT

    @property
    def answer(self) -> Path:
        """File in which the worker says how it ended."""
        return self.scratch.with_suffix(".answer.json")


QUIET = {
    "PYTHONHASHSEED": "0",  # one order of names in every file: equal hashes on every run
    "OMP_NUM_THREADS": "1",  # one order of summation, whatever else runs
    "PYTHONWARNINGS": "ignore",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "JAX_PLATFORMS": "cpu",
    "TORCHAO_FORCE_SKIP_LOADING_SO_FILES": "1",
}
"""Environment of a worker."""


def reference_of(function: OpenSession) -> str | None:
    """Return ``module:function`` if another process can import exactly `function`, else None."""
    name = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    try:
        return name if resolved(name) is function else None
    except (ImportError, AttributeError, ValueError):
        return None


def resolved(reference: str) -> OpenSession:
    """Return the function that `reference` names."""
    module, _, name = reference.partition(":")
    return cast(OpenSession, getattr(import_module(module), name))


def work(job: Job, open_session: OpenSession) -> None:
    """Make the files of `job` in this process; OutputError if their place cannot be written."""
    from edgekit.export.program import read_student
    from edgekit.export.rows import UNWRITABLE, make_rows

    try:
        make_rows(
            read_student(job.student),
            job.format,
            job.keys,
            job.out,
            job.scratch,
            open_session=open_session,
            name=job.name,
            options=job.options,
        )
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise OutputError(
            f"{job.out} cannot be written: {error.strerror}",
            hint="free some space or choose another --out; finished files are kept",
        ) from error


def raised_again(answer: Mapping[str, Any]) -> EdgekitError:
    """Return the error that a worker reported."""
    from edgekit.core import errors

    found = getattr(errors, str(answer["error"]), EdgekitError)
    kind = EdgekitError if found is errors.DependencyMissing else found
    error: EdgekitError = kind(str(answer["what"]), hint=str(answer["hint"]))
    error.exit_code = int(answer["exit_code"])
    return error


def peak_mib() -> int:
    """Return this process's peak memory.

    Linux tells it for this program alone in /proc; getrusage there keeps the peak of the process
    that this one was forked from.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return round(int(line.split()[1]) / 1024)
    except (OSError, StopIteration):
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(argv: list[str]) -> int:
    """Run the job in the file that `argv` names; 0 if it came to an end, also to a user's error."""
    warnings.filterwarnings("ignore")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    job = Job.model_validate_json(Path(argv[0]).read_text(encoding="utf-8"))
    try:
        work(job, resolved(job.open_session))
    except EdgekitError as error:
        answer = {
            "error": type(error).__name__,
            "what": error.what,
            "hint": error.hint,
            "exit_code": error.exit_code,
        }
        write_json(job.answer, answer)
        return 0
    used = resource.getrusage(resource.RUSAGE_SELF)
    facts = {
        "peak_mib": peak_mib(),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
    }
    write_json(job.answer, facts)
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # all is written; unloading three frameworks would take seconds
