"""Whether a device may be measured now, and waiting until it has cooled down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edgekit.benchmarks.devices.facts import DeviceFacts
from edgekit.core.errors import DeviceUnreachable
from edgekit.core.progress import Report, silent

PHONE_C = 38.0
"""Phones begin to slow down a little above this."""
OTHER_C = 70.0
"""Boards and computers are warmer than this only at work."""
_FIT_STATUS = 1
"""Android's thermal status (light) up to which nothing is slowed down yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a device must be like before it is measured."""

    battery_percent: int = 20
    """Below this, unless it is charging, phones save power by slowing down."""
    temperature_c: float | None = None
    """Hottest sensor above which the measurement waits; None for the usual one of its kind."""
    patience_s: float = 300.0
    """How long it waits."""
    room_mb: int = 100
    """Room for the runner, its runtime, a model and its pictures."""


def check_fit(facts: DeviceFacts, limits: Limits) -> list[str]:
    """Return what is worth knowing about the device's state (a sentence each).

    Raises DeviceUnreachable for a state in which any number would mislead, or no room.
    """
    battery = facts.battery_percent
    if battery is not None and battery < limits.battery_percent and not facts.charging:
        raise DeviceUnreachable(
            f"the battery of {facts.name} is at {battery} %, below {limits.battery_percent} %: "
            "it may be slowed down to save power",
            hint="charge it, or lower --min-battery",
        )
    if facts.free_mb is not None and facts.free_mb < limits.room_mb:
        raise DeviceUnreachable(
            f"{facts.name} has {facts.free_mb} MB of room, {limits.room_mb} MB are needed",
            hint="delete files on the device",
        )
    notes = []
    if facts.charging:
        notes.append("it is charging, which heats it")
    if facts.screen_on is False:
        notes.append("its screen is off: some phones slow down then")
    if facts.governor == "powersave":
        notes.append("its processor is set to save power (governor powersave)")
    if facts.load is not None and facts.cpus and facts.load > facts.cpus / 2:
        notes.append(f"other programs are busy on it (load {facts.load:g} on {facts.cpus} cores)")
    if facts.temperature_c is None and facts.thermal_status is None:
        notes.append("it tells no temperature: heat cannot be told from other slowness")
    return notes


def cooled(
    ask_again: Callable[[], DeviceFacts],
    facts: DeviceFacts,
    limits: Limits,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    report: Report = silent,
) -> DeviceFacts:
    """Wait until the device is cool enough and return what it is like then.

    A device that tells no temperature and no thermal status counts as cool.
    Raises DeviceUnreachable if it is still too hot after `limits.patience_s`.
    """
    start = clock()
    while reason := _too_hot(facts, limits):
        waited = clock() - start
        if waited >= limits.patience_s:
            raise DeviceUnreachable(
                f"{facts.name} is too hot: {reason} after {waited:.0f} s of waiting",
                hint="unplug it, switch its screen off, put it on something cold; "
                "or allow more with --cool and --cool-wait",
            )
        report("cool down", int(waited), int(limits.patience_s), reason)
        sleep(min(5.0, limits.patience_s - waited + 0.01))
        facts = ask_again()
    return facts


def _too_hot(facts: DeviceFacts, limits: Limits) -> str:
    if facts.thermal_status is not None and facts.thermal_status > _FIT_STATUS:
        return f"thermal status {facts.thermal_status} ({facts.thermal_word})"
    usual = PHONE_C if facts.android else OTHER_C
    most = usual if limits.temperature_c is None else limits.temperature_c
    if facts.temperature_c is not None and facts.temperature_c > most:
        return f"{facts.temperature_c:.1f} °C, above {most:g} °C"
    return ""
