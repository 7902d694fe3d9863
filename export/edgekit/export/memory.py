"""How much memory a converter needs, and how much this machine has left."""

from __future__ import annotations

from pathlib import Path

from edgekit.core.manifest import Format

BASE_MIB: dict[Format, int] = {
    "onnx": 750,
    "tflite": 850,
    "mlpackage": 800,
    "aimodel": 850,
    "engine": 850,
    "trt": 750,
    "pte": 700,
    "openvino": 750,
}
"""Peak of a worker that converts a student of a few megabytes: mostly the libraries themselves."""
PER_MIB = 10
"""What each MiB of the saved program adds: copies in float32, tables, a file in memory. The bases
are rounded up from benchmarks/results/export_all_256.json; a program of 54 MiB added 6 for each in
fp32 and fp16 (ONNX, LiteRT, TensorRT), the rest is room for int8."""
RESERVE_MIB = 300
"""Left to everything else on the machine."""
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def estimate_mib(form: Format, program_bytes: int) -> int:
    """Return about how much memory the worker of a format takes at most."""
    return BASE_MIB[form] + PER_MIB * program_bytes // (1 << 20)


def available_mib() -> int | None:
    """Return the memory that new processes can have, None where the system does not say.

    The least of what the kernel calls available and what the limit of a container leaves.
    """
    found = [value for value in (_kernel_mib(), *(_cgroup_mib(*f) for f in _CGROUPS)) if value]
    return min(found, default=None)


def resident_mib(process: int) -> int:
    """Return how much memory a process holds now; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{process}/status").read_text(encoding="ascii").split("VmRSS:")
        return int(fields[1].split()[0]) // 1024
    except (OSError, IndexError, ValueError):
        return 0


def _kernel_mib() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return int(text.split("MemAvailable:")[1].split()[0]) // 1024
    except (OSError, IndexError, ValueError):
        return None


def _cgroup_mib(limit: str, usage: str) -> int | None:
    try:
        most, used = (int(Path(name).read_text(encoding="ascii")) for name in (limit, usage))
    except (OSError, ValueError):  # no such file, or "max"
        return None
    left = (most - used) >> 20
    return left if most < 1 << 60 else None
