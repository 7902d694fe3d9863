"""Feeds that no photo looks like, on which a broken file gives itself away.

A picture: all black, all white, black and white noise, one white pixel on black. Any other port:
zeros, the lower and the upper end of what the calibration samples hold, noise between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgekit.core.seams import Port
from edgekit.core.tensors import Batch

if TYPE_CHECKING:
    from edgekit.export.program import Program
    from edgekit.export.targets import Sources

KINDS = ("black", "white", "noise", "hot pixel")
"""What each adversarial feed is called in a report; of other ports: zeros, low, high, noise."""


def adversarial_feeds(
    ports: Sequence[Port], calibration: Sequence[Mapping[str, Batch]], *, seed: int = 0
) -> list[dict[str, Batch]]:
    """Return one feed for each of `KINDS`; ports that are no pictures go to their extremes."""
    random = np.random.default_rng(seed)
    feeds: list[dict[str, Batch]] = []
    for i in range(len(KINDS)):
        feed = {}
        for port in ports:
            low, high = _range(port, calibration)
            feed[port.name] = _value(port, i, low, high, random).astype(np.float32)
        feeds.append(feed)
    return feeds


def with_extremes(
    ports: Sequence[Port], calibration: Sequence[Mapping[str, Batch]]
) -> list[Mapping[str, Batch]]:
    """Return the calibration samples and all black and all white.

    Static int8 cuts off what its samples never reached. On trained students the two cost nothing
    on photos; a student calibrated without white gave 8 dB on it, with them 36 dB.
    """
    return [*calibration, *adversarial_feeds(ports, calibration)[:2]]


def half_feeds(program: Program, sources: Sources) -> list[Mapping[str, Batch]]:
    """Return the feeds on which the range of each value is measured: calibration and extremes."""
    feeds = list(sources.calibration())
    return [*feeds, *adversarial_feeds(program.inputs, feeds)]


def on_byte_grid(values: Batch, port: Port) -> Batch:
    """Round values to those that a picture of bytes can hold, so that no file rounds them first."""
    levels = np.round((values - port.low) * (255 / (port.high - port.low)))
    grid: Batch = (levels * ((port.high - port.low) / 255) + port.low).astype(np.float32)
    return grid


def is_picture(port: Port) -> bool:
    """Tell whether a port holds three colours in rows and columns."""
    return port.layout == "nchw" and len(port.shape) == 4 and port.shape[1] == 3


def _range(port: Port, calibration: Sequence[Mapping[str, Batch]]) -> tuple[float, float]:
    if is_picture(port) or not calibration:
        return port.low, port.high
    values = [feed[port.name] for feed in calibration]
    return min(float(v.min()) for v in values), max(float(v.max()) for v in values)


def _value(port: Port, kind: int, low: float, high: float, random: np.random.Generator) -> Batch:
    noise: Batch = random.uniform(low, high, port.shape)
    if not is_picture(port):
        flat = (np.zeros(port.shape), np.full(port.shape, low), noise, np.full(port.shape, high))
        return flat[kind]
    if KINDS[kind] == "noise":
        return on_byte_grid(noise, port)
    value = np.full(port.shape, high if KINDS[kind] == "white" else low)
    if KINDS[kind] == "hot pixel":
        value[..., port.shape[2] // 2, port.shape[3] // 2] = high
    return value
