"""A bundle's files measured on a device: fit, sent, cool, run, compared with the golden vectors."""

from __future__ import annotations

import secrets
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgekit.benchmarks.devices.facts import DeviceFacts, device_facts
from edgekit.benchmarks.devices.judging import accuracy_of, judged
from edgekit.benchmarks.devices.plan import Plan
from edgekit.benchmarks.devices.preflight import Limits, check_fit, cooled
from edgekit.benchmarks.devices.runners import PROGRAM, Kit
from edgekit.benchmarks.devices.samples import samples_of
from edgekit.benchmarks.devices.sending import send
from edgekit.benchmarks.devices.session import Event, Run, run_session, running
from edgekit.benchmarks.devices.transport import Transport, ask
from edgekit.core.errors import DeviceUnreachable, EdgekitError
from edgekit.core.manifest import BundleManifest, ModelEntry, read_bundle
from edgekit.core.progress import Report, silent
from edgekit.core.tensors import Batch
from edgekit.runtime.pipeline import from_golden
from edgekit.runtime.verify import read_golden

PROTOCOL = "device-latency-1"
GRACE_S = 20.0
"""How much later than this side the runner ends by itself, if nobody could stop it."""
GOLDEN_SAMPLES = 4
"""Golden samples that take turns as the input of the calls."""


KitFor = Callable[[str, DeviceFacts], Kit]
"""Format of a model file and the device -> what runs it there; EdgekitError if nothing does."""


@dataclass(slots=True)
class _Session:
    """What the steps of one measurement share."""

    transport: Transport
    plan: Plan
    limits: Limits
    report: Report
    facts: DeviceFacts
    copied: list[str] = field(default_factory=list)


def bench_device(
    folder: Path,
    transport: Transport,
    kit_for: KitFor,
    *,
    plan: Plan,
    limits: Limits,
    entries: Callable[[ModelEntry], bool] = lambda entry: True,
    report: Report = silent,
) -> dict[str, Any]:
    """Measure the files of the bundle in `folder` that `entries` wants and the device can run.

    The result is a JSON value with the raw samples. A file that fails, gives a wrong answer or
    whose device is lost has a row that says so (`problem`), and the rows before it are kept.

    Raises BadInput for a damaged bundle, DeviceUnreachable for a device that cannot be reached, is
    in no state to be measured or has a runner for none of the files.
    """
    manifest = read_bundle(folder, check_files=True)
    golden = read_golden(folder, manifest)[:GOLDEN_SAMPLES]
    transport.check()
    facts = device_facts(transport, sysfs_root=plan.sysfs_root)
    notes = check_fit(facts, limits)
    busy = running(transport, f"{shlex.quote(transport.folder)}/run-*/pid")
    if busy is not None:
        raise DeviceUnreachable(
            f"a measurement is running on {transport.name} already (process {busy})",
            hint=f"wait for it, or end it on the device: kill {busy}",
        )
    kits, skipped = _kits(manifest, facts, kit_for, entries)
    session = _Session(transport, plan, limits, report, facts)
    rows: list[dict[str, Any]] = []
    for entry, kit in kits:
        try:
            before = _cool(session)
        except DeviceUnreachable as error:
            if not rows:
                raise
            rows.append(_unmeasured(session, entry, kit, error))
            break
        row = _measured(session, folder, entry, kit, golden, before)
        rows.append(row)
        if row["problem"] in ("lost", "interrupted"):
            break
    return {
        "protocol": PROTOCOL,
        "name": manifest.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": asdict(facts),
        "notes": notes,
        "plan": asdict(plan),
        "limits": asdict(limits),
        "threads": plan.threads,
        "size_px": manifest.student.size_px,
        "golden_samples": len(golden),
        "copied": session.copied,
        "rows": rows,
        "skipped": skipped,
    }


def _kits(
    manifest: BundleManifest,
    facts: DeviceFacts,
    kit_for: KitFor,
    entries: Callable[[ModelEntry], bool],
) -> tuple[list[tuple[ModelEntry, Kit]], list[dict[str, str]]]:
    found: list[tuple[ModelEntry, Kit]] = []
    skipped: list[dict[str, str]] = []
    problems: list[EdgekitError] = []
    for entry in filter(entries, manifest.models):
        try:
            found.append((entry, kit_for(entry.format, facts)))
        except EdgekitError as error:
            problems.append(error)
            skipped.append({"path": entry.path, "reason": error.what})
    if not found:
        if problems:  # the most useful of them: one that names what to give
            raise next((row for row in problems if row.exit_code != 7), problems[0])
        raise EdgekitError(
            f"{manifest.name} holds no file that was asked for",
            hint="leave --target and --precision out",
        )
    return found, skipped


def _cool(session: _Session) -> DeviceFacts:
    """Wait until the device is cool and return what it is like."""

    def ask_again() -> DeviceFacts:
        return device_facts(session.transport, sysfs_root=session.plan.sysfs_root)

    return cooled(ask_again, ask_again(), session.limits, report=session.report)


def _told(entry: ModelEntry, kit: Kit) -> dict[str, Any]:
    return {
        "name": entry.path,
        "kind": "file",
        "target": entry.target,
        "precision": entry.precision,
        "runtime": kit.engine,
        "runtime_version": kit.version,
        "runner": kit.runner,
        "sha256": entry.sha256,
        "bytes": entry.bytes,
    }


def _unmeasured(
    session: _Session, entry: ModelEntry, kit: Kit, error: DeviceUnreachable
) -> dict[str, Any]:
    """Return the row of a file that no call of was timed."""
    run = Run((), "lost" if _gone(session.transport) else "failed", error.what, error.hint)
    empty = judged(session.plan, samples_of(()), run, None, session.facts, None, entry)
    return {**_told(entry, kit), **empty}


def _measured(
    session: _Session,
    folder: Path,
    entry: ModelEntry,
    kit: Kit,
    golden: Sequence[Mapping[str, Batch]],
    before: DeviceFacts,
) -> dict[str, Any]:
    """Return the row of one file; whatever goes wrong on the device stands in it."""
    transport, plan = session.transport, session.plan
    row = _told(entry, kit)
    work = f"{transport.folder}/run-{secrets.token_hex(4)}"
    after = None
    try:
        with tempfile.TemporaryDirectory() as scratch:
            run, outputs = _run(session, folder, entry, kit, golden, work, Path(scratch))
        if run.problem not in ("lost", "interrupted"):
            after = device_facts(transport, sysfs_root=plan.sysfs_root)
    except DeviceUnreachable as error:
        return _unmeasured(session, entry, kit, error)
    finally:
        _tidied(transport, work)
    accuracy = accuracy_of(outputs, entry, golden) if outputs else None
    samples = samples_of(run.events)
    if samples.start.get("version"):
        row["runtime_version"] = samples.start["version"]
    return {**row, **judged(plan, samples, run, accuracy, before, after, entry)}


def _gone(transport: Transport) -> bool:
    try:
        transport.check()
    except DeviceUnreachable:
        return True
    return False


def _tidied(transport: Transport, work: str) -> None:
    """Remove the folder of a run; a device that is gone keeps it."""
    try:
        ask(transport, f"rm -rf {shlex.quote(work)}", timeout_s=10)
    except DeviceUnreachable:
        return


def _run(
    session: _Session,
    folder: Path,
    entry: ModelEntry,
    kit: Kit,
    golden: Sequence[Mapping[str, Batch]],
    work: str,
    scratch: Path,
) -> tuple[Run, dict[str, bytes]]:
    """Send everything, run, and bring the outputs back."""
    transport, plan = session.transport, session.plan
    inputs = _input_files(entry, golden, scratch)
    files = {**kit.files, "model": folder / entry.path, **inputs}
    sent = send(transport, files, programs=(PROGRAM,))
    session.copied += [f"{entry.path}: {name}" for name in sent.copied]
    outputs = {port.name: f"{work}/out-{i}.bin" for i, port in enumerate(entry.outputs)}
    words = [f"--model {shlex.quote(sent.places['model'])}"]
    words += [f"--input {shlex.quote(f'{name}={sent.places[name]}')}" for name in inputs]
    words += [f"--output {shlex.quote(f'{name}={place}')}" for name, place in outputs.items()]
    words += [f"--samples {len(golden)} --loads {plan.loads} --warmup {plan.warmup}"]
    words += [f"--calls {plan.calls} --threads {plan.threads}"]
    words += [f"--min-seconds {plan.min_seconds:g} --budget-seconds {plan.budget_seconds:g}"]
    words += [f"--limit-seconds {plan.timeout_seconds + GRACE_S:g}"]
    words += [f"--pid-file {shlex.quote(work)}/pid"]
    if plan.sysfs_root:
        words += [f"--sysfs-root {shlex.quote(plan.sysfs_root)}"]
    quoted = {name: _absolute(place) for name, place in sent.places.items()}
    program = kit.program.format_map(
        {**{name: shlex.quote(p) for name, p in quoted.items()}, "work": shlex.quote(work)}
    )
    steps = [f"mkdir -p {shlex.quote(work)}"]
    for name in kit.links:
        link = f"{shlex.quote(work)}/{shlex.quote(name)}"
        steps.append(f'ln -sf "$(realpath {quoted[name]})" {link}')
    command = " && ".join([*steps, f"exec {program} {' '.join(words)}"])
    done = 0

    def seen(event: Event) -> None:
        nonlocal done
        done += event["event"] == "run"
        session.report(f"bench {entry.path}", min(done, plan.calls), plan.calls, event["event"])

    run = run_session(transport, command, f"{work}/pid", timeout_s=plan.timeout_seconds, seen=seen)
    brought: dict[str, bytes] = {}
    if not (run.events and run.events[-1]["event"] == "end"):
        return run, brought
    for name, place in outputs.items():
        target = scratch / f"out-{len(brought)}.bin"
        transport.pull(place, target)
        brought[name] = target.read_bytes()
    return run, brought


def _absolute(place: str) -> str:
    """Return a place that a shell and dlopen take for a path, not for a name to be searched."""
    return place if place.startswith("/") else f"./{place}"


def _input_files(
    entry: ModelEntry, golden: Sequence[Mapping[str, Batch]], scratch: Path
) -> dict[str, Path]:
    ports = tuple(port.port() for port in entry.inputs)
    made = {}
    for index, port in enumerate(ports):
        rows = [from_golden(sample, (port,))[port.name].tobytes() for sample in golden]
        path = scratch / f"in-{index}.bin"
        path.write_bytes(b"".join(rows))
        made[port.name] = path
    return made
