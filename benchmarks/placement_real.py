"""Hold the placement tables against what runtimes really do with files, where they can be asked.

    python benchmarks/placement_real.py BUNDLE... --out benchmarks/results/placement_real.json

LiteRT tells which operators its XNNPACK delegate took when a file is opened; a .pte file says it
itself. Files of other formats are placed by phones alone and are left out. A zoo's folder of
bundles can be given instead of a bundle.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit.core.manifest import read_bundle
from edgekit.export.placement.tables import units_of


def main() -> None:
    """Compare every file and write one row an operator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    listed = {form: listed_by(form) for form in ("tflite", "pte")}
    seen: dict[str, dict[str, Counter[str]]] = {"tflite": {}, "pte": {}}
    files = 0
    for path, form, operators in rows(given.bundles):
        if form == "tflite":
            files += 1
            taken, left = delegated(path)
            for names, what in ((taken, "taken"), (left, "left")):
                for name, count in names.items():
                    seen[form].setdefault(name, Counter())[what] += count
        elif form == "pte":
            files += 1
            for name, count in operators.items():
                what = "taken" if name.startswith("XnnpackBackend") else "left"
                seen[form].setdefault(name.split(": ")[-1], Counter())[what] += count
    found = {"files": files, "litert": judged(seen["tflite"], listed["tflite"])}
    found["executorch_left"] = {
        name: counts["left"] for name, counts in sorted(seen["pte"].items()) if counts["left"]
    }
    text = json.dumps(found, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


def listed_by(form: str) -> frozenset[str]:
    """Return what the table says that XNNPACK runs."""
    return next(unit.runs or frozenset() for unit in units_of(form) if unit.unit == "xnnpack")


def rows(bundles: list[Path]) -> Iterator[tuple[Path, str, Mapping[str, int]]]:
    """Yield the files of the bundles, or of the bundles below the folders."""
    for folder in bundles:
        places = [folder] if (folder / "manifest.json").is_file() else sorted(folder.glob("*/*"))
        for place in places:
            if place.name != "bundle" and place != folder:
                continue
            for entry in read_bundle(place).models:
                yield place / entry.path, entry.format, entry.placement


def delegated(path: Path) -> tuple[Counter[str], Counter[str]]:
    """Return the operators that XNNPACK took, and those that LiteRT's own kernels run."""
    from ai_edge_litert.interpreter import Interpreter

    opened = Interpreter(str(path), num_threads=1)
    opened.allocate_tensors()
    steps: list[dict[str, Any]] = opened._get_ops_details()
    inputs = {int(t) for s in steps if s["op_name"] == "DELEGATE" for t in s["inputs"]}
    given = {int(t) for s in steps if s["op_name"] == "DELEGATE" for t in s["outputs"]}
    wanted = inputs | {int(port["index"]) for port in opened.get_output_details()}
    taken: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for step in reversed([s for s in steps if s["op_name"] != "DELEGATE"]):
        outputs = {int(t) for t in step["outputs"]}
        if outputs & wanted and not outputs & given:
            left[step["op_name"]] += 1
            wanted |= {int(t) for t in step["inputs"]}
        else:
            taken[step["op_name"]] += 1
    return taken, left


def judged(
    seen: Mapping[str, Counter[str]], listed: frozenset[str]
) -> dict[str, dict[str, int | bool]]:
    """Return operator -> how often it was taken and left, and whether the table says so."""
    return {
        name: {
            "taken": counts["taken"],
            "left": counts["left"],
            "listed": name in listed,
            "agrees": (counts["taken"] > 0) == (name in listed)
            and not (name in listed and counts["left"] > 0),
        }
        for name, counts in sorted(seen.items())
    }


if __name__ == "__main__":
    main()
