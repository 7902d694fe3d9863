"""Fit the phone latency estimate to a table of published latencies, and say how wrong it is.

    python benchmarks/phone_latency_fit.py --table qai_perf.csv.gz

The table has a line a model, precision, device and runtime (columns model, component, use_case,
params, resolution, precision, device, runtime, ms, primary, total). Written are the coefficients
(benchmarks/edgekit/benchmarks/phone_latency.json) and the errors with their baselines
(benchmarks/results/phone_latency.json); of the table itself nothing is kept.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.benchmarks.estimate import COEFFICIENTS, PRECISIONS, RUNTIMES, Graph, matrix

ROOT = Path(__file__).resolve().parent
RESULT = ROOT / "results" / "phone_latency.json"
DENSE = {"Super Resolution", "Image Editing", "Depth Estimation", "Semantic Segmentation"}
OTHER = {
    "Image Classification",
    "Object Detection",
    "Pose Estimation",
    "Gaze Estimation",
    "Video Object Tracking",
}
"""Use cases with one picture as the input."""
RIDGE = 1.0
SOURCE = (
    "latencies published with the package qai-hub-models (BSD-3-Clause), NPU, LiteRT and ONNX "
    "Runtime; coefficients fitted by benchmarks/phone_latency_fit.py"
)


class Table:
    """The usable rows: graphs, devices, and log milliseconds."""

    def __init__(self, path: Path) -> None:
        """Read and filter the file."""
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        parts: dict[str, set[str]] = {}
        for row in rows:
            parts.setdefault(row["model"], set()).add(row["component"])
        kept = [(row, graph_of(row)) for row in rows if len(parts[row["model"]]) == 1]
        pairs = [(row, graph) for row, graph in kept if graph is not None]
        self.graphs = [graph for _, graph in pairs]
        self.models = np.array([row["model"] for row, _ in pairs])
        self.families = np.array([family(row["model"]) for row, _ in pairs])
        self.devices = np.array([row["device"] for row, _ in pairs])
        self.target = np.log([float(row["ms"]) for row, _ in pairs])
        self.dense = np.array([graph.dense for graph in self.graphs])
        self.terms, self.names = matrix(self.graphs)
        self.known = sorted(set(self.devices.tolist()))
        counts = Counter(self.models.tolist())
        self.weight = np.array([counts[name] ** -0.5 for name in self.models.tolist()])


def graph_of(row: Mapping[str, str]) -> Graph | None:
    """Return the graph of a row, None if it cannot be used."""
    size = re.fullmatch(r"([\d.]+)\s*([KMB]?)", row["params"].strip())
    picture = re.match(r"(\d+)\s*x\s*(\d+)", row["resolution"])
    usable = (
        size is not None
        and picture is not None
        and row["use_case"] in DENSE | OTHER
        and row["precision"] in PRECISIONS
        and row["runtime"] in RUNTIMES.values()
        and row["primary"] == "NPU"
        and int(row["total"]) > 0
        and float(row["ms"]) > 0
    )
    if not usable or size is None or picture is None:
        return None
    return Graph(
        parameters=round(float(size[1]) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9}[size[2]]),
        pixels=int(picture[1]) * int(picture[2]),
        operators=int(row["total"]),
        dense=row["use_case"] in DENSE,
        runtime=row["runtime"],
        precision=row["precision"],
    )


def family(model: str) -> str:
    """Return the name without size and version: resnet50 and resnet101 are one family."""
    return re.split(r"[\d_]", model)[0] or model


def fitted(table: Table, rows: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Return the ridge solution on `rows`: coefficients, and an offset a device."""
    present = sorted(set(table.devices[rows].tolist()))
    flags = np.stack([table.devices[rows] == name for name in present], 1).astype(float)
    design = np.concatenate([table.terms[rows], flags], 1) * table.weight[rows, None]
    goal = table.target[rows] * table.weight[rows]
    penalty = RIDGE * np.eye(design.shape[1])
    penalty[0, 0] = 0
    solution = np.linalg.solve(design.T @ design + penalty, design.T @ goal)
    count = len(table.names)
    offsets = dict(zip(present, solution[count:].tolist(), strict=True))
    return solution[:count], offsets


def left_out(table: Table, groups: np.ndarray) -> np.ndarray:
    """Return log(actual / estimate) of every row, estimated without its group."""
    errors = np.zeros(len(groups))
    for name in sorted(set(groups.tolist())):
        out = groups == name
        weights, offsets = fitted(table, ~out)
        mean = float(np.mean(list(offsets.values())))
        shift = np.array([offsets.get(device, mean) for device in table.devices[out].tolist()])
        errors[out] = table.target[out] - table.terms[out] @ weights - shift
    return errors


def left_out_device(table: Table, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors on an unseen device, and those after one model was measured on it."""
    errors = left_out(table, table.devices)
    after = errors.copy()
    random = np.random.default_rng(seed)
    for name in table.known:
        out = np.flatnonzero(table.devices == name)
        one = random.choice(sorted(set(table.models[out].tolist())))
        mine = table.models[out] == one
        after[out] = errors[out] - np.median(errors[out][mine])
        after[out[mine]] = np.nan
    return errors, after[~np.isnan(after)]


def by_device(table: Table) -> np.ndarray:
    """Return the errors of a baseline that knows the device alone: the median of other models."""
    errors = np.zeros(len(table.target))
    for name in table.known:
        here = np.flatnonzero(table.devices == name)
        for model in set(table.models[here].tolist()):
            mine = here[table.models[here] == model]
            others = here[table.models[here] != model]
            errors[mine] = table.target[mine] - np.median(table.target[others])
    return errors


def by_work(table: Table) -> np.ndarray:
    """Return the errors of a baseline: milliseconds in proportion to weights times pixels."""
    work = np.log([graph.parameters * graph.pixels for graph in table.graphs])
    errors = np.zeros(len(work))
    for model in set(table.models.tolist()):
        out = table.models == model
        for name in set(table.devices[out].tolist()):
            here = out & (table.devices == name)
            rest = ~out & (table.devices == name)
            errors[here] = table.target[here] - work[here]
            errors[here] -= np.median(table.target[rest] - work[rest])
    return errors


def said(errors: np.ndarray) -> dict[str, float]:
    """Return how wrong: the factor in the median, and the one that 80 % stay below."""
    factor = np.exp(np.abs(errors))
    return {
        "median_factor": round(float(np.median(factor)), 3),
        "p80_factor": round(float(np.quantile(factor, 0.8)), 3),
    }


def parts(errors: np.ndarray, dense: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the error of all rows and of those that give pictures."""
    return {"all": said(errors), "dense": said(errors[dense])}


def main() -> None:
    """Fit, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    given = parser.parse_args()
    table = Table(given.table)
    by_family = left_out(table, table.families)
    unseen, calibrated = left_out_device(table)
    kinds: Sequence[tuple[str, Callable[[Table], np.ndarray]]] = (
        ("median of the device", by_device),
        ("weights times pixels", by_work),
    )
    errors: dict[str, Any] = {
        "leave_model_out": parts(left_out(table, table.models), table.dense),
        "leave_family_out": parts(by_family, table.dense),
        "leave_device_out": said(unseen),
        "leave_device_out_one_model_measured": said(calibrated),
        "baselines_leave_model_out": {
            name: parts(call(table), table.dense) for name, call in kinds
        },
    }
    band = {
        name: [round(float(np.exp(np.quantile(by_family[rows], q))), 4) for q in (0.1, 0.9)]
        for name, rows in (("dense", table.dense), ("other", ~table.dense))
    }
    weights, offsets = fitted(table, np.ones(len(table.target), dtype=bool))
    seen = {
        name: [min(values), max(values)]
        for name, values in (
            ("parameters", [graph.parameters for graph in table.graphs]),
            ("pixels", [graph.pixels for graph in table.graphs]),
            ("operators", [graph.operators for graph in table.graphs]),
        )
    }
    facts = {
        "rows": len(table.target),
        "models": len(set(table.models.tolist())),
        "families": len(set(table.families.tolist())),
        "devices": len(table.known),
        "errors": errors,
    }
    shipped = {
        "source": SOURCE,
        **facts,
        "range": seen,
        "band": band,
        "coefficients": {
            name: round(float(value), 5) for name, value in zip(table.names, weights, strict=True)
        },
        "devices": {name: round(value, 5) for name, value in sorted(offsets.items())},
    }
    COEFFICIENTS.write_text(json.dumps(shipped, indent=1) + "\n", encoding="utf-8")
    RESULT.write_text(json.dumps({"source": SOURCE, **facts}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
