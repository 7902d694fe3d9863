"""What the sessions share: ports read from files, feeds checked, native chatter kept quiet."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.core.seams import DType, Layout, Port
from edgekit.core.tensors import Batch

UNKNOWN = -1
"""A dimension that the file leaves open."""

_DTYPES: dict[str, DType] = {
    "float32": "float32",
    "float16": "float16",
    "int32": "int32",
    "uint8": "uint8",
}


def port_of(name: str, shape: Sequence[int], dtype: str, path: Path) -> Port:
    """Return the port of a tensor; the layout follows from where the 3 colours stand.

    Raises BadInput for a dtype that no port of edgekit has.
    """
    if dtype not in _DTYPES:
        raise BadInput(
            f"{path.name}: port {name!r} holds {dtype}, expected one of {', '.join(_DTYPES)}",
            hint="use a file written by `edgekit export`",
        )
    layout: Layout = "flat"
    if len(shape) == 4:
        layout = "nhwc" if shape[3] == 3 and shape[1] != 3 else "nchw"
    low, high = (0.0, 255.0) if dtype == "uint8" else (-1.0, 1.0)
    return Port(name, tuple(int(size) for size in shape), _DTYPES[dtype], layout, low, high)


def checked(feeds: Mapping[str, Batch], inputs: Sequence[Port]) -> dict[str, Batch]:
    """Return `feeds` contiguous and in the order of `inputs`.

    Raises ValueError for a missing or extra name, a wrong shape or dtype: a runtime that converts
    silently would hide a wrong layout.
    """
    names = [port.name for port in inputs]
    if set(feeds) != set(names):
        raise ValueError(f"expected feeds for {sorted(names)}, got {sorted(feeds)}")
    for port in inputs:
        value = feeds[port.name]
        fits = len(value.shape) == len(port.shape) and all(
            want in (got, UNKNOWN) for want, got in zip(port.shape, value.shape, strict=True)
        )
        if not fits or value.dtype != np.dtype(port.dtype):
            raise ValueError(
                f"{port.name}: expected {port.dtype} {port.shape}, got {value.dtype} {value.shape}"
            )
    return {name: np.ascontiguousarray(feeds[name]) for name in names}


def unreadable(path: Path, error: BaseException) -> BadInput:
    """Return the error for a file that its runtime refuses to load."""
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return BadInput(
        f"{path} cannot be loaded: {reason}", hint="copy the file again or export the bundle anew"
    )


@contextlib.contextmanager
def native_chatter_muted() -> Iterator[None]:
    """Keep what C++ runtimes print on stderr while they load ("INFO: Created … delegate") away.

    Python's own stderr is flushed first; a process without a stderr is left as it is.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):
        yield
        return
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
