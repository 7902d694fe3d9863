"""How files are measured on a device."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How each file is measured."""

    threads: int = 1
    calls: int = 100
    warmup: int = 5
    loads: int = 3
    min_seconds: float = 0.0
    budget_seconds: float = 120.0
    """Timed calls stop then, even if some are missing."""
    timeout_seconds: float = 600.0
    """The session is ended then."""
    strict: bool = False
    sysfs_root: str = ""
    """Where the device's /sys is, for tests of sensors."""
