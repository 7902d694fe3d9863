"""``edgekit bench --device``: the options of a measurement on a device, and what follows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.cli.common import ConsoleReport, note, planned, show
from edgekit.core.errors import EdgekitError

if TYPE_CHECKING:
    from edgekit.benchmarks.devices.facts import DeviceFacts
    from edgekit.benchmarks.devices.plan import Plan
    from edgekit.benchmarks.devices.runners import Kit
    from edgekit.core.manifest import ModelEntry

RUNNERS = ("auto", "native", "app-process")
STRICT_BUDGET_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """The options that only a measurement on a device takes, as the command line gives them."""

    device: str
    target: str | None
    precision: str | None
    threads: int
    calls: int | None
    warmup: int
    min_seconds: float
    budget: float | None
    timeout: float | None
    cool: float | None
    cool_wait: float
    min_battery: int
    strict: bool
    against: Path | None
    runner: str
    compiler: str | None
    library: Path | None
    out: Path | None


def bench_on_device(folder: Path, run_folder: Path | None, asked: DeviceOptions) -> None:
    """Measure the bundle in `folder` on a device, write the result, show it, judge it."""
    from edgekit.benchmarks.devices.named import device_kind
    from edgekit.benchmarks.devices.result import (
        check_result,
        comparisons,
        file_name,
        read_result,
        shown,
    )
    from edgekit.core.errors import unknown_name
    from edgekit.core.store import prepared_folder, write_json

    kind, name = device_kind(asked.device)
    if asked.runner not in RUNNERS:
        raise unknown_name("runner", asked.runner, RUNNERS)
    plan = device_plan(asked)
    earlier = read_result(asked.against) if asked.against else None
    file = asked.out or (run_folder and run_folder / file_name(asked.device))
    if planned(
        {
            "command": "bench --device",
            "device": asked.device,
            "bundle": folder,
            "plan": plan,
            "runner": asked.runner,
            "against": asked.against,
            "out": file,
        }
    ):
        return
    if file is not None:
        prepared_folder(file.parent)
    if kind == "web":
        from edgekit.benchmarks.devices.web import bench_web

        result = bench_web(folder, name, plan=plan, wanted=_wanted(asked), report=ConsoleReport())
    elif kind == "ios":
        from edgekit.benchmarks.devices.ios import bench_ios

        result = bench_ios(folder, name, plan=plan, wanted=_wanted(asked), report=ConsoleReport())
    else:
        result = _by_transport(folder, asked, plan)
    if earlier is not None:
        result["comparisons"] = comparisons(result, earlier)
    if file is not None:
        write_json(file, result)
        note(f"raw samples: {file}")
    show(result, shown(result))
    check_result(result)


def device_plan(asked: DeviceOptions) -> Plan:
    """Return how files are measured; --strict raises the counts that were not given."""
    from edgekit.benchmarks.devices.plan import Plan
    from edgekit.benchmarks.devices.verdicts import STRICT_CALLS, STRICT_SECONDS

    calls, seconds, budget = asked.calls or 100, asked.min_seconds, asked.budget or 120.0
    if asked.strict:
        calls = asked.calls or STRICT_CALLS
        seconds = max(seconds, STRICT_SECONDS)
        budget = asked.budget or STRICT_BUDGET_S
    if seconds > budget:
        raise EdgekitError(
            f"--min-seconds {seconds:g} is longer than --budget {budget:g}",
            hint="give a larger --budget",
        )
    return Plan(
        threads=asked.threads,
        calls=calls,
        warmup=asked.warmup,
        min_seconds=seconds,
        budget_seconds=budget,
        timeout_seconds=asked.timeout or budget + 180.0,
        strict=asked.strict,
    )


def _wanted(asked: DeviceOptions) -> Any:
    def wanted(entry: ModelEntry) -> bool:
        return asked.target in (None, entry.target) and asked.precision in (None, entry.precision)

    return wanted


def _by_transport(folder: Path, asked: DeviceOptions, plan: Plan) -> dict[str, Any]:
    from edgekit.benchmarks.devices.measure import bench_device
    from edgekit.benchmarks.devices.named import transport_named
    from edgekit.benchmarks.devices.preflight import Limits

    def kit_for(form: str, facts: DeviceFacts) -> Kit:
        from edgekit.benchmarks.devices.kits import kit_for_device

        return kit_for_device(
            form, facts, runner=asked.runner, compiler=asked.compiler, library=asked.library
        )

    return bench_device(
        folder,
        transport_named(asked.device),
        kit_for,
        plan=plan,
        limits=Limits(
            battery_percent=asked.min_battery,
            temperature_c=asked.cool,
            patience_s=asked.cool_wait,
        ),
        entries=_wanted(asked),
        report=ConsoleReport(),
    )
