"""What a phone with a Qualcomm NPU might need for a file: an estimate with its error.

The coefficients were fitted to published latencies of other models by
`benchmarks/phone_latency_fit.py`; that table itself is not shipped. An estimate knows a graph by
its size alone (weights, pixels, operators), so it is wrong by the factor that it states.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.errors import unknown_name
from edgekit.core.manifest import BundleManifest, ModelEntry

COEFFICIENTS = Path(__file__).with_name("phone_latency.json")
RUNTIMES = {"onnx": "onnx", "tflite": "tflite"}
"""Format -> runtime of the published table; other formats were not measured there."""
FLOAT, W8A8, W8A16 = "float", "w8a8", "w8a16"
PRECISIONS = (FLOAT, W8A8, W8A16)
USUAL = (
    "Samsung Galaxy S22 5G",
    "Samsung Galaxy S24",
    "Samsung Galaxy S26",
    "Snapdragon 7 Gen 4 QRD",
)
"""Devices that are shown if none is named: three years of one line, and a phone of the middle."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What an estimate knows of a file."""

    parameters: int
    pixels: int
    """Of the input picture."""
    operators: int
    dense: bool = True
    """Whether it gives a picture (or a value a pixel), not a few numbers."""
    runtime: str = "onnx"
    precision: str = FLOAT


@dataclass(frozen=True, slots=True)
class Estimate:
    """Milliseconds on one device; four of five unseen models lay between `low_ms` and `high_ms`."""

    path: str
    device: str
    ms: float
    low_ms: float
    high_ms: float
    beyond: tuple[str, ...] = ()
    """What of the graph lies outside the models that the coefficients come from."""


@dataclass(frozen=True, slots=True)
class NoEstimate:
    """A file for which there is none, and why."""

    path: str
    reason: str


def features(graph: Graph) -> dict[str, float]:
    """Return the terms of the model by name, all but the device's."""
    size = {
        "weights": math.log10(graph.parameters) - 6.5,
        "pixels": math.log10(graph.pixels) - 5.0,
        "operators": math.log10(graph.operators) - 2.0,
    }
    names = list(size)
    terms = {"one": 1.0, **size}
    for i, first in enumerate(names):
        for second in names[i:]:
            terms[f"{first} x {second}"] = size[first] * size[second]
    flags = {"dense": graph.dense, "onnx": graph.runtime == "onnx"}
    flags |= {kind: graph.precision == kind for kind in PRECISIONS[1:]}
    for name, holds in flags.items():
        terms[name] = float(holds)
        terms |= {f"{name} x {other}": float(holds) * value for other, value in size.items()}
    return terms


@lru_cache(maxsize=1)
def coefficients() -> Mapping[str, Any]:
    """Return the shipped coefficients, their errors and the range of what they come from."""
    found: Mapping[str, Any] = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
    return found


def devices() -> tuple[str, ...]:
    """Return the devices that can be asked for."""
    return tuple(coefficients()["devices"])


def estimated(graph: Graph, device: str, *, path: str = "") -> Estimate:
    """Return the estimate for one graph on one device; EdgekitError for an unknown device."""
    known = coefficients()
    if device not in known["devices"]:
        raise unknown_name("device", device, known["devices"])
    weights = known["coefficients"]
    exponent = sum(weights[name] * value for name, value in features(graph).items())
    ms = math.exp(exponent + known["devices"][device])
    low, high = known["band"]["dense" if graph.dense else "other"]
    beyond = tuple(
        f"{name} {value:,} (seen: {known['range'][name][0]:,} to {known['range'][name][1]:,})"
        for name, value in (
            ("parameters", graph.parameters),
            ("pixels", graph.pixels),
            ("operators", graph.operators),
        )
        if not known["range"][name][0] <= value <= known["range"][name][1]
    )
    return Estimate(path, device, ms, ms * low, ms * high, beyond)


def estimates(
    manifest: BundleManifest, wanted: Sequence[str] = ()
) -> tuple[list[Estimate], list[NoEstimate]]:
    """Return an estimate for each file and device (`USUAL` if none is wanted).

    The second list holds the files that have none, with the reason.

    Raises EdgekitError for an unknown device.
    """
    made, none = [], []
    for entry in manifest.models:
        reason = _reason_against(entry)
        if reason:
            none.append(NoEstimate(entry.path, reason))
            continue
        graph = graph_of(manifest, entry)
        made += [estimated(graph, name, path=entry.path) for name in wanted or USUAL]
    return made, none


def graph_of(manifest: BundleManifest, entry: ModelEntry) -> Graph:
    """Return what the manifest says about a file, as the estimate takes it."""
    pictures = [port for port in entry.outputs if port.layout in ("nchw", "nhwc", "image")]
    return Graph(
        parameters=max(1, manifest.student.parameters),
        pixels=manifest.student.size_px**2,
        operators=max(1, sum(entry.placement.values())),
        dense=bool(pictures),
        runtime=RUNTIMES[entry.format],
        precision=FLOAT if entry.precision in ("fp32", "fp16") else W8A8,
    )


def _reason_against(entry: ModelEntry) -> str:
    if entry.format not in RUNTIMES:
        return f"no published latencies of .{entry.format} files"
    if entry.precision == "mixed":
        return "layers of several precisions were not measured there"
    if entry.precision == "int8" and "dynamic" in entry.recipe:
        return "dynamic int8 runs on the CPU, the published latencies are of the NPU"
    if entry.precision == "int8" and entry.format == "tflite":
        return "weights alone are int8, the NPU's int8 needs activations too"
    return ""


def as_json(made: Sequence[Estimate], none: Sequence[NoEstimate]) -> dict[str, Any]:
    """Return a JSON value that nobody takes for a measurement."""
    known = coefficients()
    return {
        "protocol": "estimate-1/no-measurement",
        "source": known["source"],
        "error": known["errors"],
        "estimates": [asdict(row) for row in made],
        "without": [asdict(row) for row in none],
    }


def shown(made: Sequence[Estimate], none: Sequence[NoEstimate]) -> str:
    """Return a table a person can read; every line says that it is an estimate."""
    known = coefficients()
    width = max((len(row.path) for row in made), default=4)
    wide = max((len(row.device) for row in made), default=6)
    lines = [f"{'file':{width}}  {'device':{wide}}  estimate ms  80 % of models lie in"]
    for row in made:
        band = f"{digits(row.low_ms)} to {digits(row.high_ms)}"
        lines.append(f"{row.path:{width}}  {row.device:{wide}}  {'~' + digits(row.ms):>11}  {band}")
    lines += [f"no estimate: {row.path}: {row.reason}" for row in none]
    lines += list(dict.fromkeys(f"beyond what was seen: {b}" for row in made for b in row.beyond))
    factor = known["errors"]["leave_family_out"]["dense"]["median_factor"]
    lines.append(
        f"estimates from the size of the graph, NPU, off by a factor of {factor:.1f} in the median "
        "for networks that give pictures; measure on the device before you decide"
    )
    return "\n".join(lines)


def digits(ms: float) -> str:
    """Return two significant digits: more would pretend."""
    rounded = float(f"{ms:.2g}")
    return f"{rounded:g}" if rounded < 100 else f"{rounded:.0f}"


def matrix(graphs: Sequence[Graph]) -> tuple[np.ndarray, list[str]]:
    """Return the terms of many graphs, one row each, and their names."""
    rows = [features(graph) for graph in graphs]
    names = list(rows[0])
    return np.array([[row[name] for name in names] for row in rows]), names
