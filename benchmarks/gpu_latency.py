"""Time the student on a GPU in PyTorch and hold it against the ceilings of that GPU.

    python benchmarks/gpu_latency.py --out benchmarks/results/gpu_latency.json

Eager, recorded as a CUDA graph, and compiled, in float32 and float16, for one picture and for
batches; ways take turns, every call is synchronized. The ceilings are measured here too: a large
float16 matrix product and a large copy. Two floors follow from them: the multiply-adds at the
matrix ceiling, and every layer's inputs and outputs moved once at the copy's rate. Without a GPU it
runs at toy size on the CPU, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from edgekit.distill.base import load_base
from edgekit.distill.fit_state import placed
from edgekit.distill.students.cost import count_macs
from edgekit.distill.students.gan import specialized
from edgekit.distill.students.text_context import text_context

PROMPT = "make it night"
MOST_APART = 0.05
"""In units of a port, where black to white is 2."""
VIEWS = ("view", "_unsafe_view", "permute", "transpose", "expand", "t", "unsqueeze", "squeeze")


class BytesCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the bytes that operators take and give, views left out: what no fusion would move."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and add up what it took and gave."""
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ not in VIEWS:
            for value in tree_leaves((args, kwargs, result)):
                if isinstance(value, Tensor):
                    self.bytes += value.numel() * value.element_size()
        return result


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=60.0, help="no new row begins later")
    given = parser.parse_args()
    began = time.monotonic()
    gpu = given.device.startswith("cuda")
    size_px, batches, calls = (256, (1, 8, 64), 30) if gpu else (64, (1,), 3)
    base = load_base().generator
    student = specialized(base, text_context(PROMPT), size_px=size_px).eval().to(given.device)
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "torch": torch.__version__,
        "size_px": size_px,
        "gmac": count_macs(student, torch.zeros(1, 3, size_px, size_px, device=given.device)) / 1e9,
        "ceilings": ceilings(given.device, 8192 if gpu else 256),
        "rows": [],
    }
    for dtype in (torch.float16, torch.float32) if gpu else (torch.float32,):
        for batch in batches:
            if time.monotonic() - began > given.seconds:
                found["ended_early"] = True
                break
            network = deepcopy(student).to(dtype)
            x = torch.rand(batch, 3, size_px, size_px, device=given.device, dtype=dtype) * 2 - 1
            found["rows"].append(row(network, x, found, calls=calls, gpu=gpu))
            print(json.dumps(found["rows"][-1]["median_ms"]), flush=True)
            given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def row(
    network: nn.Module, x: Tensor, found: dict[str, Any], *, calls: int, gpu: bool
) -> dict[str, Any]:
    """Time all ways for one batch; one that does not agree with eager is reported, not timed."""
    with torch.inference_mode():
        wanted = network(x).float()
        made = dict(ways(network, x, gpu=gpu))
        apart = {name: float((way().float() - wanted).abs().max()) for name, way in made.items()}
        made = {name: way for name, way in made.items() if apart[name] < MOST_APART}
        samples: dict[str, list[float]] = {name: [] for name in made}
        for _ in range(calls):
            for name, way in made.items():
                samples[name].append(timed(way, gpu=gpu))
        counter = BytesCounter()  # type: ignore[no-untyped-call]
        with counter:
            network(x)
    median = {name: round(statistics.median(times), 4) for name, times in samples.items()}
    ceiling = found["ceilings"]
    matrix_ms = found["gmac"] * len(x) * 2 / ceiling["float16_tflops"]
    best = min(median.values())
    return {
        "dtype": str(x.dtype).removeprefix("torch."),
        "batch": len(x),
        "median_ms": median,
        "samples_ms": {name: [round(t, 4) for t in times] for name, times in samples.items()},
        "max_abs_to_eager": apart,
        "operator_mb": round(counter.bytes / 1e6, 2),
        "floor_matrix_ms": round(matrix_ms, 4),
        "floor_memory_ms": round(counter.bytes / 1e6 / ceiling["copy_gb_s"], 4),
        "pictures_a_second": round(len(x) / best * 1000),
        "share_of_matrix_ceiling": round(matrix_ms / best, 4),
    }


def ways(network: nn.Module, x: Tensor, *, gpu: bool) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Yield the ways to call the network on `x`."""
    yield "eager", lambda: network(x)
    if not gpu:
        return
    last = placed(deepcopy(network), x.device)
    y = x.to(memory_format=torch.channels_last)
    yield "eager, channels last", lambda: last(y)
    yield "graph", recorded(network, x)
    yield "graph, channels last", recorded(last, y)
    compiled: Callable[[Tensor], Tensor] = torch.compile(deepcopy(last), dynamic=False)
    compiled(y)
    yield "compiled, channels last", lambda: compiled(y)
    yield "compiled and graph", recorded(compiled, y)


def recorded(network: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], Tensor]:
    """Record one call as a CUDA graph."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            network(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = network(x)

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def ceilings(device: str, side: int) -> dict[str, float]:
    """Measure a float16 matrix product (multiply-adds count twice) and a copy (read and write)."""
    gpu = device.startswith("cuda")
    a = torch.rand(side, side, device=device, dtype=torch.float16 if gpu else torch.float32)
    target = torch.empty_like(a)
    product = min(timed(lambda: torch.mm(a, a, out=target), gpu=gpu) for _ in range(20))
    block = torch.empty(2**30 if gpu else 2**22, device=device, dtype=torch.uint8)
    other = torch.empty_like(block)
    copy = min(timed(lambda: other.copy_(block), gpu=gpu) for _ in range(20))
    return {
        "float16_tflops": round(2 * side**3 / product / 1e9, 1),
        "copy_gb_s": round(2 * block.numel() / copy / 1e6, 1),
    }


def timed(call: Callable[[], object], *, gpu: bool) -> float:
    """Return the milliseconds of one call, synchronized."""
    if gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if gpu:
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
