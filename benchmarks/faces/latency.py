"""Time a restorer cold, warm and against fifty steps; count the bytes that a person takes.

    python benchmarks/faces/latency.py --out benchmarks/results/faces/latency.json

Cold: read every reference and restore. Warm: restore with their keys and values at hand. Fifty
steps: the same network sampled as a diffusion model, warm. First in PyTorch, then the exported ONNX
files in ONNX Runtime, as `edgekit restore` runs them (of fifty steps there is no file). All in
turns, one thread, so that what else the machine does hits all alike; CPU seconds are the ones to
trust on a shared machine. Weights are random: they do not change the time. With --device cuda wall
times of the GPU are taken, and no files are timed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from edgekit.core.versions import installed
from edgekit.distill.program import host
from edgekit.distill.restorer.diffusion import STEPS, sampled
from edgekit.distill.restorer.one_step import Form, OneStep, memory_bytes, one_step
from edgekit.distill.restorer.phone import PHONE, fresh_phone
from edgekit.distill.restorer.stages import Plan
from edgekit.distill.restorer.unet import fresh_unet
from edgekit.distill.students.cost import count_macs, count_parameters
from edgekit.export.bundle import export_student
from edgekit.runtime.sessions import open_session
from export import write

CODE_BYTES = 32 * 256 * 2


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--references", type=int, default=4)
    parser.add_argument("--calls", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sampled-calls", type=int, default=3, help="calls of fifty steps")
    parser.add_argument("--toy", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(given.device)
    shape = Plan(size_px=given.size, batch=1, seed=0, toy=given.toy).unet()
    weights = fresh_unet(shape, seed=0).state_dict()
    network = one_step(shape, weights, Form(places=given.references), seed=0).to(device).eval()
    plain = one_step(shape, weights, Form(conditioning="none"), seed=0).to(device).eval()
    sampler = fresh_unet(replace(Form().shape(shape), extra=3), seed=0).to(device).eval()
    ways = ways_of(network, plain, sampler, given.size, given.references, device)
    slow = {"fifty steps": given.sampled_calls}
    samples = timed(ways, given.calls, device, slow)
    files = {} if device.type == "cuda" else timed(ways_of_files(given), given.calls, device)
    person = memory_bytes(shape, given.size) * given.references
    phone = fresh_phone(PHONE, seed=0).eval()
    size = 2 * given.size
    value = {
        "protocol": f"latency-faces-1/{given.size}px/{given.references} references/batch 1",
        "host": host(),
        "device": torch.cuda.get_device_name(0) if device.type == "cuda" else "processor",
        "clock": "wall, synchronized" if device.type == "cuda" else "CPU time of one thread",
        "milliseconds": samples,
        "median_ms": medians(samples),
        "files": {
            "runtime": f"onnxruntime {installed('onnxruntime')}, fp32, one thread",
            "milliseconds": files,
            "median_ms": medians(files),
        },
        "parameters": count_parameters(network.network),
        "memory_bytes": person,
        "code_bytes": CODE_BYTES,
        "phone": {
            "parameters": count_parameters(phone),
            "size_px": size,
            "gmac": round(
                count_macs(phone, torch.zeros(1, 3, size, size), torch.zeros(1, 32, 256)) / 1e9, 3
            ),
        },
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(value, indent=1) + "\n")
    print(json.dumps([value["median_ms"], medians(files)]))


def medians(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each row."""
    return {name: round(float(np.median(row)), 3) for name, row in samples.items()}


def ways_of(
    network: OneStep,
    plain: OneStep,
    sampler: Any,
    size: int,
    references: int,
    device: torch.device,
) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""
    dice = torch.Generator().manual_seed(0)
    face = torch.rand(1, 3, size, size, generator=dice).to(device)
    photos = torch.rand(1, references, 3, size, size, generator=dice).to(device)
    mask = torch.ones(1, references, dtype=torch.bool, device=device)
    known = network.given(photos, mask)
    nothing = plain.given(photos, mask)

    def velocity(noisy: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = sampler(noisy, level, known.memory, face, None)
        return answer

    return {
        "no references": lambda: plain.restored(face, nothing),
        "warm": lambda: network.restored(face, known),
        "cold": lambda: network.restored(face, network.given(photos, mask)),
        "fifty steps": lambda: sampled(velocity, face, steps=STEPS),
    }


def ways_of_files(given: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Return the same for ONNX files of networks of this size."""
    sessions = {}
    kind = argparse.Namespace(size=given.size, places=given.references, toy=given.toy)
    for form in ("none", "memory", "enroller"):
        with tempfile.TemporaryDirectory() as place:
            write(form, Path(place) / "student", kind)
            bundle = export_student(
                Path(place) / "student",
                ["onnx"],
                Path(place) / "bundle",
                open_session=open_session,
                precisions=["fp32"],
            )
            path = Path(place) / "bundle" / bundle.models[0].path
            sessions[form] = open_session(path, threads=1)
    feeds = {
        form: {port.name: np.full(port.shape, 0.5, np.float32) for port in session.inputs}
        for form, session in sessions.items()
    }

    def warm() -> object:
        return sessions["memory"].run(feeds["memory"])

    def cold() -> object:
        for _ in range(given.references):
            sessions["enroller"].run(feeds["enroller"])
        return warm()

    return {
        "no references": lambda: sessions["none"].run(feeds["none"]),
        "warm": warm,
        "cold": cold,
    }


@torch.no_grad()
def timed(
    ways: dict[str, Callable[[], object]],
    calls: int,
    device: torch.device,
    fewer: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, list[float]]:
    """Return the milliseconds of each call; the ways take turns, the first turn is not kept.

    `fewer` are the ways that are called less often, and how often.
    """
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(calls + 1):
        for name, way in ways.items():
            if turn > fewer.get(name, calls):
                continue
            start = clock()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                samples[name].append(round(1000 * (clock() - start), 3))
    return samples


if __name__ == "__main__":
    main()
