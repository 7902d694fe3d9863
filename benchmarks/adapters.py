"""One base and many concepts, measured: parity with merged students, latency, time of a switch.

    python benchmarks/adapters.py RUN RUN RUN [--work runs/adapters] [--out FILE.json]

RUNs are folders of `edgekit distill` at 128 px on the shipped base, three at least. What is
exported stays in --work and is not made again. Everything is compared with the students that the
runs shipped, whose adapters are merged into their weights; a blend with the student whose every
weight is the mean of two merged ones.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit.benchmarks.compare import PROTOCOL, Candidate, measure
from edgekit.benchmarks.host import host_facts, load_average
from edgekit.benchmarks.statistics import ratio, summary
from edgekit.core.concepts import Concept, read_concept, write_concept
from edgekit.core.images import resized, to_pixels
from edgekit.core.manifest import ModelEntry, read_bundle
from edgekit.core.seams import Session
from edgekit.core.store import file_sha256, read_manifest, write_json
from edgekit.core.tensors import Batch, Photos
from edgekit.distill.adapters_base import write_base
from edgekit.distill.adapters_pack import concept_of_run
from edgekit.distill.base import load_base
from edgekit.distill.lora import attach_adapter, merged, read_adapter
from edgekit.distill.program import KIND, StudentFacts, write_student
from edgekit.distill.students.gan import Student, specialized
from edgekit.distill.students.text_context import text_context
from edgekit.export.bundle import export_student
from edgekit.export.mil.session import EvaluatedPackage, open_package
from edgekit.export.parity import max_abs, psnr_db
from edgekit.runtime.adapters import input_vector
from edgekit.runtime.blend import blended
from edgekit.runtime.bundle import open_bundle
from edgekit.runtime.concepts import add_concepts
from edgekit.runtime.pipeline import from_golden, to_golden
from edgekit.runtime.sessions import open_session

HERE = Path(__file__).resolve().parent
SIZES_PX = (128, 256)
CAPACITIES = (4, 8)
PARITY_SIZE_PX = 128
WEIGHTS = (0.6, 0.4)
MANY = 50
DISTURBANCE = 0.02
"""Relative noise on the factors of a trained concept, to make many different ones."""


def student_of(run: Path, size_px: int) -> Student:
    """Return the merged student of a run at this size."""
    adapter = read_adapter(run / "adapter.safetensors")
    base = load_base()
    whole = merged(attach_adapter(base.generator, adapter, base_sha256=base.sha256))
    return specialized(whole, text_context(adapter.prompt), size_px=size_px)


def mean_student(students: Sequence[Student], weights: Sequence[float]) -> Student:
    """Return the student whose every weight is the weighted mean of those of `students`."""
    made = copy.deepcopy(students[0])
    with torch.no_grad():
        for values in zip(
            *(
                [*student.parameters(), *(b for b in student.buffers() if b.is_floating_point())]
                for student in [made, *students]
            ),
            strict=True,
        ):
            mean = sum(w * value for w, value in zip(weights, values[1:], strict=True))
            values[0].copy_(mean)
    return made


def pictures(run: Path, size_px: int) -> Photos:
    """Return the held-out photos of a run at this size."""
    with np.load(run / "heldout.npz") as held:
        return np.stack([resized(photo, size_px, size_px) for photo in held["image"][:4]])


def edited(student: Student, photos: Photos) -> Batch:
    """Return what PyTorch makes of `photos`, NCHW in [-1, 1]."""
    with torch.no_grad():
        images = torch.from_numpy(to_pixels(photos)).permute(0, 3, 1, 2).contiguous()
        return torch.cat([student(image[None]) for image in images]).numpy()


def exported_base(work: Path, size_px: int, capacity: int) -> Path:
    """Export the base, for Apple's formats too where parity is measured; return its bundle."""
    run = work / f"base-{size_px}-{capacity}"
    write_base(run, load_base(), size_px=size_px, capacity=capacity)
    bundle = run / "bundle"
    targets = ["onnx", "android"]
    export_student(run, targets, bundle, open_session=open_session, precisions=("fp32", "int8"))
    if size_px == PARITY_SIZE_PX:
        export_student(run, ["ios"], bundle, open_session=open_session, precisions=("fp32",))
    return bundle


def exported_merged(run: Path, work: Path, size_px: int) -> Path:
    """Export a run's merged student at this size; return its bundle."""
    folder = work / f"merged-{size_px}"
    if not (folder / "manifest.json").is_file():
        facts = read_manifest(run, kind=KIND)
        photos = pictures(run, size_px)
        with np.load(run / "calibration.npz") as stored:
            calibration = np.stack([resized(photo, size_px, size_px) for photo in stored["image"]])
        write_student(
            folder,
            student_of(run, size_px),
            size_px=size_px,
            calibration=calibration,
            heldout=(photos, photos),
            facts=StudentFacts(
                name="merged",
                prompt=facts["prompt"],
                teacher=facts["teacher"],
                recipe_sha256=facts["recipe_sha256"],
            ),
        )
    bundle = folder / "bundle"
    export_student(
        folder,
        ["onnx", "android"],
        bundle,
        open_session=open_session,
        precisions=("fp32", "int8"),
    )
    return bundle


def results_of(bundle: Path, entry: ModelEntry, vector: Batch | None, photos: Photos) -> Batch:
    """Run one file on `photos`; NCHW in [-1, 1]."""
    path = bundle / entry.path
    session: Session
    session = open_package(path) if path.suffix == ".mlpackage" else open_session(path)
    inputs = tuple(port.port() for port in entry.inputs)
    images = to_pixels(photos).transpose(0, 3, 1, 2)
    found = []
    for image in images:
        sample = {"image": np.ascontiguousarray(image[None])}
        if vector is not None:
            sample["adapter"] = vector
        feeds = from_golden(sample, inputs)
        if isinstance(session, EvaluatedPackage):  # before bytes, or 1e-4 could not be seen
            levels = session.unrounded(feeds)["image_out"]
            found.append(levels * np.float32(2 / 255) - np.float32(1))
        else:
            given = session.run(feeds)["image_out"]
            found.append(to_golden(given, entry.outputs[0].port()))
    return np.concatenate(found)


def far(reference: Batch, candidate: Batch) -> dict[str, float]:
    """Return the worst picture's PSNR and the largest difference (black to white is 2)."""
    worst = min(psnr_db(a, b) for a, b in zip(reference, candidate, strict=True))
    return {"max_abs": max_abs(reference, candidate), "worst_psnr_db": round(worst, 2)}


def parity(
    bundles: Mapping[int, Path], runs: Sequence[Path], concepts: Sequence[Concept]
) -> list[dict[str, Any]]:
    """Compare every fp32 and int8 file, switched to each concept and a blend, with PyTorch."""
    rows = []
    students = [student_of(run, PARITY_SIZE_PX) for run in runs]
    mean = mean_student(students[:2], WEIGHTS)
    for capacity, bundle in bundles.items():
        manifest = read_bundle(bundle)
        adapter = manifest.adapter_input
        assert adapter is not None
        cases: list[tuple[str, Batch, Student, Path, float]] = [
            (run.name, input_vector(concept, adapter), student, run, 0.0)
            for run, concept, student in zip(runs, concepts, students, strict=True)
        ]
        blend = blended(list(zip(concepts[:2], WEIGHTS, strict=True)), adapter)
        name = " + ".join(f"{w:g} {r.name}" for r, w in zip(runs[:2], WEIGHTS, strict=True))
        cases.append((name, blend.vector, mean, runs[0], blend.lost))
        for name, vector, student, run, lost in cases:
            photos = pictures(run, PARITY_SIZE_PX)
            reference = edited(student, photos)
            other = edited(students[0] if student is not students[0] else students[1], photos)
            floats: dict[str, Batch] = {}
            for entry in manifest.models:
                found = results_of(bundle, entry, vector, photos)
                row = {
                    "capacity": capacity,
                    "concept": name,
                    "lost_in_blend": lost,
                    "file": entry.path,
                    "evaluated_by_edgekit": entry.format == "mlpackage",
                    "before_rounding_to_bytes": entry.format == "mlpackage",
                    "to_merged_student": far(reference, found),
                    "another_concept": far(other, found),
                }
                if entry.precision == "fp32":
                    floats[entry.format] = found
                else:
                    row["to_fp32_file"] = far(floats[entry.format], found)
                rows.append(row)
                print(json.dumps(row), flush=True)
    return rows


def latency(
    merged_at: Mapping[int, Path],
    bases: Mapping[tuple[int, int], Path],
    concept: Concept,
    *,
    calls: int,
) -> list[dict[str, Any]]:
    """Time merged and switched files of one size and runtime in turns, one thread."""
    measured = []
    for size_px in SIZES_PX:
        for form in ("onnx", "tflite"):
            candidates = []
            for label, bundle in [
                ("merged", merged_at[size_px]),
                *((f"switched, capacity {c}", bases[size_px, c]) for c in CAPACITIES),
            ]:
                manifest = read_bundle(bundle)
                for entry in manifest.models:
                    if entry.format == form:
                        title = f"{label}, {entry.precision}"
                        candidates.append(_candidate(title, bundle, entry, concept, size_px))
            before = load_average()
            timings = measure(candidates, calls=calls, warmup=3)
            anchor = timings[0]
            rows = [
                {
                    **asdict(timing),
                    "summary": asdict(summary(timing, threads=1)),
                    "to_merged_fp32": None if timing is anchor else asdict(ratio(timing, anchor)),
                }
                for timing in timings
            ]
            measured.append(
                {
                    "size_px": size_px,
                    "format": form,
                    "load_average": {"before": before, "after": load_average()},
                    "rows": rows,
                }
            )
            for row in rows:
                cpu = row["summary"]["cpu_p50_ms"]
                print(size_px, form, row["name"], round(cpu, 2), "ms CPU", flush=True)
    return measured


def _candidate(
    title: str, bundle: Path, entry: ModelEntry, concept: Concept, size_px: int
) -> Candidate:
    adapter = read_bundle(bundle).adapter_input
    random = np.random.default_rng(0)
    sample = {"image": random.uniform(-1, 1, (1, 3, size_px, size_px)).astype(np.float32)}
    if adapter is not None:
        sample["adapter"] = input_vector(concept, adapter)
    feeds = from_golden(sample, tuple(port.port() for port in entry.inputs))

    def load() -> Any:
        session = open_session(bundle / entry.path, threads=1)
        return lambda: session.run(feeds)

    return Candidate(title, load)


def many(bundle: Path, concepts: Sequence[Concept], work: Path) -> dict[str, Any]:
    """Add fifty concepts to a base, trained ones and disturbed copies; time switches."""
    random = np.random.default_rng(0)
    made: dict[str, Concept] = {}
    for number in range(MANY):
        source = concepts[number % len(concepts)]
        noise = 1 + DISTURBANCE * random.standard_normal(source.factors.size)
        factors = source.factors if number < len(concepts) else source.factors * noise
        made[f"concept-{number:02}"] = Concept(
            **{**{f: getattr(source, f) for f in Concept.__slots__}, "factors": factors}
        )
    manifest = add_concepts(bundle, made)
    sizes = [row.bytes for row in manifest.concepts]
    start = time.perf_counter()
    opened = open_bundle(bundle, target="onnx", precision="fp32", threads=1)
    load_ms = (time.perf_counter() - start) * 1e3
    switch_ms, fill_ms = [], []
    for row in manifest.concepts:
        start = time.perf_counter()
        opened.switched(row.name)
        switch_ms.append((time.perf_counter() - start) * 1e3)
        concept = read_concept(bundle / row.path)
        start = time.perf_counter()
        input_vector(concept, manifest.adapter_input)  # type: ignore[arg-type]
        fill_ms.append((time.perf_counter() - start) * 1e3)
    start = time.perf_counter()
    opened.blended({"concept-00": 0.6, "concept-01": 0.4})
    blend_ms = (time.perf_counter() - start) * 1e3
    return {
        "concepts": len(sizes),
        "made_by": f"{len(concepts)} trained ones, the others copies of them whose factors carry "
        f"{DISTURBANCE:.0%} of relative noise",
        "bytes_each": sizes,
        "distinct": len({row.sha256 for row in manifest.concepts}),
        "bytes_of_all": sum(sizes),
        "base_bytes": {entry.path: entry.bytes for entry in manifest.models},
        "open_bundle_ms": load_ms,
        "switch_ms": switch_ms,
        "fill_ms": fill_ms,
        "blend_ms": blend_ms,
        "switch_is": "read the file, compare its sha256, fill the input; fill is the last alone",
    }


def main() -> None:
    """Measure everything and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/adapters"))
    parser.add_argument(
        "--out", type=Path, default=HERE / "results" / "adapters_parity_latency.json"
    )
    parser.add_argument("--calls", type=int, default=30)
    given = parser.parse_args()
    if len(given.runs) < 3:
        parser.error("name at least three runs")
    base = load_base()
    files = [given.work / f"{run.name}.safetensors" for run in given.runs]
    for run, file in zip(given.runs, files, strict=True):
        write_concept(file, concept_of_run(run, base))
    concepts = [read_concept(file) for file in files]  # as they ship: rounded
    bases = {
        (size, capacity): exported_base(given.work, size, capacity)
        for size in SIZES_PX
        for capacity in CAPACITIES
    }
    merged_at = {size: exported_merged(given.runs[0], given.work, size) for size in SIZES_PX}
    result = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": host_facts(),
        "base_sha256": base.sha256,
        "runs": [
            {
                "name": run.name,
                "prompt": concept.prompt,
                "ranks": dict(concept.ranks),
                "adapter_sha256": file_sha256(run / "adapter.safetensors"),
                "concept_bytes": file.stat().st_size,
            }
            for run, concept, file in zip(given.runs, concepts, files, strict=True)
        ],
        "parity_protocol": f"4 held-out photos of each run, {PARITY_SIZE_PX} px, PyTorch student "
        "with the adapter merged as the run shipped it, worst photo; black to white is 2",
        "parity": parity({c: bases[PARITY_SIZE_PX, c] for c in CAPACITIES}, given.runs, concepts),
        "latency_protocol": f"{PROTOCOL}, 1 thread, {given.calls} calls",
        "latency": latency(merged_at, bases, concepts[0], calls=given.calls),
        "many": many(bases[PARITY_SIZE_PX, CAPACITIES[0]], concepts, given.work),
    }
    write_json(given.out, result)


if __name__ == "__main__":
    main()
