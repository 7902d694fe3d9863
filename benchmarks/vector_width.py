"""What wide vectors are worth: one convolution by oneDNN, its instructions limited.

    python benchmarks/vector_width.py

WebAssembly has vectors of 128 bits and no instruction that sums four products of bytes (VNNI). The
control for the browser's times: a 3 x 3 convolution of 64 channels at 128 x 128 in PyTorch's oneDNN
with everything that the processor has, without VNNI, and with SSE4.1 alone, one thread, in turns.
fp32 and int8 (unsigned by signed bytes); processor milliseconds, written to
benchmarks/results/vector_width.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgekit.benchmarks.host import host_facts, load_average
from edgekit.core.store import write_json

OUT = Path(__file__).resolve().parent / "results" / "vector_width.json"
LIMITS = {
    "everything": "DEFAULT",
    "512 bits, no VNNI": "AVX512_CORE",
    "256 bits, no VNNI": "AVX2",
    "128 bits (SSE4.1)": "SSE41",
}
"""What is left -> oneDNN's name of it."""
CALLS, SIDE, CHANNELS = 5, 128, 64


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    rows = []
    for turn in range(given.rounds):
        for limit, name in LIMITS.items():
            environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": name, "OMP_NUM_THREADS": "1"}
            words = [sys.executable, "-c", "import vector_width; vector_width.answer()"]
            done = subprocess.run(
                words, env=environment, cwd=Path(__file__).parent, check=True, capture_output=True
            )
            rows.append({"round": turn, "limit": limit, **json.loads(done.stdout)})
    result = {
        "what": f"3 x 3 convolution of {CHANNELS} channels, {SIDE} x {SIDE}, oneDNN in PyTorch",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": host_facts(),
        "load_average": load_average(),
        "rows": rows,
    }
    write_json(given.out, result)
    print(table(result))


def answer() -> None:
    """Time both convolutions under the limit of this process and print their milliseconds."""
    import torch
    from torch.ao.nn import quantized

    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.backends.quantized.engine = "onednn"
    draw = torch.Generator().manual_seed(0)
    picture = torch.randn(1, CHANNELS, SIDE, SIDE, generator=draw)
    picture = picture.contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(CHANNELS, CHANNELS, 3, 3, generator=draw) * 0.05
    plain = torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1).eval()
    bytes_ = quantized.Conv2d(CHANNELS, CHANNELS, 3, padding=1)  # type: ignore[no-untyped-call]
    bytes_.set_weight_bias(
        torch.quantize_per_tensor(kernel, 0.002, 0, torch.qint8), torch.zeros(CHANNELS)
    )
    bytes_.scale = 0.05
    levels = torch.quantize_per_tensor(picture, 0.05, 128, torch.quint8)
    with torch.inference_mode():
        found = {"fp32_ms": spent(lambda: plain(picture)), "int8_ms": spent(lambda: bytes_(levels))}
    print(json.dumps(found))


def spent(work: Callable[[], object]) -> list[float]:
    """Return the processor milliseconds of `CALLS` calls after a few."""
    for _ in range(5):
        work()
    found = []
    for _ in range(CALLS):
        start = time.process_time_ns()
        work()
        found.append((time.process_time_ns() - start) / 1e6)
    return found


def table(result: Mapping[str, Any]) -> str:
    """Return the table of docs/benchmarks.md: medians, and times the first row."""
    lines = ["| oneDNN may use | fp32 ms | int8 ms |", "|---|---|---|"]
    first: dict[str, float] = {}
    for limit in LIMITS:
        cells = []
        for kind in ("fp32_ms", "int8_ms"):
            samples = [ms for row in result["rows"] if row["limit"] == limit for ms in row[kind]]
            middle = statistics.median(samples)
            first.setdefault(kind, middle)
            cells.append(f"{middle:.1f} ({middle / first[kind]:.1f})")
        lines.append(f"| {limit} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
