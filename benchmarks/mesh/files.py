"""What the files of a mesh generator cost: bytes, distance from the student's mesh, seconds a mesh.

    python benchmarks/mesh/files.py --shipped runs/things
    edgekit export runs/things --target onnx --target android
    python benchmarks/mesh/files.py --run runs/things --out benchmarks/results/mesh/files.json
    python benchmarks/mesh/files.py --run runs/things --browser --out ...     # adds Chromium's

`--shipped` writes the student folder of the generator that ships. `--make` writes an untrained one
of the usual size, stirred so that every prompt has a lumpy surface of its own. Parity of each file
alone stands in its bundle; here both files of a format work together, and their mesh is held
against that of the PyTorch student.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.benchmarks.devices.browser import browser
from edgekit.benchmarks.host import host_facts, load_average
from edgekit.cli.shipped import shipped_student
from edgekit.core.manifest import ModelEntry, read_bundle
from edgekit.core.seams import Port, Session
from edgekit.core.store import write_json
from edgekit.core.tensors import Batch
from edgekit.export.program import Program, read_student, run, saved_program
from edgekit.runtime.apps.web import build_site, server
from edgekit.runtime.bundle import OpenBundle
from edgekit.runtime.mesh.extract import extracted
from edgekit.runtime.mesh.generate import EXACT, Clock, Finish, MeshGenerator, open_generator
from edgekit.runtime.mesh.surface import facts_of, without_crumbs
from edgekit.runtime.sessions import open_session

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from web_responsiveness import asked, opened_page

PROMPTS = 4
CALLS = 6
"""Meshes timed a file, after one that is not; files take turns."""
TIMED = ("onnx", "tflite")
SLOW_CELLS = 24
"""Lattice for formats that only an evaluator or an interpreter runs here."""


def main() -> None:
    """Make the student, or measure the bundle of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--make", type=Path, help="student folder to write")
    parser.add_argument("--run", type=Path, help="an exported run")
    parser.add_argument("--browser", action="store_true", help="measure Chromium too")
    parser.add_argument("--shipped", type=Path, help="write the student folder that ships here")
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.make:
        make(given.make)
    if given.shipped:
        shutil.copytree(shipped_student("things"), given.shipped)
    if given.run and given.out:
        write_json(given.out, measured(given.run, given.calls, browser=given.browser))


def make(folder: Path) -> None:
    """Write an untrained generator of the usual size whose prompts differ."""
    import torch

    from edgekit.distill.mesh.generator import fresh_generator
    from edgekit.distill.mesh.shape import MeshShape
    from edgekit.distill.mesh.student import Prompts, write_generator
    from edgekit.distill.mesh.words import vocabulary
    from edgekit.distill.program import StudentFacts
    from edgekit.distill.teachers.views.world import split

    train, unseen = split()
    words = vocabulary([*train, *unseen])
    generator = fresh_generator(MeshShape(), len(words), seed=1)
    with torch.no_grad():
        generator.head.last.weight.mul_(24)
    prompts = Prompts(train=tuple(train), unseen=tuple(unseen), words=words)
    write_generator(folder, generator, prompts, StudentFacts(name="things", recipe_sha256="0" * 64))


def measured(run: Path, calls: int, *, browser: bool) -> dict[str, Any]:
    """Return a row for every format and precision, and what was measured in which state."""
    manifest = read_bundle(run / "bundle")
    assert manifest.mesh is not None
    prompts = manifest.mesh.prompts[:PROMPTS]
    references = {cells: student_meshes(run, prompts, cells) for cells in (48, SLOW_CELLS)}
    rows, timed = [], {}
    for entry in manifest.models:
        generator = opened(run / "bundle", entry, EXACT)
        rounded = opened(run / "bundle", entry, entry.precision)
        files = {"planes": entry, "field": rounded.field.entry}
        row = {
            "format": entry.format,
            "precision": entry.precision,
            "bytes": {name: file.bytes for name, file in files.items()},
            "worst_db": {
                name: None if file.parity is None else file.parity.worst_psnr_db
                for name, file in files.items()
            },
        }
        fast = entry.format in TIMED
        cells = 48 if fast else SLOW_CELLS
        names = prompts if fast else prompts[:1]
        row["mesh"] = {"cells": cells, **compared(generator, names, references[cells], cells)}
        if fast and entry.precision != EXACT:
            row["mesh_with_rounded_field"] = compared(rounded, names, references[cells], cells)
        rows.append(row)
        if fast:
            timed[len(rows) - 1] = generator
        print(json.dumps(row), flush=True)
    for number, seconds in timings(timed, prompts, calls).items():
        rows[number]["seconds"] = seconds
    value = {
        "protocol": f"mesh-files-1/{calls} calls in turns/1 thread",
        "name": manifest.name,
        "parameters": manifest.student.parameters,
        "host": host_facts(),
        "load_average": load_average(),
        "files": rows,
    }
    return {**value, "browser": in_browser(run / "bundle", prompts, calls)} if browser else value


def opened(folder: Path, entry: ModelEntry, precision: str) -> MeshGenerator:
    """Open one file, and the field's of the same format in another precision."""
    generator = open_generator(folder, target="onnx", precision="fp32", threads=1)
    part = generator.field.folder
    field = next(
        model
        for model in read_bundle(part).models
        if (model.format, model.precision) == (entry.format, precision)
    )
    halves = [
        OpenBundle(place, bundle.manifest, one, session(place / one.path, one.format))
        for place, bundle, one in (
            (folder, generator.planes, entry),
            (part, generator.field, field),
        )
    ]
    return replace(generator, planes=halves[0], field=halves[1])


def session(path: Path, form: str) -> Session:
    """Open a file by its runtime, or by the evaluator that stands in for Core ML's."""
    if form == "mlpackage":
        from edgekit.export.mil.session import open_package

        return open_package(path)
    return open_session(path, threads=1)


class Saved:
    """A student's own program as a session: what files are held against."""

    def __init__(self, folder: Path) -> None:
        """Load the program of a student folder."""
        student = read_student(folder)
        module = saved_program(student).module()
        self.program = Program(module, student.inputs, student.outputs)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What the program takes."""
        return self.program.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What it gives."""
        return self.program.outputs

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Call it."""
        given = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        return run(self.program, given)


def student_meshes(run: Path, prompts: tuple[str, ...], cells: int) -> list[dict[str, Any]]:
    """Return what the PyTorch student says: inside or not, vertices, and colours there."""
    like = open_generator(run / "bundle", target="onnx", precision="fp32", threads=1)
    student = replace(
        like,
        planes=replace(like.planes, session=Saved(run)),
        field=replace(like.field, session=Saved(run / "field")),
    )
    found = []
    for prompt in prompts:
        planes = student.planes_of(prompt)
        sdf, moved = student.on_lattice(planes, cells)
        mesh = without_crumbs(extracted(sdf, moved, deform=student.entry.deform))
        colors = student.at_points(planes, mesh.vertices)[:, 4:]
        found.append({"inside": sdf < 0, "vertices": mesh.vertices, "colors": colors})
    return found


def compared(
    generator: MeshGenerator, prompts: tuple[str, ...], references: list[dict[str, Any]], cells: int
) -> dict[str, Any]:
    """Return the worst of `prompts`: shared inside, how far the surfaces are apart, colours."""
    from scipy.spatial import cKDTree

    shared, apart, levels, closed = [], [], [], []
    for prompt, wanted in zip(prompts, references, strict=False):
        planes = generator.planes_of(prompt)
        sdf, moved = generator.on_lattice(planes, cells)
        mesh = without_crumbs(extracted(sdf, moved, deform=generator.entry.deform))
        closed.append(facts_of(mesh).watertight)
        inside = sdf < 0
        shared.append(float((inside & wanted["inside"]).sum() / (inside | wanted["inside"]).sum()))
        there, back = cKDTree(wanted["vertices"]), cKDTree(mesh.vertices)
        far = [there.query(mesh.vertices)[0], back.query(wanted["vertices"])[0]]
        apart.append(float(np.mean(np.concatenate(far))) * cells / 2)
        colors = generator.at_points(planes, wanted["vertices"])[:, 4:]
        levels.append(float(np.abs(colors - wanted["colors"]).mean()) * 255)
    return {
        "prompts": len(shared),
        "least_shared_inside": round(min(shared), 5),
        "most_mean_cells_apart": round(max(apart), 5),
        "most_mean_levels_apart": round(max(levels), 3),
        "watertight": sum(closed),
    }


def timings(
    generators: dict[int, MeshGenerator], prompts: tuple[str, ...], calls: int
) -> dict[int, dict[str, Any]]:
    """Return processor seconds of the stages, medians of calls in turns, and of the clock."""
    spent: dict[int, list[dict[str, float]]] = {number: [] for number in generators}
    plain = Finish(texture_px=0)
    for call in range(calls + 1):
        for number, generator in generators.items():
            clock = Clock(now=time.process_time)
            start = time.perf_counter()
            made = generator.mesh(prompts[call % len(prompts)], finish=plain, clock=clock)
            if call:
                seconds = {**made.seconds, "in_all": sum(made.seconds.values())}
                spent[number].append({**seconds, "clock": time.perf_counter() - start})
    return {
        number: {
            **{name: round(float(np.median([r[name] for r in rows])), 4) for name in rows[0]},
            "raw_in_all": [round(row["in_all"], 4) for row in rows],
        }
        for number, rows in spent.items()
    }


SPENT = ("planes", "field", "surface", "colors", "total")
HELP = """const $ = (id) => document.getElementById(id);
  const count = (name) => Number(document.body.dataset[name] ?? 0);
  const soon = () => new Promise((go) => setTimeout(go, 20));
  const until = async (seen) => { while (!seen()) await soon(); };"""
OPEN = """(async () => { HELP
  const option = $("model").options[NUMBER];
  if ($("model").value !== option.value) {
    const [models, made] = [count("models"), count("made")];
    $("model").value = option.value;
    $("model").dispatchEvent(new Event("change"));
    await until(() => count("models") > models && (!made || count("made") > made));
  }
  return { path: option.dataset.path, left: $("model").options.length - NUMBER - 1,
    threads: Number($("threads").value) };
})()"""
MAKE = """(async () => { HELP
  const made = count("made");
  $("prompt").value = PROMPT;
  $("prompting").requestSubmit();
  await until(() => count("made") > made);
  return JSON.parse(document.body.dataset.mesh);
})()"""


CHECK = """(async () => { HELP
  delete document.body.dataset.golden;
  $("check").click();
  await until(() => document.body.dataset.golden);
  return JSON.parse(document.body.dataset.golden).worst_db;
})()"""


def in_browser(folder: Path, prompts: tuple[str, ...], calls: int) -> dict[str, Any]:
    """Return what the web demo makes in Chromium with each file, by the engine of its format."""
    found = [page_of(folder, form, prompts, calls) for form in TIMED]
    rows = {path: row for one in found for path, row in one.pop("milliseconds").items()}
    return {**found[0], "milliseconds": rows}


def page_of(folder: Path, form: str, prompts: tuple[str, ...], calls: int) -> dict[str, Any]:
    """Return the milliseconds of meshes, and the decibels of the golden vectors, of a format."""
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        site = build_site([folder], Path(place) / "site", engines=[form])
        with server(site.folder) as running, browser() as chromium:
            threading.Thread(target=running.serve_forever, daemon=True).start()
            page = opened_page(chromium, f"http://127.0.0.1:{running.server_address[1]}/")
            file: dict[str, Any] = {"left": 1}
            while file["left"]:
                script = OPEN.replace("HELP", HELP).replace("NUMBER", str(len(rows)))
                file = asked(chromium, page, script)
                made = [
                    asked(chromium, page, MAKE.replace("HELP", HELP).replace("PROMPT", words))
                    for words in (json.dumps(prompts[i % len(prompts)]) for i in range(calls + 1))
                ][1:]
                rows[file["path"]] = {
                    **{name: round(float(np.median([m[name] for m in made])), 1) for name in SPENT},
                    "raw_total": [round(row["total"], 1) for row in made],
                    "golden_db": round(asked(chromium, page, CHECK.replace("HELP", HELP)), 1),
                }
            version = chromium.call("Browser.getVersion")["product"]
            running.shutdown()
    return {
        "browser": version,
        "threads": file["threads"],
        "load_average": load_average(),
        "milliseconds": rows,
    }


if __name__ == "__main__":
    main()
