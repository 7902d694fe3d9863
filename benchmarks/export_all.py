"""Every file of every installed target from the shipped concept GAN: seconds, memory, bytes, dB.

    python benchmarks/export_all.py --work runs/export_all

The student is the shipped base with the concept "make it night" folded in, at 256 px, as
`edgekit distill` writes it. It is exported by the command that a user types, without the cache,
then once more into another folder with the cache that the first run filled. Wall and CPU seconds,
load, peak memory of every worker and what became of every row go to
benchmarks/results/export_all_256.json. More than --limit seconds end with 6: run it on two quiet
cores, or the figure says more about the neighbours than about the export.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.benchmarks.host import host_facts, load_average
from edgekit.core.images import resized
from edgekit.core.store import read_json, write_json
from edgekit.core.tensors import Photos

HERE = Path(__file__).resolve().parent
PROMPT = "make it night"
LIMIT_S = 300.0


def main(words: Sequence[str] | None = None) -> int:
    """Export the student twice and write the figures; return 0, 6 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/export_all"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "export_all_256.json")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--target", nargs="+", default=["all"])
    parser.add_argument("--precision", nargs="+", default=["fp32", "fp16", "int8"])
    parser.add_argument("--note", default="", help="what else the machine did, for the reader")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds the export may take")
    given = parser.parse_args(words)
    student = made_student(given.work / "student", given.size)
    cache = given.work / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    chosen = [f"--target={name}" for name in given.target]
    chosen += [f"--precision={kind}" for kind in given.precision]
    first = exported(student, given.work / "first", chosen, cache)
    again = exported(student, given.work / "again", chosen, cache)
    same = {row["path"]: row["sha256"] for row in again["files"]}
    result = {
        "kind": "export-all",
        "student": {**first.pop("student"), "prompt": PROMPT},
        "host": host_facts(),
        "note": given.note,
        "limit_s": given.limit,
        "within_limit": first["seconds"] <= given.limit,
        "first": first,
        "with_cache": {
            **{key: again[key] for key in ("seconds", "cpu_seconds", "load_before")},
            "same_files": all(same.get(row["path"]) == row["sha256"] for row in first["files"]),
        },
    }
    write_json(given.out, result)
    print(table(result))
    return 0 if result["within_limit"] else 6


def made_student(folder: Path, size_px: int) -> Path:
    """Write the shipped base with a concept folded in, unless it is there."""
    from edgekit.distill.base import load_base
    from edgekit.distill.program import StudentFacts, write_student
    from edgekit.distill.students.gan import specialized
    from edgekit.distill.students.text_context import text_context

    if (folder / "manifest.json").is_file() and read_json(folder / "manifest.json")[
        "size_px"
    ] == size_px:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    student = specialized(load_base().generator, text_context(PROMPT), size_px=size_px)
    pictures = photos(24, size_px)
    facts = StudentFacts(
        name="night",
        prompt=PROMPT,
        teacher="none",
        recipe_sha256="0" * 64,
        licences={"weights": "Apache-2.0"},
    )
    write_student(
        folder,
        student,
        size_px=size_px,
        calibration=pictures[:16],
        heldout=(pictures[16:], pictures[16:]),
        facts=facts,
    )
    return folder


def photos(count: int, size_px: int, *, seed: int = 0) -> Photos:
    """Return pictures with structure at every scale, as photos have it and noise has not."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        total = np.zeros((size_px, size_px, 3))
        for side in (4, 8, 16, 32, 64):
            grid = random.integers(0, 256, (side, side, 3)).astype(np.uint8)
            total += resized(grid, size_px, size_px) * (4 / side) ** 0.5
        total -= total.min()
        made.append((total * (255 / total.max())).astype(np.uint8))
    return np.stack(made)


def exported(student: Path, out: Path, chosen: Sequence[str], cache: Path) -> dict[str, Any]:
    """Run `edgekit export` in a process of its own and return what it took and made."""
    shutil.rmtree(out, ignore_errors=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    load = load_average()
    command = [sys.executable, "-m", "edgekit.cli.main", "export", str(student), *chosen]
    done = subprocess.run(
        [*command, "--out", str(out), "--json", "-q"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "EDGEKIT_CACHE_DIR": str(cache.resolve())},
    )
    seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = json.loads(done.stdout)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "load_before": load,
        "student": {key: answer["student"][key] for key in ("size_px", "parameters", "gmac")},
        "workers": answer["workers"],
        "files": [_row(row, out) for row in answer["models"]],
        "refused": answer["refused"],
    }


def _row(row: Mapping[str, Any], out: Path) -> dict[str, Any]:
    record = read_json(out / ".records" / f"{row['format']}.{row['precision']}.json")
    parity = row["parity"] or {}
    return {
        "path": row["path"],
        "format": row["format"],
        "precision": row["precision"],
        "bytes": row["bytes"],
        "sha256": row["sha256"],
        "seconds": record["seconds"],
        "recipes_tried": len(record["attempts"]),
        "executed": row["executed"],
        "worst_psnr_db": parity.get("worst_psnr_db"),
        "protocol": parity.get("protocol"),
    }


def table(result: Mapping[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    first = result["first"]
    lines = ["| file | kB | worst dB |", "|---|---|---|"]
    for row in first["files"]:
        worst = "not run" if row["worst_psnr_db"] is None else f"{row['worst_psnr_db']:.1f}"
        lines.append(f"| {row['format']} {row['precision']} | {row['bytes'] / 1e3:.0f} | {worst} |")
    lines += ["", "| converter | wall s | CPU s | peak MiB |", "|---|---|---|---|"]
    lines += [
        f"| {form} | {facts['seconds']:.0f} | {facts.get('cpu_seconds', '')} "
        f"| {facts.get('peak_mib', 0):.0f} |"
        for form, facts in first["workers"].items()
    ]
    cached = result["with_cache"]
    lines.append(
        f"\n{first['seconds']:.0f} s wall, {first['cpu_seconds']:.0f} s CPU, load before "
        f"{first['load_before']}; with the cache {cached['seconds']:.0f} s"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
