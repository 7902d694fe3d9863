"""Core ML files of one student with every kind of weights, and a group norm in float16.

``python benchmarks/coreml_recipes.py STUDENT --out benchmarks/results/coreml_recipes.json`` turns
the student into iOS 18 files of each recipe, evaluates them on held-out photos and writes size
and dB. ``--table`` prints the Markdown table of a finished file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekit.core.store import size_bytes, write_json
from edgekit.export import rewrites
from edgekit.export.graph import plain_graph
from edgekit.export.mil.session import open_package
from edgekit.export.parity import measured
from edgekit.export.program import (
    Program,
    calibration_feeds,
    heldout_feeds,
    load_program,
    read_student,
    reference_outputs,
    run,
)
from edgekit.export.quantize_coreml import recipes_for_search
from edgekit.export.targets import Options, Sources, coreml

RECIPES = (*recipes_for_search(18), "w8a8", "w8a8-percentile")


class Loud(nn.Module):
    """A group norm whose inputs are a few hundred, as in a trained network."""

    def __init__(self) -> None:
        """Draw weights from a seed."""
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.into, self.norm = nn.Conv2d(3, 8, 3, 1, 1), nn.GroupNorm(2, 8)
        self.out = nn.Conv2d(8, 3, 3, 1, 1)
        with torch.no_grad():
            for layer, size in ((self.into, 80.0), (self.out, 0.2)):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=random) * size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a picture."""
        return torch.tanh(self.out(torch.relu(self.norm(self.into(x)))))


def score(program: Program, path: Path, feeds: Any, references: Any) -> float:
    """Return the dB of the worst photo."""
    parity = measured(
        open_package(path),
        feeds,
        references,
        inputs=[(p, coreml.file_port(p, output=False).port()) for p in program.inputs],
        outputs=[(p, coreml.file_port(p, output=True).port()) for p in program.outputs],
    )
    return round(min(parity.psnr_db), 1)


def recipe_rows(folder: Path, scratch: Path, photos: int) -> list[dict[str, Any]]:
    """Measure every recipe on the student in `folder`."""
    student = read_student(folder)
    program, feeds = load_program(student), heldout_feeds(student, limit=photos)
    references, calibration = (
        reference_outputs(student, feeds),
        calibration_feeds(student, limit=16),
    )

    def made(precision: Any) -> Path:
        path = scratch / f"{precision}.mlpackage"
        if not path.exists():
            coreml.convert(program, path, precision=precision, recipe="plain", sources=sources)
        return path

    sources = Sources(made, lambda: calibration, Options(ios=18))
    rows = []
    for name in ("fp32", "fp16"):
        path = made(name)
        rows.append({"recipe": name, "bytes": size_bytes(path), "s": 0.0})
        rows[-1]["worst_db"] = score(program, path, feeds, references)
    for recipe in RECIPES:
        path, start = scratch / "tried.mlpackage", time.process_time()
        coreml.convert(program, path, precision="mixed", recipe=recipe, sources=sources)
        seconds = round(time.process_time() - start, 1)
        rows.append({"recipe": recipe, "bytes": size_bytes(path), "s": seconds})
        rows[-1]["worst_db"] = score(program, path, feeds, references)
        print(rows[-1], flush=True)
    return rows


def group_norm(folder: Path, scratch: Path) -> dict[str, float]:
    """Return the fp16 dB of a group norm as coremltools writes it, kept wide, and rewritten."""
    student = read_student(folder)
    shape = student.inputs[0].shape
    module = plain_graph(torch.export.export(Loud().eval(), (torch.zeros(shape),)))
    ports = (student.inputs[0],), (replace(student.inputs[0], name="image_out"),)
    program = Program(module, *ports)
    feeds = [
        {student.inputs[0].name: f[student.inputs[0].name]} for f in heldout_feeds(student, limit=2)
    ]
    references = [run(program, feed) for feed in feeds]

    def worst(name: str) -> float:
        def made(precision: Any) -> Path:
            path = scratch / f"{name}.{precision}.mlpackage"
            if not path.exists():
                coreml.convert(program, path, precision=precision, recipe="plain", sources=sources)
            return path

        sources = Sources(made, lambda: feeds)
        return score(program, made("fp16"), feeds, references)

    found = {"rewritten as instance_norm": worst("rewritten")}
    with _changed(rewrites.FOR, "mlpackage", ()):
        found["overflowing operations kept in float32"] = worst("wide")
        outside = coreml._outside_half
        coreml._outside_half = lambda program, sources: []
        found["as coremltools writes it"] = worst("plain")
        coreml._outside_half = outside
    return found


@contextmanager
def _changed(table: Any, key: Any, value: Any) -> Iterator[None]:
    kept, table[key] = table[key], value
    try:
        yield
    finally:
        table[key] = kept


def table(result: dict[str, Any]) -> str:
    """Return a result as Markdown."""
    lines = ["| weights | kB | worst photo dB | seconds to make |", "|---|---|---|---|"]
    lines += [
        f"| {row['recipe']} | {row['bytes'] / 1e3:.0f} | {row['worst_db']} | {row['s'] or ''} |"
        for row in result["rows"]
    ]
    lines += ["", "| a group norm in float16 | worst photo dB |", "|---|---|"]
    return "\n".join([*lines, *(f"| {k} | {v} |" for k, v in result["group_norm"].items())])


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/coreml_recipes.json"))
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if not given.table:
        with tempfile.TemporaryDirectory() as scratch:
            norms = group_norm(given.student, Path(scratch))
            print(norms, flush=True)
            rows = recipe_rows(given.student, Path(scratch), given.photos)
        result = {"kind": "coreml-recipes", "student": given.student.name, "rows": rows}
        write_json(given.out, {**result, "group_norm": norms})
    print(table(json.loads(given.out.read_text())))


if __name__ == "__main__":
    main()
