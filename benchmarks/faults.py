"""Fifty faults put into converted files: how many does the gate catch, and does it cry wolf?

``python benchmarks/faults.py --out benchmarks/results/faults.json`` writes two students, converts
them without faults (the negative control: every such file must pass), then with one fault each.
A fault is caught if the file would not ship. Interrupted, it goes on where it was. ``--only 8``
runs every sixth or so, ``--table`` prints the page docs/evidence/parity.md of a finished file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from edgekit.core.store import write_json
from edgekit.export.judgement import Verdict, judged
from edgekit.export.program import heldout_feeds, load_program, read_student, reference_outputs
from edgekit.export.rows import Workplace
from edgekit.runtime.sessions import open_session
from fault_list import FAULTS, Fault
from fault_students import write_restorer, write_shipped_base

PHOTOS = 3


class Bench:
    """The students, their right files (made once), and the verdict on any other file."""

    def __init__(self, folder: Path, keep: Path | None = None) -> None:
        """Keep everything below `folder`, and copies of faulty ONNX files in `keep`."""
        self.folder, self.keep = folder, keep
        self._places: dict[tuple[str, str], Workplace] = {}

    def place(self, student: str, form: Any) -> Workplace:
        """Return where files of `form` of a student are made and judged."""
        if (student, form) not in self._places:
            source = self.folder / student
            if not (source / "manifest.json").exists():
                shutil.rmtree(source, ignore_errors=True)
                (write_restorer if student == "restorer" else write_shipped_base)(source)
            read = read_student(source)
            feeds = heldout_feeds(read, limit=PHOTOS)
            scratch = self.folder / f"{student}.{form}"
            scratch.mkdir(exist_ok=True)
            self._places[student, form] = Workplace(
                read,
                load_program(read),
                form,
                scratch,
                scratch,
                open_session,
                feeds,
                reference_outputs(read, feeds),
            )
        return self._places[student, form]

    def right_file(self, fault: Fault) -> Path:
        """Return the file that `fault` would spoil, of the first recipe that ships."""
        place = self.place(fault.student, fault.form)
        path = place.scratch / f"right.{fault.precision}.{fault.form}"
        for recipe in place.converter.recipes(fault.precision):
            if not path.exists():
                sources = place.sources()
                place.converter.convert(
                    place.program, path, precision=fault.precision, recipe=recipe, sources=sources
                )
            if not judged(place, path, fault.precision).reason:
                return path
            (shutil.rmtree if path.is_dir() else Path.unlink)(path)
        raise RuntimeError(f"no right file: {fault}")

    def verdict(self, fault: Fault) -> Verdict:
        """Put the fault in and judge the file."""
        place, right = self.place(fault.student, fault.form), self.right_file(fault)
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            path = Path(scratch) / right.name
            if fault.file is not None:
                (shutil.copytree if right.is_dir() else shutil.copyfile)(right, path)
                fault.file(path)
            else:
                assert fault.graph is not None
                place.converter.convert(
                    fault.graph(place.program),
                    path,
                    precision=fault.precision,
                    recipe=place.converter.recipes(fault.precision)[0],
                    sources=place.sources(),
                )
            if self.keep is not None and fault.form == "onnx":
                shutil.copyfile(path, self.keep / f"{key_of(fault).replace(' ', '_')}.onnx")
            return judged(place, path, fault.precision)


def _entry(verdict: Verdict, seconds: float) -> dict[str, Any]:
    parity = verdict.parity
    return {
        "reason": verdict.reason,
        "layer": verdict.layer,
        "photos_db": None if parity is None else round(min(parity.psnr_db), 1),
        "adversarial_db": None if parity is None else dict(parity.adversarial_db),
        "seconds": round(seconds, 1),
    }


def chosen(only: int) -> list[Fault]:
    """Return all faults, or `only` of them spread over the list."""
    if not only:
        return list(FAULTS)
    return [FAULTS[i * len(FAULTS) // only] for i in range(only)]


def key_of(fault: Fault) -> str:
    """Name a fault in the results."""
    return f"{fault.form} {fault.precision} {fault.student}: {fault.name}"


def run(
    faults: list[Fault], folder: Path, out: Path | None, keep: Path | None = None
) -> dict[str, Any]:
    """Judge right and faulty files; what is known already in `out` is not measured again."""
    done = json.loads(out.read_text()) if out is not None and out.exists() else {}
    result: dict[str, Any] = {
        "kind": "faults",
        "right": done.get("right", {}),
        "faults": done.get("faults", {}),
    }
    bench = Bench(folder, keep)
    for fault in sorted(faults, key=lambda f: (f.student, f.form)):
        control = f"{fault.form} {fault.precision} {fault.student}"
        if control not in result["right"]:
            start, right = time.monotonic(), bench.right_file(fault)
            place = bench.place(fault.student, fault.form)
            found = judged(place, right, fault.precision)
            result["right"][control] = _entry(found, time.monotonic() - start)
        if key_of(fault) not in result["faults"]:
            start = time.monotonic()
            found = bench.verdict(fault)
            result["faults"][key_of(fault)] = {
                "in": "file" if fault.file else "graph",
                **_entry(found, time.monotonic() - start),
            }
            print(key_of(fault), "|", result["faults"][key_of(fault)], flush=True)
        if out is not None:
            write_json(out, result)
    return result


def counts(result: dict[str, Any]) -> tuple[int, int, int, int]:
    """Return faults caught, faults, right files refused, right files."""
    faults, right = result["faults"].values(), result["right"].values()
    caught = sum(bool(entry["reason"]) for entry in faults)
    return caught, len(faults), sum(bool(entry["reason"]) for entry in right), len(right)


def table(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    caught, all_faults, refused, all_right = counts(result)
    lines = [
        "# Fifty faults, one by one",
        "",
        "Made by `python benchmarks/faults.py --table` from `benchmarks/results/faults.json`. What",
        "is looked at is in [parity.md](../parity.md).",
        "",
        f"{caught} of {all_faults} faults caught, {refused} of {all_right} right files refused.",
        "",
        "| file | fault | where | photos dB | caught because it |",
        "|---|---|---|---|---|",
    ]
    for name, entry in result["faults"].items():
        file, _, fault = name.partition(": ")
        reason = entry["reason"].split("; the first")[0] or "**not caught**"
        if entry["layer"]:
            reason += f" ({entry['layer']})"
        lines.append(f"| {file} | {fault} | {entry['in']} | {entry['photos_db']} | {reason} |")
    lines += [
        "",
        "| right file | photos dB | black | white | noise | hot pixel |",
        "|" + "---|" * 6,
    ]
    for name, entry in result["right"].items():
        extremes = " | ".join(f"{value:.1f}" for value in entry["adversarial_db"].values())
        lines.append(f"| {name} | {entry['photos_db']} | {extremes} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, run, count."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/faults.json"))
    parser.add_argument("--folder", type=Path, help="where students and files are kept")
    parser.add_argument("--only", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where faulty ONNX files go, for fault_peers.py")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())))
        return
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
        result = run(chosen(given.only), given.folder, given.out, given.keep)
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = run(chosen(given.only), Path(folder), given.out)
    caught, all_faults, refused, all_right = counts(result)
    print(f"{caught} of {all_faults} faults caught, {refused} of {all_right} right files refused")
    sys.exit(0 if caught == all_faults and not refused else 1)


if __name__ == "__main__":
    main()
