"""How long a rendered head takes.

    python benchmarks/faces_heads_speed.py --head-model ict_facekit.npz --out FILE.json

Seconds of every person's pictures, those of the processor on a CPU and of the wall on a GPU; the
sizes take turns, so that what else the machine does hits all alike. JPEG is not in it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from edgekit.benchmarks.host import cpu_model, load_average
from edgekit.core.store import write_bytes
from edgekit.distill.faces.heads.draw import studio_of
from edgekit.distill.faces.heads.make import HeadSettings, pictures_of
from edgekit.distill.faces.heads.model import load_head_model


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--head-model", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    device = torch.device(given.device)
    graphics = device.type == "cuda"
    if not graphics:
        torch.set_num_threads(1)
    clock = time.perf_counter if graphics else time.process_time
    model = load_head_model(given.head_model)
    studios = {size: studio_of(model.to(given.device), size) for size in given.sizes}
    taken: dict[int, list[float]] = {size: [] for size in given.sizes}
    for number in range(given.people + 1):
        for size, studio in studios.items():
            settings = HeadSettings(images=given.images, size_px=size)
            begun = clock()
            pictures_of(studio, settings, number)
            if graphics:
                torch.cuda.synchronize(device)
            if number:  # the first one warms up
                taken[size].append(clock() - begun)
    value = {
        "device": given.device,
        "machine": torch.cuda.get_device_name(device) if graphics else cpu_model(),
        "clock": "wall, synchronized" if graphics else "CPU time of one thread",
        "torch": torch.__version__,
        "load_average": load_average(),
        "pictures_of_a_person": given.images,
        "seconds_a_person": {size: [round(s, 4) for s in row] for size, row in taken.items()},
        "median_s_a_picture": {
            size: round(float(np.median(row)) / given.images, 4) for size, row in taken.items()
        },
    }
    text = json.dumps(value, indent=1)
    write_bytes(given.out, (text + "\n").encode())
    print(text)


if __name__ == "__main__":
    main()
