"""Measure again what the documentation quotes, on this machine: an hour or two on two cores.

    python benchmarks/run_all.py --out benchmarks/results

Every measurement is a command that can be run alone; the ones with a GPU are left to
`edgekit teacher train` and `python -m edgekit.distill.fit_base`, which measure what they make.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def commands(work: Path, out: Path) -> list[list[str]]:
    """Return the commands in order; a run that is finished is not repeated."""
    edgekit = [sys.executable, "-m", "edgekit.cli.main"]
    run = work / "snow-256"
    baselines = [word for name in ("teacher", "pix2pix", "sd15") for word in ("--baseline", name)]
    bars = ["--at-least", "teacher=30", "--at-least", "sd15=1000"]
    latency = out / "latency_256px.json"
    return [
        [*edgekit, "distill", "--concept", "make it snowy", "--size", "256", "--out", str(run)],
        [*edgekit, "export", str(run)],
        [*edgekit, "bench", str(run), "--calls", "30", *baselines, *bars, "--out", str(latency)],
        [sys.executable, "-m", "edgekit.export.survey", str(run), str(out / "export_256.json")],
        [sys.executable, str(HERE / "student_vs_teacher.py"), "--work", str(work / "students")],
    ]


def main() -> int:
    """Run every command; return the exit code of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--work", type=Path, default=Path("runs/bench"))
    given = parser.parse_args()
    for command in commands(given.work, given.out):
        print(f"$ {shlex.join(command)}", flush=True)
        if code := subprocess.call(command):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
