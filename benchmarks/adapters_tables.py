"""Write the tables of docs/adapters.md from the raw result of benchmarks/adapters.py.

python benchmarks/adapters_tables.py [FILE.json]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from edgekit.core.store import read_json

RESULT = Path(__file__).resolve().parent / "results" / "adapters_parity_latency.json"


def parity_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line a file and capacity: the worst concept, and the blend."""
    lines = [
        "| file | capacity | worst of the concepts: max abs | dB | blend: max abs | dB | lost |",
        "|---|---|---|---|---|---|---|",
    ]
    keys = sorted({(row["file"], row["capacity"]) for row in rows})
    for file, capacity in keys:
        mine = [r for r in rows if (r["file"], r["capacity"]) == (file, capacity)]
        single = [r["to_merged_student"] for r in mine if " + " not in r["concept"]]
        (mixed,) = [r for r in mine if " + " in r["concept"]]
        blend = mixed["to_merged_student"]
        lines.append(
            f"| {file} | {capacity} | {max(r['max_abs'] for r in single):.1e} "
            f"| {min(r['worst_psnr_db'] for r in single):.1f} | {blend['max_abs']:.1e} "
            f"| {blend['worst_psnr_db']:.1f} | {mixed['lost_in_blend']:.1%} |"
        )
    return "\n".join(lines)


def int8_line(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how far int8 files are from fp32 files of the same concept."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if "to_fp32_file" in row:
            found.setdefault(row["file"], []).append(row["to_fp32_file"]["worst_psnr_db"])
    words = [f"{file} {min(v):.1f} to {max(v):.1f} dB" for file, v in found.items()]
    return f"int8 against the fp32 file with the same concept: {'; '.join(words)}."


def control_line(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how far every file is from another concept's picture."""
    best = max(r["another_concept"]["worst_psnr_db"] for r in rows if " + " not in r["concept"])
    return f"The same pictures against another concept's merged student: {best:.1f} dB at best."


def latency_table(groups: Sequence[Mapping[str, Any]]) -> str:
    """One line a form and precision: CPU time by size and runtime, and the ratio."""
    columns = [(group["format"], group["size_px"]) for group in groups]
    names = [row["name"] for row in groups[0]["rows"]]
    lines = [
        "| form | " + " | ".join(f"{form} {size} px" for form, size in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in names:
        cells = []
        for group in groups:
            times = {row["name"]: median(row["cpu_ms"]) for row in group["rows"]}
            merged = times["merged, int8" if name.endswith("int8") else "merged, fp32"]
            cells.append(f"{times[name]:.1f} ({times[name] / merged:.2f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def many_line(many: Mapping[str, Any]) -> str:
    """Say what many concepts weigh and how long a switch takes."""
    return (
        f"{many['concepts']} concepts ({many['made_by']}): {max(many['bytes_each'])} bytes each, "
        f"{many['bytes_of_all'] / 1e6:.2f} MB together. Opening the bundle took "
        f"{many['open_bundle_ms']:.0f} ms, a switch {median(many['switch_ms']):.2f} ms (median; "
        "the file read, hashed and copied to the input; the copying alone "
        f"{median(many['fill_ms']):.2f} ms), a blend of two {many['blend_ms']:.1f} ms."
    )


def main() -> None:
    """Print everything in Markdown."""
    result = read_json(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULT)
    loads = [group["load_average"]["before"] for group in result["latency"]]
    print(parity_table(result["parity"]), int8_line(result["parity"]), sep="\n\n")
    print(control_line(result["parity"]), latency_table(result["latency"]), sep="\n\n")
    print(many_line(result["many"]), f"Load average before: {loads}", sep="\n\n")


if __name__ == "__main__":
    main()
