"""Android without the NDK: the runner as bytecode for app_process."""

from __future__ import annotations

from edgekit.benchmarks.devices.facts import DeviceFacts
from edgekit.benchmarks.devices.runners import Kit
from edgekit.core.errors import DeviceUnreachable


def app_process_kit(form: str, facts: DeviceFacts) -> Kit:
    """Not built yet."""
    raise DeviceUnreachable(f"no runner for {facts.abi} and .{form} files", hint="give --cc")
