"""One run of the runner on a device: its lines read as they come, and a stop that leaves nothing.

The runner writes its process number to a file on the device. Whatever happens here (time over,
Ctrl-C, an error), that process is ended by this number, and only if it still is the runner: a
phone must not compute on in a pocket because a cable was pulled. It also ends by itself when nobody
reads its lines any more, and when the time that it was given is over.
"""

from __future__ import annotations

import contextlib
import json
import queue
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal

from edgekit.benchmarks.devices.transport import Transport, ask
from edgekit.core.errors import DeviceUnreachable

Event = dict[str, Any]
Problem = Literal["", "failed", "time-out", "lost", "interrupted"]
_AGAIN_S = 3.0
"""How long after the runner's end its device may take to answer."""
_LAST_WORDS_S = 5.0


@dataclass(frozen=True, slots=True)
class Run:
    """What the runner said, and what kept it from finishing."""

    events: tuple[Event, ...]
    problem: Problem
    reason: str
    hint: str


def run_session(
    transport: Transport,
    command: str,
    pid_place: str,
    *,
    timeout_s: float,
    seen: Callable[[Event], None] = lambda event: None,
) -> Run:
    """Run the shell `command` (which starts the runner) on the device until it ends.

    `seen` is called with every event. Problems are told, not raised: what came until then counts.
    """
    events: list[Event] = []
    problem: Problem = ""
    ends = time.monotonic() + timeout_s
    with _process(transport, command) as (process, lines, said):
        try:
            while (line := _next(lines, ends - time.monotonic())) is not None:
                if event := _event(line):
                    events.append(event)
                    seen(event)
            code = process.wait(timeout=max(0.1, ends - time.monotonic()))
        except (queue.Empty, subprocess.TimeoutExpired):
            problem = "time-out"
        except KeyboardInterrupt:
            problem = "interrupted"
        if problem:
            stop(transport, pid_place)
            # It ends after its call, writes its outputs and says so: those lines still count.
            ends = time.monotonic() + _LAST_WORDS_S
            with contextlib.suppress(queue.Empty):
                while (line := _next(lines, ends - time.monotonic())) is not None:
                    if event := _event(line):
                        events.append(event)
            what = {
                "time-out": f"it did not finish in {timeout_s:g} s",
                "interrupted": "it was interrupted",
            }[problem]
            hint = {
                "time-out": "ask for fewer calls, or allow more with --timeout",
                "interrupted": "what came until then is kept; run it again for the rest",
            }[problem]
            return Run(tuple(events), problem, what, hint)
        error = said()
    return _ended(transport, pid_place, events, code, error)


def _ended(transport: Transport, pid_place: str, events: list[Event], code: int, error: str) -> Run:
    """Tell apart a runner that is done, one that failed, and a device that is gone."""
    told = tuple(events)
    last = told[-1] if told else {}
    if code == 0 and last.get("event") == "end":
        return Run(told, "", "", "")
    if last.get("event") == "error":
        reason = f"{last.get('where', '?')}: {last.get('reason', 'no reason')}"
        errors = [line.strip() for line in error.splitlines() if "error" in line.lower()]
        if errors:  # the runtime's own words, which its status code leaves out
            reason += f"; {errors[-1][:200]}"
        return Run(
            told, "failed", reason, "run `edgekit verify` here, and see the runtime's limits"
        )
    try:
        transport.check()
        ask(transport, "true", timeout_s=_AGAIN_S)
    except DeviceUnreachable as gone:
        return Run(told, "lost", f"the device was lost: {gone.what}", gone.hint)
    stop(transport, pid_place)
    lines = [line for line in error.splitlines() if line.strip()]
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    reason = f"the runner ended with {ended}" + (f": {lines[-1].strip()}" if lines else "")
    hint = "signal 9 (137): out of memory; signal 11 (139): the runtime crashed; see its log"
    return Run(told, "failed", reason, hint)


@contextlib.contextmanager
def _process(
    transport: Transport, command: str
) -> Iterator[tuple[subprocess.Popen[str], queue.Queue[str | None], Callable[[], str]]]:
    """Start `command`; give the process, a queue of its lines (None ends it), and its stderr."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            transport.argv(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for us: the runner is stopped by its number
        )
        assert process.stdout is not None
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
        reader.start()

        def said() -> str:
            errors.seek(0)
            return errors.read()

        try:
            yield process, lines, said
        finally:
            process.kill()
            process.wait()
            reader.join(timeout=5)
            process.stdout.close()


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with contextlib.suppress(ValueError):  # closed under us: the run is over anyway
        for line in stream:
            lines.put(line)
    lines.put(None)


def _next(lines: queue.Queue[str | None], left_s: float) -> str | None:
    """Return the next line, None after the last; queue.Empty when the time is over."""
    if left_s <= 0:
        raise queue.Empty
    return lines.get(timeout=left_s)


def _event(line: str) -> Event | None:
    """Return the event of a line; a line that was cut off, or another program's, is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "event" in value else None


def stop(transport: Transport, pid_place: str) -> bool:
    """End the runner whose number is in the file `pid_place`; tell whether the device did it.

    A process of that number that is not the runner is left alone.
    """
    place = shlex.quote(pid_place)
    ours = "tr '\\0' ' ' < /proc/$p/cmdline 2>/dev/null | grep -q edgekit"
    script = (
        f'p=$(cat {place} 2>/dev/null) || exit 0; [ -n "$p" ] || exit 0; '
        f"if {ours}; then kill $p; for i in 1 2 3 4 5 6; do {ours} || break; sleep 0.5; done; "
        f"if {ours}; then kill -9 $p; fi; fi; rm -f {place}"
    )
    try:
        return ask(transport, script, timeout_s=15).code == 0
    except DeviceUnreachable:
        return False


def running(transport: Transport, pattern: str) -> int | None:
    """Return the number of a runner that is measuring on the device already, None if none is."""
    script = (
        f"for f in {pattern}; do p=$(cat $f 2>/dev/null) || continue; "
        "tr '\\0' ' ' < /proc/$p/cmdline 2>/dev/null | grep -q edgekit && echo $p; done; true"
    )
    words = ask(transport, script).out.split()
    return int(words[0]) if words and words[0].isdigit() else None
