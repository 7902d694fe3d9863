"""Ports of formats that keep the student's own: float32 in its layout, in every precision."""

from __future__ import annotations

from edgekit.core.manifest import PortEntry
from edgekit.core.seams import Port


def file_port(port: Port, *, output: bool) -> PortEntry:
    """Return the student's `port` as a file has it, whether it goes in or comes out."""
    return PortEntry(
        name=port.name,
        shape=port.shape,
        dtype="float32",
        layout=port.layout,
        low=port.low,
        high=port.high,
    )
