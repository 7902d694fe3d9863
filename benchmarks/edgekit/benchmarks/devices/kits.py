"""Which runner a device gets for a kind of file."""

from __future__ import annotations

from pathlib import Path

from edgekit.benchmarks.devices.facts import DeviceFacts
from edgekit.benchmarks.devices.runners import RUNTIMES, Kit, native_kit
from edgekit.core.errors import TargetUnsupported


def kit_for_device(
    form: str,
    facts: DeviceFacts,
    *,
    runner: str = "auto",
    compiler: str | None = None,
    library: Path | None = None,
) -> Kit:
    """Return what runs model files of the format `form` on the device.

    Android gets the app_process runner, which needs no NDK, unless a compiler for it is given;
    every other Linux the C runner. Raises TargetUnsupported for a format that no runner takes,
    DeviceUnreachable for a device that there is no runner for.
    """
    if form not in RUNTIMES:
        raise TargetUnsupported(
            f".{form} files have no runner (it takes {', '.join(f'.{name}' for name in RUNTIMES)})",
            hint="export for onnx or android",
        )
    if runner == "app-process" or (runner == "auto" and facts.android and compiler is None):
        from edgekit.benchmarks.devices.app_process import app_process_kit

        return app_process_kit(form, facts)
    return native_kit(form, facts.abi, compiler=compiler, library=library)
