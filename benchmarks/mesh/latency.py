"""Seconds of a mesh from its prompt to its file, stage by stage, on one thread of a processor.

    python benchmarks/mesh/latency.py runs/things --out benchmarks/results/mesh/latency.json

RUN is an exported run of `edgekit distill --student mesh`. What `edgekit mesh` writes unless told
otherwise (a budget of triangles, UVs, a baked texture, a GLB file) and the plain mesh with colours
of vertices take turns. Clock: processor time of the process, which other work does not stretch.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from edgekit.benchmarks.host import host_facts, load_average
from edgekit.core.manifest import read_bundle
from edgekit.core.store import write_json
from edgekit.runtime.bundle import bundle_folder
from edgekit.runtime.mesh.files import write_mesh
from edgekit.runtime.mesh.generate import Clock, Finish, MeshGenerator, open_generator

FINISHES = {"textured": Finish(), "plain": Finish(texture_px=0)}


def main() -> None:
    """Measure a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--calls", type=int, default=12, help="meshes of each kind")
    parser.add_argument("--target", default="onnx")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--teacher", help="of weights that ship, whose run does not name it")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    manifest = read_bundle(bundle_folder(given.run))
    assert manifest.mesh is not None
    generator = open_generator(given.run, target=given.target, precision=given.precision, threads=1)
    value = {
        "protocol": f"mesh-1/{given.calls} meshes in turns after one/{given.target}."
        f"{given.precision}/{manifest.mesh.cells} cells",
        "teacher": given.teacher or manifest.student.teacher,
        "clock": "processor time",
        "threads": 1,
        "host": host_facts(),
        "load_average": load_average(),
        **measured(generator, list(manifest.mesh.prompts), given.calls),
    }
    write_json(given.out, value)


def measured(generator: MeshGenerator, prompts: list[str], calls: int) -> dict[str, Any]:
    """Return the seconds of every mesh and of its stages; the first turn is not kept."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in FINISHES}
    with tempfile.TemporaryDirectory() as place:
        for call in range(calls + 1):
            for name, finish in FINISHES.items():
                prompt = prompts[call % len(prompts)]
                clock = Clock(now=time.process_time)
                start = time.process_time()
                made = generator.mesh(prompt, finish=finish, clock=clock)
                with clock.stage("file"):
                    write_mesh(made.mesh, Path(place) / "mesh.glb")
                whole = time.process_time() - start
                if call:
                    samples[name].append({**clock.seconds, "whole": whole})
    return {
        name: {
            stage: [round(row.get(stage, 0.0), 4) for row in rows]
            for stage in dict.fromkeys(stage for row in rows for stage in row)
        }
        for name, rows in samples.items()
    }


if __name__ == "__main__":
    main()
