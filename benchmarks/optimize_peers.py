"""`edgekit optimize` beside NNCF, ai-edge-quantizer, ONNX Runtime and coreai-opt, on one network.

    python benchmarks/optimize_peers.py --student runs/restorer --out benchmarks/results/optimize_peers.json

Without a student one is trained first (benchmarks/optimize_net.py, nine minutes). Every tool gets the
same float32 program, the same calibration pictures and is judged on the same held-out pictures; in
the end all files of a format are timed in turns, in one process. `--docs` writes the tables of
docs/optimize.md anew from what was measured.
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.core.manifest import Format

if TYPE_CHECKING:
    from edgekit.export.optimize.front import Row
    from edgekit.export.optimize.judge import Measured

HERE = Path(__file__).resolve().parent
BASELINES: dict[Format, tuple[tuple[str, str], ...]] = {
    "onnx": (
        ("fp32", "float32"),
        ("fp16", "float16"),
        ("int8 all", "ONNX Runtime static QDQ, per channel"),
        ("int8 s8s8", "ONNX Runtime static QDQ, int8 activations"),
        ("nncf", "NNCF post-training, fast bias correction"),
        ("nncf accurate", "NNCF post-training, accurate bias correction"),
    ),
    "tflite": (
        ("fp32", "float32"),
        ("fp16", "float16 weights"),
        ("int8 dynamic", "ai-edge-quantizer dynamic int8"),
        ("int8 static", "ai-edge-quantizer static int8"),
        ("int8 weights", "ai-edge-quantizer weight-only int8"),
    ),
    "aimodel": (
        ("fp16", "float16"),
        ("int8 palette-4", "coreai-opt palette w4"),
    ),
}
ANCHOR = {"onnx": "nncf", "tflite": "int8 dynamic", "aimodel": "int8 palette-4"}
"""The baseline whose bytes ours must not exceed."""
TRIALS: dict[Format, tuple[int, int]] = {"onnx": (24, 14), "tflite": (20, 10), "aimodel": (8, 2)}
"""Candidates of a search without limits, and more of one under the anchor's bytes."""
CALLS = 25
PAGE = HERE.parent / "docs/optimize.md"
MARKS = {"optimize_peers": "peers", "optimize_concept_gan": "gan"}
"""Name of a result -> where its tables stand in the page."""


def _measured(row: Row) -> Measured:
    assert row.measured is not None, "only rows that work are compared"
    return row.measured


def compared(student: Path, form: Format, work: Path, trials: tuple[int, int]) -> dict[str, Any]:
    """Search one format, make the baselines, and time all of them in turns."""
    from edgekit.export.optimize.front import Limits, front, row_score
    from edgekit.export.optimize.judge import Judge, file_feed, interleaved, session_of
    from edgekit.export.optimize.plan import Plan
    from edgekit.export.optimize.run import optimize
    from edgekit.export.optimize.space import space_of
    from edgekit.runtime.sessions import open_session

    start = time.monotonic()
    searched = partial(
        optimize, student, form, work / form, open_session=open_session, budget_s=36e3
    )
    found = searched(limits=Limits(), trials=trials[0])
    place = found.place
    from edgekit.export.optimize.samples import samples_of

    samples = samples_of(place.student)
    space = space_of(place, samples.calibration)
    judge = Judge(place, bool(space.times), place.sources().made("fp32"))
    rows: list[dict[str, Any]] = []
    files: dict[str, Path] = {}
    for name, title in BASELINES[form]:
        path = work / form / f"baseline-{name.replace(' ', '-')}.{form}"
        row: dict[str, Any] = {"who": "baseline", "name": title, "back_end": name}
        known = next((r for r in found.rows if r.plan.back_end == name and r.works), None)
        try:
            if known is not None and not space.times:  # nothing to time, so no second file
                row |= {"words": known.words, "measured": _measured(known).values()}
                rows.append(row)
                continue
            row["words"] = space.write(Plan(name), path)
            row["measured"] = judge.measure(path).values()
            files[title] = path
        except Exception as error:
            row["problem"] = str(error).splitlines()[0][:200]
        rows.append(row)
    # Where the anchor's file does not run, the next baseline with a measurement takes its place.
    works = [row for row in rows if "measured" in row and "int8" in row["back_end"]]
    anchor = next((r for r in rows if r["back_end"] == ANCHOR[form] and "measured" in r), works[0])
    bound = anchor["measured"]["bytes"]
    limits = Limits(max_bytes=bound)
    again = searched(limits=limits, trials=sum(trials))
    by_layer = [row for row in again.rows if row.plan.back_end == "layers" and row.works]
    fitting = [row for row in by_layer if _measured(row).bytes <= bound]
    largest = max(_measured(row).bytes for row in again.rows if row.works)
    picks: dict[str, Row] = {}
    if fitting:
        picks["ours, most exact within the anchor's bytes"] = max(
            fitting, key=lambda row: _measured(row).db
        )
        least = anchor["measured"]["speed"]
        quick = [row for row in fitting if _measured(row).speed >= least]
        if space.times and quick:
            picks["ours, most exact within the anchor's bytes and time"] = max(
                quick, key=lambda row: _measured(row).db
            )
        picks["ours, chosen within the anchor's bytes"] = max(
            fitting, key=lambda row: row_score(row, largest)
        )
    picks["ours, chosen without limits"] = max(by_layer, key=lambda row: row_score(row, largest))
    if space.times:
        picks["ours, fastest"] = max(by_layer, key=lambda row: _measured(row).speed)
    for title, pick in picks.items():
        if space.times:
            files[title] = work / form / f"ours-{pick.plan.key}.{form}"
            space.write(pick.plan, files[title])
        measured = _measured(pick).values()
        rows.append({"who": "ours", "name": title, "words": pick.words, "measured": measured})
    if space.times:
        feed = file_feed(place, place.feeds[0])
        sessions = {name: session_of(place, path) for name, path in files.items()}
        calls = [lambda s=session: s.run(feed) for session in sessions.values()]
        times = dict(zip(sessions, interleaved(calls, CALLS, 5), strict=True))
        for row in rows:
            if row["name"] in times:
                row["cpu_ms"] = round(times[row["name"]], 3)
                row["speed"] = round(times["float32"] / times[row["name"]], 3)
    return {
        "format": form,
        "anchor": anchor["back_end"],
        "seconds": round(time.monotonic() - start),
        "candidates": len(again.rows),
        "front": len(front(again.rows)),
        "calibration": len(samples.calibration),
        "heldout": len(place.feeds),
        "calibration_sha256": samples.calibration_sha256,
        "rows": rows,
        "limits": asdict(limits),
    }


def table(result: dict[str, Any]) -> str:
    """Return the comparison as Markdown tables, one a format."""
    parts = []
    for part in result["formats"]:
        lines = [
            f"**{part['format']}** ({part['calibration']} calibration and {part['heldout']} "
            f"held-out pictures, {part['candidates']} candidates)",
            "",
            "| file | kB | dB | worst dB | CPU ms | times float32 |",
            "|---|---|---|---|---|---|",
        ]
        for row in part["rows"]:
            if "measured" not in row:
                lines.append(f"| {row['name']} | {row['problem'][:80]} | | | | |")
                continue
            found = row["measured"]
            name = f"**{row['name']}**" if row["who"] == "ours" else row["name"]
            lines.append(
                f"| {name} | {found['bytes'] / 1000:.0f} | {found['db']:.1f} "
                f"| {found['worst_db']:.1f} | {row.get('cpu_ms', '')} | {row.get('speed', '')} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def write_docs(result: Path) -> None:
    """Put the tables of `result` between the marks of the page."""
    text = PAGE.read_text(encoding="utf-8")
    opening = f"<!-- {MARKS[result.stem]} -->"
    closing = f"<!-- end of {MARKS[result.stem]} -->"
    head, rest = text.split(opening)
    tail = rest.split(closing)[1]
    made = table(json.loads(result.read_text(encoding="utf-8")))
    PAGE.write_text(f"{head}{opening}\n{made}\n{closing}{tail}", encoding="utf-8")


def main() -> None:
    """Measure and write, or print the table of what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--student", type=Path, default=Path("runs/restorer"))
    parser.add_argument("--work", type=Path, default=Path("runs/optimize_peers"))
    parser.add_argument("--out", type=Path, default=HERE / "results/optimize_peers.json")
    parser.add_argument("--format", action="append", choices=list(BASELINES))
    parser.add_argument("--trials", type=int, nargs=2, help="instead of those of the script")
    parser.add_argument("--table", action="store_true", help="print the table of --out")
    parser.add_argument("--docs", action="store_true", help="write the tables of the page")
    given = parser.parse_args()
    if given.docs:
        write_docs(given.out)
        return
    if given.table:
        print(table(json.loads(given.out.read_text(encoding="utf-8"))))
        return
    import torch

    from edgekit.benchmarks.host import host_facts, load_average
    from edgekit.core.store import read_manifest, write_json

    torch.set_num_threads(1)
    if not (given.student / "manifest.json").is_file():
        subprocess.check_call([sys.executable, str(HERE / "optimize_net.py"), str(given.student)])
    facts = read_manifest(given.student, kind="student")
    old = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    parts = {part["format"]: part for part in old.get("formats", [])}
    for form in given.format or BASELINES:
        before = load_average()
        trials = tuple(given.trials) if given.trials else TRIALS[form]
        parts[form] = compared(given.student, form, given.work, trials)
        parts[form]["load"] = [before, load_average()]
        write_json(
            given.out,
            {
                "kind": "optimize-peers",
                "student": {
                    "name": facts["name"],
                    "parameters": facts["parameters"],
                    "gmac": facts["gmac"],
                    "training": facts.get("training"),
                    "sha256": facts["files"]["student.pt2"]["sha256"],
                },
                "host": host_facts(),
                "formats": [parts[name] for name in BASELINES if name in parts],
            },
        )
    print(table(json.loads(given.out.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
