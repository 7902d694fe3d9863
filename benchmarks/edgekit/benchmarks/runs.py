"""Runs of an experiment: one JSON line each, never run twice, shared by one process a GPU.

A run is an arm with a seed. Processes meet in a folder alone: a lock a run, and ``runs.jsonl``. One
that was killed leaves no line, so its run is done again by whoever comes next.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from filelock import FileLock, Timeout

Run: TypeAlias = tuple[str, int]
"""Arm and seed."""
Line: TypeAlias = dict[str, Any]
Chance: TypeAlias = Literal["now", "later", "never"]
"""Whether a run can begin: later if another run must be done before, never in this call."""
LAST_WORDS_S = 6.0
"""Seconds kept for the last save before a call has to end."""
WORKER = "--worker"
"""Word in the command of a process that `spread` started."""


def spread(gpus: int) -> None:
    """With several GPUs run this very command once on each, wait for all, and exit."""
    if gpus < 2 or WORKER in sys.argv:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(gpus)]
    workers = [
        subprocess.Popen(
            [sys.executable, *sys.argv, WORKER],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": name},
        )
        for name in names
    ]
    sys.exit(max(worker.wait() for worker in workers))


def say(event: str, **values: object) -> None:
    """Write a line on stderr."""
    words = " ".join(f"{name}={value}" for name, value in values.items())
    print(f"[{time.strftime('%H:%M:%S')}] {event} {words}", file=sys.stderr, flush=True)


def lines(path: Path) -> list[Line]:
    """Return the whole lines of a file; one that was cut short is left out."""
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a folder, and the time of `time.monotonic` at which this call has to end."""

    folder: Path
    ends: float

    @property
    def over(self) -> bool:
        """Whether nothing may begin any more."""
        return time.monotonic() >= self.ends

    def finished(self) -> set[Run]:
        """Return the runs that have a line."""
        return {(row["arm"], row["seed"]) for row in lines(self.folder / "runs.jsonl")}

    def work(
        self,
        runs: Iterable[Run],
        do: Callable[[str, int], Line | None],
        chance: Callable[[str, int], Chance] = lambda arm, seed: "now",
    ) -> list[Run]:
        """Do what is not done, in order, until nothing or no time is left; return what is left.

        `do` returns the line of a run, or None if the time was over before.
        """
        waiting = list(runs)
        while waiting and not self.over:
            waiting = [run for run in waiting if run not in self.finished()]
            did = [run for run in waiting if chance(*run) == "now" and self._one(run, do)]
            waiting = [run for run in waiting if run not in did]
            if waiting and not did:
                if all(chance(*run) == "never" for run in waiting):
                    break
                time.sleep(1.0)  # another process is at them, or at what they wait for
        return waiting

    def _one(self, run: Run, do: Callable[[str, int], Line | None]) -> bool:
        if self.over:
            return False
        arm, seed = run
        try:
            with FileLock(self.folder / f".{arm}-{seed}.lock").acquire(timeout=0):
                line = None if run in self.finished() else do(arm, seed)
        except Timeout:
            return False
        if line is None:
            return False
        with (
            FileLock(self.folder / ".runs.lock"),
            (self.folder / "runs.jsonl").open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(line) + "\n")
        return True

    def shared(self, stages: Mapping[str, Callable[[], Any]]) -> dict[str, Any] | None:
        """Return what each stage makes; None if the time was over before.

        A stage makes its files in the folder or finds them there, and returns None if the time is
        over. Each is entered by one process at a time; the others take another stage meanwhile.
        """
        made: dict[str, Any] = {}
        while len(made) < len(stages):
            for name, make in stages.items():
                if name in made:
                    continue
                if self.over:
                    return None
                try:
                    with FileLock(self.folder / f".{name}.lock").acquire(timeout=0):
                        found = make()
                except Timeout:
                    time.sleep(0.5)
                    continue
                if found is None:
                    return None
                made[name] = found
        return made
