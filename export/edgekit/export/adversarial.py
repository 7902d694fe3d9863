"""Feeds that no photo looks like, on which a broken file gives itself away.

A picture: all black, all white, black and white noise, one white pixel on black. Any other port:
zeros, the largest calibration sample, noise of the size that the samples have at each place, and
the largest sample negated. All of a vector's places at their largest at once would be no extreme
of its meaning but outside it: the shipped base's factors then give values of 475,000.
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
"""What each adversarial feed is called in a report, after what it is for a picture."""


def adversarial_feeds(
    ports: Sequence[Port], calibration: Sequence[Mapping[str, Batch]], *, seed: int = 0
) -> list[dict[str, Batch]]:
    """Return one feed for each of `KINDS`; ports that are no pictures go to their extremes."""
    random = np.random.default_rng(seed)
    feeds: list[dict[str, Batch]] = []
    for i in range(len(KINDS)):
        feed = {}
        for port in ports:
            samples = [sample[port.name] for sample in calibration if port.name in sample]
            made = (
                _picture(port, i, random)
                if is_picture(port) or not samples
                else _inside(_vector(np.stack(samples), i, random), port, samples)
            )
            feed[port.name] = made.astype(np.float32)
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


def _picture(port: Port, kind: int, random: np.random.Generator) -> Batch:
    if KINDS[kind] == "noise":
        return on_byte_grid(random.uniform(port.low, port.high, port.shape), port)
    value = np.full(port.shape, port.high if KINDS[kind] == "white" else port.low)
    if KINDS[kind] == "hot pixel":
        value[..., port.shape[-2] // 2, port.shape[-1] // 2] = port.high
    return value


def _vector(samples: Batch, kind: int, random: np.random.Generator) -> Batch:
    sizes = np.square(samples.reshape(len(samples), -1)).sum(1)
    largest = samples[int(sizes.argmax())]
    if KINDS[kind] == "noise":
        spread = np.sqrt(np.square(samples).mean(0))
        return np.asarray(random.standard_normal(largest.shape) * spread)
    if KINDS[kind] == "black":
        return np.zeros_like(largest)
    return np.asarray(largest if KINDS[kind] == "white" else -largest)


def _inside(made: Batch, port: Port, samples: Sequence[Batch]) -> Batch:
    """Keep to the port's range if its samples do: an index beyond its table has no answer."""
    kept = all(port.low <= float(s.min()) and float(s.max()) <= port.high for s in samples)
    return np.asarray(np.clip(made, port.low, port.high)) if kept else made
