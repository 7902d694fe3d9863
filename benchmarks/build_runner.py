"""Compile the C runner of `edgekit bench --device` for processors, which else happens on demand.

python benchmarks/build_runner.py                    this machine and aarch64
python benchmarks/build_runner.py riscv64 --cc riscv64-linux-gnu-gcc
"""

from __future__ import annotations

import argparse
import platform
import sys

from edgekit.benchmarks.devices.runners import build_runner
from edgekit.core.errors import EdgekitError


def main() -> int:
    """Print the place of each program; end with the code of the first problem."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("machine", nargs="*", default=[platform.machine(), "aarch64"])
    parser.add_argument("--cc", help="compiler for them")
    asked = parser.parse_args()
    for machine in dict.fromkeys(asked.machine):
        try:
            program = build_runner(machine, compiler=asked.cc)
        except EdgekitError as error:
            print(f"{error.what}\n  hint: {error.hint}", file=sys.stderr)
            return error.exit_code
        print(f"{machine}: {program} ({program.stat().st_size / 1e3:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
