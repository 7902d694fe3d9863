"""Feeds kept in a file: calibration and held-out inputs that travel with a student.

An NPZ with one array a port name, stacked on the first axis. A uint8 array of photos
(n, height, width, 3) stands for an image port and is scaled and laid out as the port says, so
that one file serves every target; any other array is given to the port as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekit.core.errors import BadInput
from edgekit.core.images import to_bytes, to_pixels
from edgekit.core.seams import Port
from edgekit.core.tensors import Batch, Photos


def read_feeds(path: Path, ports: Sequence[Port]) -> list[dict[str, Batch]]:
    """Return one feed (port name -> array of the port's shape) for each sample in `path`.

    Raises BadInput if the file lacks a port or an array has the wrong shape.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {port.name: archive[port.name] for port in ports if port.name in archive}
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path} cannot be read: {error}", hint="distil the student again"
        ) from error
    missing = [port.name for port in ports if port.name not in arrays]
    if missing:
        raise BadInput(f"{path} has no array {missing[0]!r}", hint="distil the student again")
    rows = {port.name: max(1, port.shape[0]) for port in ports}  # most ports have a batch of 1
    count = min(len(array) // rows[name] for name, array in arrays.items())
    return [
        {
            port.name: to_port(
                arrays[port.name][i * rows[port.name] : (i + 1) * rows[port.name]], port
            )
            for port in ports
        }
        for i in range(count)
    ]


def to_port(batch: Batch, port: Port) -> Batch:
    """Scale and lay out uint8 photos (n, h, w, 3) for `port`; other arrays pass unchanged."""
    if batch.dtype != np.uint8 or batch.ndim != 4:
        return batch
    values = batch if port.dtype == "uint8" else to_pixels(batch, low=port.low, high=port.high)
    if port.layout == "nchw":
        values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    return values if port.dtype == "uint8" else values.astype(port.dtype)


def from_port(batch: Batch, port: Port) -> Photos:
    """Return what `port` gave as uint8 photos (n, h, w, 3)."""
    values = batch.transpose(0, 2, 3, 1) if port.layout == "nchw" else batch
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    return to_bytes(np.ascontiguousarray(values), low=port.low, high=port.high)
