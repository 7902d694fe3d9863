"""Eight bits a weight, one scale a channel or a palette of 256 values: which is nearer?

    python benchmarks/eight_bit_weights.py STUDENT... --out eight_bit_weights.json

The weights of each student are rounded both ways in PyTorch and compared with the student on its
held-out photos. Two rules that choose by layer, by the error of the whole weight and by the mean
relative error of its channels, stand beside them. Nothing is written for a phone.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit.core.store import write_json
from edgekit.core.tensors import Batch
from edgekit.export.optimize.layers import Layer, layers_of, weight_of, with_weights
from edgekit.export.palette import nearest_values, palette
from edgekit.export.program import heldout_feeds, load_program, read_student, reference_outputs

PHOTOS = 8
MIN_ELEMENTS = 2048
"""Smaller weights stay as they are, as in the files that ship."""


def channels(weight: Batch, axis: int) -> Batch:
    """Return a weight as one row an output channel."""
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)


def by_scale(weight: Batch, axis: int) -> Batch:
    """Round to int8 with one symmetric scale an output channel."""
    others = tuple(index for index in range(weight.ndim) if index != axis)
    scale = np.abs(weight).max(others, keepdims=True) / 127
    scale[scale == 0] = 1
    rounded: np.ndarray[Any, Any] = np.round(weight / scale) * scale
    return rounded


def by_palette(weight: Batch, axis: int) -> Batch:
    """Round to the nearest of 256 values, one palette for the weight."""
    values = palette(weight.reshape(-1), 8)
    return values[nearest_values(weight.reshape(-1), values)].reshape(weight.shape)


def whole_error(weight: Batch, rounded: Batch, axis: int) -> float:
    """Return the squared error in units of the weight's power."""
    return float(((weight - rounded) ** 2).sum() / (weight**2).sum())


def channel_error(weight: Batch, rounded: Batch, axis: int) -> float:
    """Return the mean of that over output channels."""
    power = (channels(weight, axis) ** 2).sum(1)
    error = (channels(weight - rounded, axis) ** 2).sum(1)
    return float((error[power > 0] / power[power > 0]).mean())


def measured(folder: Path) -> dict[str, Any]:
    """Return the dB of one student's weights rounded in each way."""
    student = read_student(folder)
    program = load_program(student)
    feeds = heldout_feeds(student, limit=PHOTOS)
    references = reference_outputs(student, feeds)
    layers = [layer for layer in layers_of(program) if layer.elements >= MIN_ELEMENTS]
    exact = {x: weight_of(program, x).numpy().astype(np.float32) for x in layers}
    scale = {x: by_scale(exact[x], x.out_axis) for x in layers}
    table = {x: by_palette(exact[x], x.out_axis) for x in layers}

    def nearer(error: Callable[[Batch, Batch, int], float]) -> dict[Layer, Batch]:
        return {
            x: min((scale[x], table[x]), key=lambda made: error(exact[x], made, x.out_axis))
            for x in layers
        }

    def decibels(chosen: Mapping[Layer, Batch]) -> list[float]:
        changed = {x.weight: torch.from_numpy(value.copy()) for x, value in chosen.items()}
        port = program.outputs[0].name
        found = []
        with with_weights(program, changed), torch.no_grad():
            for feed, reference in zip(feeds, references, strict=True):
                made = program.module(*(torch.from_numpy(feed[p.name]) for p in program.inputs))
                made = made[0] if isinstance(made, tuple | list) else made
                error = float(((made.numpy() - reference[port]) ** 2).mean())
                found.append(round(10 * math.log10(4 / error), 2))
        return found

    ways = {"scale a channel": scale, "palette of 256": table}
    ways |= {"nearer weight": nearer(whole_error), "nearer channels": nearer(channel_error)}
    return {
        "student": student.facts["name"],
        "sha256": student.sha256,
        "size_px": student.facts["size_px"],
        "layers": len(layers),
        "psnr_db": {name: decibels(chosen) for name, chosen in ways.items()},
    }


def main() -> None:
    """Measure the students and print the worst photo of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("students", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = [measured(folder) for folder in given.students]
    write_json(given.out, {"kind": "eight-bit-weights", "photos": PHOTOS, "rows": rows})
    for row in rows:
        worst = {name: min(values) for name, values in row["psnr_db"].items()}
        print(row["student"], worst)


if __name__ == "__main__":
    main()
