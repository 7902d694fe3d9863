"""The main job in one go: pairs, a student, files for three targets, proof, latency, one report.

Runs the very commands that a user types, shows each of them, and keeps time and peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

CONCEPT = "make it snowy"


def main() -> int:
    """Run the demo; return the exit code of the first command that fails, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    parser.add_argument("--concept", default=CONCEPT)
    arguments = parser.parse_args()
    run = arguments.out / "run"
    steps = [
        ["distill", "--concept", arguments.concept, "--profile", "cpu", "--out", str(run)],
        ["export", str(run), "--target", "onnx", "--target", "android", "--target", "ios"],
        ["verify", str(run / "bundle")],
        ["bench", str(run / "bundle"), "--baseline", "teacher", "--calls", "30"],
        ["report", str(run), "-o", str(arguments.out / "report.html")],
    ]
    seconds = {}
    start = time.monotonic()
    for step in steps:
        print(f"\n$ edgekit {shlex.join(step)}", flush=True)
        before = time.monotonic()
        code = subprocess.call([sys.executable, "-m", "edgekit.cli.main", *step])
        seconds[step[0]] = round(time.monotonic() - before, 1)
        if code:
            print(f"edgekit {step[0]} ended with exit code {code}", file=sys.stderr)
            return code
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    facts = {
        "seconds": seconds,
        "total_s": round(time.monotonic() - start, 1),
        "peak_memory_gb": round(usage.ru_maxrss / 2**20, 2),
        "cores": os.cpu_count(),
    }
    (arguments.out / "demo.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(
        f"\nDone in {facts['total_s']} s, peak memory of a process {facts['peak_memory_gb']} GB.\n"
        f"Look at {arguments.out / 'report.html'}; the files for your app are in {run / 'bundle'}."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
