"""The NVIDIA driver of this machine, asked through its own library: no CUDA package is needed."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_LIBRARIES = ("libcuda.so.1", "nvcuda.dll")


@dataclass(frozen=True, slots=True)
class Device:
    """The first GPU and the driver that serves it."""

    name: str
    compute_capability: str
    """As NVIDIA writes it: ``8.6``."""
    driver: str
    """Newest CUDA version that the driver serves: ``13.0``."""


@functools.lru_cache(maxsize=1)
def driver() -> Any | None:
    """Return the driver's library, initialised; None on a machine without a driver or GPU."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        if library.cuInit(0) == 0:
            return library
    return None


@functools.lru_cache(maxsize=1)
def device() -> Device | None:
    """Return the first GPU of this machine, None if there is none."""
    library = driver()
    if library is None:
        return None
    handle, number, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(128)
    if library.cuDeviceGet(ctypes.byref(handle), 0):
        return None
    library.cuDeviceGetName(name, len(name), handle)
    found = []
    for attribute in (_MAJOR, _MINOR):
        library.cuDeviceGetAttribute(ctypes.byref(number), attribute, handle)
        found.append(str(number.value))
    library.cuDriverGetVersion(ctypes.byref(number))
    version = f"{number.value // 1000}.{number.value % 1000 // 10}"
    return Device(name.value.decode(), ".".join(found), version)
