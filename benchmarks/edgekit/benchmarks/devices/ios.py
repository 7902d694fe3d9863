"""iPhones and iPads through coremltools' own benchmarker, on a Mac with Xcode. Never run so far.

coremltools builds a small app that loads the model on the device, installs it with the developer's
signing, and times loads and predictions inside the app. What it gives back are durations; neither
CPU time nor memory nor temperature. The outputs for the golden samples come from the same app.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.benchmarks.devices.facts import DeviceFacts, read_facts
from edgekit.benchmarks.devices.judging import accuracy_of, judged
from edgekit.benchmarks.devices.measure import GOLDEN_SAMPLES, PROTOCOL
from edgekit.benchmarks.devices.plan import Plan
from edgekit.benchmarks.devices.samples import samples_of
from edgekit.benchmarks.devices.session import Event, Run
from edgekit.core.errors import (
    BadInput,
    DependencyMissing,
    DeviceUnreachable,
    EdgekitError,
    TargetUnsupported,
)
from edgekit.core.manifest import ModelEntry, read_bundle
from edgekit.core.progress import Report, silent
from edgekit.core.seams import Port
from edgekit.core.tensors import Batch
from edgekit.runtime.pipeline import from_golden
from edgekit.runtime.verify import read_golden

TEAM, IDENTIFIER, PROFILE = "EDGEKIT_IOS_TEAM", "EDGEKIT_IOS_APP_ID", "EDGEKIT_IOS_PROFILE"
"""Environment: the development team; or an app identifier and the UUID of its profile."""


def bench_ios(
    folder: Path,
    udid: str,
    *,
    plan: Plan,
    wanted: Callable[[ModelEntry], bool],
    report: Report = silent,
) -> dict[str, Any]:
    """Measure the Core ML packages of the bundle in `folder` on a connected device.

    Raises TargetUnsupported on another system than macOS, DependencyMissing without coremltools,
    EdgekitError without the signing, DeviceUnreachable for an unknown or locked device.
    """
    if sys.platform != "darwin":
        raise TargetUnsupported(
            "devices of Apple are reached from a Mac only, by Xcode's tools",
            hint="run the same command on a Mac with Xcode and coremltools",
        )
    manifest = read_bundle(folder, check_files=True)
    entries = [entry for entry in manifest.models if entry.format == "mlpackage" and wanted(entry)]
    if not entries:
        raise BadInput(
            f"{manifest.name} holds no Core ML package that was asked for",
            hint="export it with --target ios",
        )
    golden = read_golden(folder, manifest)[:GOLDEN_SAMPLES]
    device, credentials = device_named(udid), signing()
    facts = device_facts_of(device)

    async def rows_of() -> list[dict[str, Any]]:
        ready = await prepared(device, credentials)
        rows = []
        for index, entry in enumerate(entries):
            report("bench", index, len(entries), entry.path)
            rows.append(await measured(folder, entry, ready, golden, plan, facts))
        return rows

    rows = asyncio.run(rows_of())
    return {
        "protocol": f"{PROTOCOL}/coremltools",
        "name": manifest.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": asdict(facts),
        "notes": ["coremltools tells neither CPU time nor memory nor temperature"],
        "plan": asdict(plan),
        "threads": plan.threads,
        "size_px": manifest.student.size_px,
        "golden_samples": len(golden),
        "rows": rows,
        "skipped": [
            {"path": entry.path, "reason": "not a Core ML package"}
            for entry in manifest.models
            if entry not in entries
        ],
    }


def device_named(udid: str) -> Any:
    """Return coremltools' object for the device with that identifier (or the only one)."""
    try:
        from coremltools.models.ml_program.experimental.remote_device import Device, DeviceType
    except ModuleNotFoundError as error:
        raise DependencyMissing("coremltools", extra="ios") from error
    found = [*Device.get_connected_devices(DeviceType.IPHONE)]
    found += Device.get_connected_devices(DeviceType.IPAD)
    chosen = [device for device in found if udid in ("", device.udid, device.identifier)]
    if len(chosen) == 1:
        return chosen[0]
    there = ", ".join(device.udid for device in found) or "none"
    raise DeviceUnreachable(
        f"no connected device has the identifier {udid!r} (connected: {there})"
        if udid
        else f"{len(found)} devices are connected (connected: {there})",
        hint="unlock it, trust this Mac, and name it: --device ios:UDID "
        "(see `xcrun devicectl list devices`)",
    )


def signing(environment: Mapping[str, str] = os.environ) -> Any:
    """Return coremltools' credentials from the environment; EdgekitError without any."""
    team, profile = environment.get(TEAM), environment.get(PROFILE)
    if not team and not profile:
        raise EdgekitError(
            f"an app that runs the model on the device must be signed: {TEAM} is not set",
            hint=f"set it to your development team's identifier, or {PROFILE} and {IDENTIFIER} "
            "to a provisioning profile's UUID and its app",
        )
    from coremltools.models.ml_program.experimental.remote_device import AppSigningCredentials

    return AppSigningCredentials(
        development_team=team or "",
        provisioning_profile_uuid=profile or None,
        bundle_identifier=environment.get(IDENTIFIER) or None,
    )


async def prepared(device: Any, credentials: Any) -> Any:
    """Build coremltools' app, install it on the device, and return the device made ready."""
    try:
        return await device.prepare_for_model_debugging(credentials=credentials)
    except Exception as error:  # xcodebuild and devicectl fail with many kinds of it
        raise DeviceUnreachable(
            f"the app could not be built for or installed on {device.name}: {error}",
            hint="open Xcode once with the device connected, and switch its developer mode on",
        ) from error


def device_facts_of(device: Any) -> DeviceFacts:
    """Return what coremltools knows of a device."""
    told = read_facts(f"ios:{device.udid}", {})
    return replace(
        told,
        model=f"{device.name} ({device.type.value})",
        abi="ios-arm64",
        system=f"iOS {device.os_version} ({device.os_build_number})",
    )


async def measured(
    folder: Path,
    entry: ModelEntry,
    device: Any,
    golden: Sequence[Mapping[str, Batch]],
    plan: Plan,
    facts: DeviceFacts,
) -> dict[str, Any]:
    """Return the row of one package: loads, predictions, and the outputs' distance from golden."""
    import coremltools
    from coremltools.models.ml_program.experimental.async_wrapper import MLModelAsyncWrapper
    from coremltools.models.ml_program.experimental.perf_utils import MLModelBenchmarker

    row = {
        "name": entry.path,
        "kind": "file",
        "target": entry.target,
        "precision": entry.precision,
        "runtime": "coreml",
        "runtime_version": facts.system,
        "runner": f"coremltools {coremltools.__version__}",
        "sha256": entry.sha256,
        "bytes": entry.bytes,
    }
    ports = tuple(port.port() for port in entry.inputs)
    events: list[Event] = []
    outputs: dict[str, bytes] = {}
    run = Run((), "", "", "")
    try:
        model = coremltools.models.MLModel(str(folder / entry.path), skip_model_load=True)
        benchmarker = MLModelBenchmarker(model=model, device=device)
        loads = await benchmarker.benchmark_load(iterations=plan.loads)
        feeds = fed(golden[0], ports)
        first = await benchmarker.benchmark_predict(feeds, iterations=1 + plan.warmup)
        timed = await benchmarker.benchmark_predict(feeds, iterations=plan.calls)
        events = events_of(loads.samples, first.samples, timed.samples)
        wrapper = MLModelAsyncWrapper.from_spec_or_path(
            model.get_spec(), weights_dir=model.weights_dir, device=device
        )
        answers = [await wrapper.predict(fed(sample, ports)) for sample in golden]
        outputs = joined(answers, entry)
    except Exception as error:  # whatever the app on the device sends back
        run = Run((), "failed", f"{type(error).__name__}: {error}", "see the device's log in Xcode")
    accuracy = accuracy_of(outputs, entry, golden) if outputs else None
    return {**row, **judged(plan, samples_of(events), run, accuracy, facts, None, entry)}


def fed(sample: Mapping[str, Batch], ports: tuple[Port, ...]) -> dict[str, Any]:
    """Return a golden sample as Core ML takes it: pictures as images, all else as arrays."""
    from PIL import Image

    feeds = from_golden(sample, ports)
    return {
        port.name: Image.fromarray(feeds[port.name][0])
        if port.dtype == "uint8"
        else feeds[port.name]
        for port in ports
    }


def events_of(
    loads_ms: Sequence[float], first_ms: Sequence[float], timed_ms: Sequence[float]
) -> list[Event]:
    """Return coremltools' durations as the events that every other runner writes."""

    def event(name: str, index: int, ms: float) -> Event:
        return {"event": name, "index": index, "ns": ms * 1e6, "cpu_ns": -1}

    found: list[Event] = [{"event": "start", "engine": "coreml"}]
    found += [event("load", i, ms) for i, ms in enumerate(loads_ms)]
    found += [event("first", 0, first_ms[0])]
    found += [event("warm", i, ms) for i, ms in enumerate(first_ms[1:])]
    found += [event("run", i, ms) for i, ms in enumerate(timed_ms)]
    wall_ns = sum(timed_ms) * 1e6
    return [*found, {"event": "end", "ended": "done", "calls": len(timed_ms), "wall_ns": wall_ns}]


def joined(answers: Sequence[Mapping[str, Any]], entry: ModelEntry) -> dict[str, bytes]:
    """Return each output port's bytes of all samples, as a runner writes them."""
    found = {}
    for port in (told.port() for told in entry.outputs):
        rows = [np.asarray(answer[port.name]).astype(port.dtype) for answer in answers]
        found[port.name] = b"".join(np.ascontiguousarray(row).tobytes() for row in rows)
    return found
