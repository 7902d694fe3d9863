"""Send every module of the zoo through the export of every format, and note what came of each.

    python benchmarks/zoo_run.py --out benchmarks/results/zoo.jsonl
    python benchmarks/zoo_run.py --out /tmp/few.jsonl --formats onnx --only group_norm unet
    python benchmarks/zoo_run.py --out benchmarks/results/zoo.jsonl --no-rewrites

One worker at a time, one a format, lives over many modules. A worker that dies or takes too long
costs the conversion that it was at; the others are done by its successor. A line that is in the
file is not run again. benchmarks/zoo_table.py makes the page.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast, get_args

from edgekit.core.manifest import Format
from edgekit.export.records import Record
from edgekit.export.worker import QUIET
from zoo import ZOO, cells, worker
from zoo.cells import Cell

SECONDS = 120.0
LIFE = 40
"""Modules that a worker sees before it makes room: converters keep what they have seen."""
FLOATS = ("fp32", "fp16")


@dataclass(slots=True)
class Worker:
    """A process that converts to one format."""

    form: Format
    rewrites: bool
    log: Path
    members: str = "zoo:ZOO"
    """``module:table`` of the modules, which the process imports."""
    served: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _answers: int = -1
    _rest: bytes = field(default=b"")

    def start(self) -> None:
        """Start the process if there is none."""
        if self._process is not None:
            return
        mine, its = os.pipe()
        arguments = [str(self.form), str(its), "1" if self.rewrites else "0", self.members]
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, __file__, "--worker", *arguments],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=(its,),
                env={**os.environ, **QUIET},
            )
        os.close(its)
        self._answers, self._rest, self.served = mine, b"", 0

    def ask(self, order: Mapping[str, Any], seconds: float) -> tuple[str, str]:
        """Return how an order ended: done, died or expired, and what was said about it."""
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        self.served += 1
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return "died", self.stop()
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                self.stop()
                return "expired", f"took longer than {seconds:g} s"
            piece = os.read(self._answers, 65536)
            if not piece:
                return "died", self.stop()
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        said = str(json.loads(line)["error"])
        return ("failed", said) if said else ("done", "")

    def stop(self) -> str:
        """End the process, and say how it ended if it had ended itself."""
        process, self._process = self._process, None
        if process is None:
            return ""
        if process.stdin:
            process.stdin.close()
        os.close(self._answers)
        code = process.poll()
        if code is None:
            try:
                code = process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return "was ended"
        if code < 0:
            return f"the converter was killed by {signal.Signals(-code).name}"
        return f"the converter ended its process with {code}"


def cells_of(
    helper: Worker, name: str, precisions: Sequence[str], folder: Path, *, seconds: float
) -> list[Cell]:
    """Make all `precisions` of a module, whatever happens to the worker meanwhile."""
    place = folder / name
    made: dict[str, Cell] = {}
    while open_ := [precision for precision in precisions if precision not in made]:
        order = {"module": name, "precisions": open_, "place": str(place)}
        how, said = helper.ask(order, seconds * len(open_))
        for precision, record in worker.records_of(place, helper.form, open_).items():
            made[precision] = cells.cell_of(cast(Record, record), name, rewrites=helper.rewrites)
        for precision in open_:
            if precision not in made:  # the one that it was at
                made[precision] = cells.missed(
                    name, helper.form, precision, how, said, helper.rewrites
                )
                break
    shutil.rmtree(place, ignore_errors=True)
    if helper.served >= LIFE:
        helper.stop()
    return [made[precision] for precision in precisions]


def run(
    out: Path,
    *,
    formats: Sequence[Format],
    names: Sequence[str],
    precisions: Sequence[str],
    rewrites: bool = True,
    seconds: float = SECONDS,
    members: str = "zoo:ZOO",
) -> None:
    """Make what is missing in `out`."""
    there = {cell.key for cell in cells.read(out)}
    log = out.with_suffix(".log")
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        for form in formats:
            helper = Worker(form, rewrites, log, members)
            for place, name in enumerate(names):
                wanted = [p for p in precisions if (name, form, p, rewrites) not in there]
                if not wanted:
                    continue
                begin = time.monotonic()
                found = cells_of(helper, name, wanted, Path(scratch) / form, seconds=seconds)
                cells.append(out, found)
                said = ", ".join(f"{c.precision} {c.status} {c.worst_db}" for c in found)
                took = time.monotonic() - begin
                print(f"{form} {place + 1}/{len(names)} {name}: {said} ({took:.1f} s)", flush=True)
            helper.stop()


def main() -> None:
    """Read the command line."""
    if sys.argv[1:2] == ["--worker"]:
        form, answers, rewrites, *members = sys.argv[2:]
        module, _, table = (members[0] if members else "zoo:ZOO").partition(":")
        found = getattr(import_module(module), table)
        worker.main(cast(Format, form), int(answers), rewrites=rewrites == "1", members=found)
        sys.stdout.flush()
        os._exit(0)  # unloading several frameworks takes seconds
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--formats", nargs="+", choices=get_args(Format), default=get_args(Format))
    parser.add_argument("--only", nargs="+", choices=sorted(ZOO), default=list(ZOO))
    parser.add_argument("--precisions", nargs="+", choices=cells.PRECISIONS, default=FLOATS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="longest conversion")
    parser.add_argument("--no-rewrites", action="store_true", help="leave the graph as it is")
    given = parser.parse_args()
    run(
        given.out,
        formats=given.formats,
        names=given.only,
        precisions=given.precisions,
        rewrites=not given.no_rewrites,
        seconds=given.seconds,
    )


if __name__ == "__main__":
    main()
